"""Names package indices, in the order of asking; the first to know a name answers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import urlsplit


class IndexUrlError(ValueError):
    """An index URL that isn't one, or that can't be used as it is."""


@dataclass(frozen=True)
class PackageIndex:
    """The one index that packages come from. ``names`` are canonical."""

    url: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Index:
    """``url`` is asked first, then ``extra_urls``; without ``url`` the resolver's default.

    ``packages``: those that come from an index of their own, which is asked for nothing else. URLs
    are http or https and hold no user name or password. ``extra_urls`` need a ``url``, since
    without one nothing says which index is asked first. Raises `IndexUrlError`.
    """

    url: str | None = None
    extra_urls: tuple[str, ...] = ()
    packages: tuple[PackageIndex, ...] = ()

    def __post_init__(self) -> None:
        if self.url is None and self.extra_urls:
            raise IndexUrlError("extra indices need a first one; name the index to ask first")
        for url in self.all_urls:
            try:
                parts = urlsplit(url)
                host, _ = parts.hostname, parts.port
            except ValueError:
                parts, host = urlsplit(""), None
            if "@" in parts.netloc:
                # The URL isn't quoted: it holds a password.
                raise IndexUrlError(f"the index URL of {host} holds credentials; leave them out")
            known = parts.scheme in {"http", "https"} and host
            # urlsplit drops line breaks; a query or fragment doesn't survive added paths.
            if not known or not url.isprintable() or any(one in url for one in " ?#"):
                raise IndexUrlError(f"{url!r} is not an index URL; write https://host/path")

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs in the order of asking; none means the resolver's default."""
        return () if self.url is None else (self.url, *self.extra_urls)

    @property
    def all_urls(self) -> tuple[str, ...]:
        """The same, and those of single packages."""
        return (*self.urls, *(one.url for one in self.packages))

    @cached_property
    def url_of(self) -> Mapping[str, str]:
        """The URLs of the packages that have an index of their own, by name."""
        return {name: one.url for one in self.packages for name in one.names}

    def with_packages(self, packages: tuple[PackageIndex, ...]) -> "Index":
        """Return it with these before its own of the same names."""
        named = {name for one in packages for name in one.names}
        kept = ((one.url, tuple(n for n in one.names if n not in named)) for one in self.packages)
        own = tuple(PackageIndex(url, names) for url, names in kept if names)
        return replace(self, packages=(*packages, *own)) if packages else self

    def lock_entry(self) -> dict[str, object]:
        """Return it as ``lock.json`` has it."""
        packages = [{"names": list(one.names), "url": one.url} for one in self.packages]
        more = {"packages": packages} if packages else {}  # locks that use none stay as they are
        return {"url": self.url, "extraUrls": list(self.extra_urls), **more}
