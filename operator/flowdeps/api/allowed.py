"""Which indexes and images an operator allows, by prefixes.

URLs are compared by scheme, host, port and path segments; images by whole parts of their names:

https://packages.example.com/simple    allows /simple, /simple/ and /simple/team
                                       not /simple-other, another port, http, or another host
registry.example.com/flows             allows itself with any tag or digest, and what is below it
                                       not registry.example.com/flows-other
"""

from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

_PORTS = {"http": 80, "https": 443}


def allows(prefixes: Iterable[str], url: str) -> bool:
    """Whether `url` lies at or below one of `prefixes`; all are index URLs (`check_index_url`).

    A path that a server may read as another one, such as `/simple/../private`, is below nothing.
    """
    place = _place(url)
    if any(unquote(one) in (".", "..") or set("/\\") & set(unquote(one)) for one in place[1]):
        return False
    return any(
        origin == place[0] and segments == place[1][: len(segments)]
        for origin, segments in map(_place, prefixes)
    )


def allows_image(prefixes: Iterable[str], image: str) -> bool:
    """Whether `image` is, or lies below, one of `prefixes`."""
    return any(
        image == prefix or image.startswith(tuple(f"{prefix}{sign}" for sign in "/:@"))
        for prefix in (one.rstrip("/") for one in prefixes)
    )


def _place(url: str) -> tuple[tuple[str, str | None, int | None], list[str]]:
    parts = urlsplit(url)
    origin = (parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme))
    return origin, parts.path.rstrip("/").split("/")
