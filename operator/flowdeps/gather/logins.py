"""Which credentials are tried at which index, and for which package.

A page that no package of the set is on says little: 401 is a refusal anywhere, but 403 only where
the package must be. So the first index is asked for a package of the lock, and an index of single
packages for one of those.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import urlsplit

from flowdeps.locks.access import Access
from flowdeps.locks.index import Index

_FORBIDDEN = "403"


@dataclass(frozen=True, kw_only=True)
class Login:
    """Credentials at an index."""

    url: str
    access: Access = field(repr=False)
    has_all: bool
    """Whether the package must be in the index."""
    package: str = field(compare=False, default="")
    """Whose page is asked for: that of the set that was first."""

    def __str__(self) -> str:
        return f"the credentials at {self.url}"

    def is_refusal(self, status: str) -> bool:
        """Tell whether an answer is a refusal, not that of an index that lacks the package."""
        return bool(status) and (self.has_all or not status.startswith(_FORBIDDEN))


def logins_of(index: Index, access: Access, pins: Sequence[str] = ()) -> list[Login]:
    """Return what is to be tried for a set: each index that there are credentials for. Those that
    have no package of ``pins`` (the names in its lock) are asked for none."""
    shared = [name for name in pins if name not in index.url_of]
    found: dict[str, Login] = {}
    for number, url in enumerate(index.all_urls):
        own = [name for name in pins if index.url_of.get(name) == url]
        names = shared if number < len(index.urls) else own
        has_all = number == 0 or number >= len(index.urls)
        if url not in found and _has_credentials(access, url):
            package = names[0] if names else ""
            found[url] = Login(url=url, access=access, has_all=has_all, package=package)
    return list(found.values())


def _has_credentials(access: Access, url: str) -> bool:
    words = access.netrc.split()
    hosts = {host for word, host in pairwise(words) if word == "machine"}
    return urlsplit(url).hostname in hosts or "default" in words
