"""Judges a resolution by what the index offers besides: what a resolver passes over in silence.

A release may say that it is not for a Python that is too new (an upper bound of Requires-Python).
A resolver that takes it all the same is asked again without. Whatever else is newer and was not
taken, or taken though it is no final release, people are told of.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import Version

from flowdeps.locks.lock import Pin
from flowdeps.locks.request import LockRequest, Prereleases
from flowdeps.locks.requirements import limits

_MOST_EXCLUDED = 500


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release of a package in an index, as its page describes it."""

    version: Version
    platforms: frozenset[str]
    """Those that it has a wheel for, of the request's."""
    python: tuple[str, ...]
    """The Requires-Python of the wheels that fit or, if none does, of all; an empty text: any."""
    yanked: bool = False
    uploaded: str = ""
    """ISO 8601; empty where the index doesn't say."""

    def is_for(self, python: str) -> bool:
        """Tell whether it says that it is for a Python; what can't be read says nothing."""
        return any(_allows(one, python) for one in self.python)


@dataclass(frozen=True, kw_only=True)
class Page:
    """What an index says of a package."""

    releases: tuple[Release, ...] = ()
    hashes: tuple[str, ...] = ()
    """Of wheels of the chosen version that runs on a newer glibc take, and for which the index
    gives no hash."""
    error: str = ""
    """Why it could not be read."""


Pages = Mapping[NormalizedName, Page]


def python_of(request: LockRequest) -> str:
    """Return the version of Python that releases are asked for: an image's own, or the minor one,
    which stands for its first release."""
    python, image = request.target.python, request.image
    if image and image.full_version.startswith(f"{python}."):
        with suppress(ValueError):
            return str(Version(image.full_version.rstrip("+")))  # 3.11.9+ is built from a checkout
    return python


def not_for_python(
    request: LockRequest, pins: Mapping[NormalizedName, Pin], pages: Pages
) -> dict[NormalizedName, str]:
    """Return the pins that say that they are not for the request's Python, with what they say."""
    python, found = python_of(request), {}
    for name, pin in pins.items():
        one = _chosen(pin, pages)
        if one and not one.is_for(python):
            found[name] = " or ".join(one.python)
    return found


def others_only(request: LockRequest, name: NormalizedName, page: Page) -> str:
    """Return the constraint that rules out all releases that are not for the request's Python."""
    python = python_of(request)
    wrong = [one.version for one in page.releases if not one.is_for(python)]
    return name + ",".join(f"!={version}" for version in wrong[-_MOST_EXCLUDED:])


def describe_choices(
    request: LockRequest,
    pins: Mapping[NormalizedName, Pin],
    pages: Pages,
    *,
    platform: str,
    newest: str,
) -> Iterator[str]:
    """Yield what people should know of pins for a platform that are not what they may expect;
    ``newest``: when the youngest releases were uploaded that may be chosen (ISO 8601)."""
    python, allowed = python_of(request), limits(request.requirements, request.constraints)
    for name, pin in pins.items():
        chosen = Version(pin.version)
        offered = [
            one
            for one in (pages[name].releases if name in pages else ())
            if not one.yanked and one.is_for(python)
            if name in request.cooldown_exempt or one.uploaded <= newest
            if allowed.get(name, SpecifierSet()).contains(one.version, prereleases=True)
        ]
        final = [one for one in offered if not one.version.is_prerelease]
        newer = [one for one in final if one.version > chosen]
        if newer and not any(platform in one.platforms for one in newer):
            yield (
                f"{name} {pin.version} is the newest with a wheel for Python {python},"
                f" {platform} and glibc 2.{request.glibc}: {newer[-1].version} has none"
            )
        last = next((one for one in reversed(final) if platform in one.platforms), None)
        asked = request.prereleases is Prereleases.ALLOW or _names(allowed.get(name), chosen)
        if chosen.is_prerelease and not asked and name in pages and not pages[name].error:
            kind = "development release" if chosen.is_devrelease else "pre-release"
            other = f"the newest final release is {last.version}" if last else "no final one fits"
            yield f"{name} {pin.version} is a {kind}: {other}"


def unread(pages: Pages) -> Iterator[str]:
    """Yield what is not known of packages whose page could not be read."""
    why = {page.error: name for name, page in sorted(pages.items(), reverse=True) if page.error}
    for error, name in why.items():
        others = sum(page.error == error for page in pages.values()) - 1
        more = f" (and {others} more)" if others else ""
        yield f"whether {name}{more} is for this Python is not known: {error}"


def _chosen(pin: Pin, pages: Pages) -> Release | None:
    releases = pages[pin.name].releases if pin.name in pages else ()
    return next((one for one in releases if one.version == Version(pin.version)), None)


def _names(specifiers: SpecifierSet | None, version: Version) -> bool:
    """Tell whether one of the conditions is this very version, however it is written."""
    exact = [one.version for one in specifiers or () if one.operator == "=="]
    return any(not one.endswith(".*") and Version(one) == version for one in exact)


def _allows(text: str, python: str) -> bool:
    try:
        return SpecifierSet(text).contains(python, prereleases=True)
    except ValueError:  # InvalidSpecifier, or a number of too many digits
        return True
