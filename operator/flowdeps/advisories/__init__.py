"""The database of known vulnerabilities: from files or a URL into memory."""

from flowdeps.advisories.load import Advisories
from flowdeps.advisories.read import Bounds

__all__ = ["Advisories", "Bounds"]
