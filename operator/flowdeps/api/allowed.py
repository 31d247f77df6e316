"""Which indexes and images an operator allows, by prefixes.

URLs are compared by scheme, host, port and path segments; images by whole parts of their names:

https://packages.example.com/simple    allows /simple, /simple/ and /simple/team
                                       not /simple-other, another port, http, or another host
*                                      allows all indexes
registry.example.com/flows             allows itself with any tag or digest, and what is below it
                                       not registry.example.com/flows-other
registry.example.com                   allows what is below it, not registry.example.com:5000/flows

Servers and proxies differ in what they make of `..;`, `%2e` or `\\`. So only a plain path is at or
below anything: each of its segments means itself to all of them.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

ANY = "*"
"""The prefix of all indexes."""

_PORTS = {"http": 80, "https": 443}
_PLAIN = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@-]")
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")


def allows(prefixes: Iterable[str], url: str) -> bool:
    """Whether `url` lies at or below one of `prefixes`; all are index URLs (`check_index_url`)."""
    prefixes = tuple(prefixes)
    if ANY in prefixes:
        return True
    if not is_plain(url):
        return False
    origin, segments = _place(url)
    return any(
        origin == place and segments[: len(above)] == above
        for place, above in map(_place, filter(is_plain, prefixes))
    )


def is_plain(url: str) -> bool:
    """Whether no server reads the path of `url` as another one."""
    return all(map(_is_plain_segment, _segments(url)))


def allows_image(prefixes: Iterable[str], image: str) -> bool:
    """Whether `image` is, or lies below, one of `prefixes`."""
    return any(_is_image_of(one.rstrip("/"), image) for one in prefixes)


def origin_of(url: str) -> tuple[str, str, int]:
    """Return the scheme, host and port of an index URL."""
    parts = urlsplit(url)
    port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    return parts.scheme, parts.hostname or "", port


def _place(url: str) -> tuple[tuple[str, str, int], list[str]]:
    return origin_of(url), _segments(url)


def _segments(url: str) -> list[str]:
    return re.sub(r"/+$", "", urlsplit(url).path).split("/")[1:]


def _is_plain_segment(segment: str) -> bool:
    """Whether each sign stands for itself, and the whole for no other directory or none.

    Encoded may be what has to be: a space, and letters outside ASCII.
    """
    try:
        decoded = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        return False
    if not all(map(_PLAIN.fullmatch, _ENCODED.sub("", segment))):
        return False
    encoded = unquote("".join(_ENCODED.findall(segment)))
    needed = all(one == " " or (not one.isascii() and one.isalpha()) for one in encoded)
    return needed and decoded.strip(". ") != ""


def _is_image_of(prefix: str, image: str) -> bool:
    if image == prefix:
        return True
    rest = image.removeprefix(prefix)
    if rest == image:
        return False
    # A tag or a digest has no slash; after one, `:` begins the port of a registry.
    tagged = rest[:1] in {":", "@"} and "/" not in rest
    return rest.startswith("/") or (tagged and not _is_registry(prefix))


def _is_registry(prefix: str) -> bool:
    return "/" not in prefix and "." in prefix.partition(":")[0]
