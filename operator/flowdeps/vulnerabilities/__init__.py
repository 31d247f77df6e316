"""The database of known vulnerabilities: from files or a URL into memory."""

from flowdeps.vulnerabilities.load import Advisories
from flowdeps.vulnerabilities.read import Bounds

__all__ = ["Advisories", "Bounds"]
