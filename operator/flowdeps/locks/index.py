"""Names package indices, in the order of asking; the first to know a name answers."""

from dataclasses import dataclass
from urllib.parse import urlsplit


class IndexUrlError(ValueError):
    """An index URL that isn't one, or that can't be used as it is."""


@dataclass(frozen=True)
class Index:
    """``url`` is asked first, then ``extra_urls``; without ``url`` the resolver's default.

    URLs are http or https and hold no user name or password. ``extra_urls`` need a ``url``, since
    without one nothing says which index is asked first. Raises `IndexUrlError`.
    """

    url: str | None = None
    extra_urls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.url is None and self.extra_urls:
            raise IndexUrlError("extra indices need a first one; name the index to ask first")
        for url in self.urls:
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
        """All URLs in the order of asking; none means the resolver's default."""
        return () if self.url is None else (self.url, *self.extra_urls)
