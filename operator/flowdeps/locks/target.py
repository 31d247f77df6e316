"""Describes what a lock is made for: an interpreter and platforms.

Platforms are Linux with glibc, at least 2.28. A wheel fits a platform if one of its tags is among
the platform's: this CPython's own ABI, the stable ABI of it and older ones, or no ABI at all; built
for any platform, or for this machine and a glibc up to the one that is asked for: an image's, or
2.28 where it isn't known. A version of glibc is given by its minor part.
"""

import math
import re
from dataclasses import dataclass
from functools import cache, lru_cache

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

GLIBCS: tuple[int, ...] = (28, *range(31, 41))
"""The versions of glibc that uv has platforms for, the oldest that locks are made for first."""
OLDEST_GLIBC = GLIBCS[0]

_LEGACY = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
_PYTHON = re.compile(r"3\.([1-9]?[0-9])")
_OLDEST_PYTHON = 10
LONGEST_NAME = 255
"""Characters of a wheel's file name: what file systems take."""
MOST_TAGS = 512
"""Tags that one file name may stand for."""


class TargetError(ValueError):
    """A version of Python or a platform that no lock can be made for."""


@dataclass(frozen=True, kw_only=True)
class Platform:
    """A kind of node."""

    name: str
    machine: str
    """The value of the marker `platform_machine`."""
    oldest_glibc: int
    """The oldest glibc with wheels for it."""

    def uv_platform(self, glibc: int) -> str:
        """Return uv's ``--python-platform`` for it with one of `GLIBCS`."""
        return f"{self.machine}-manylinux_2_{glibc}"

    def wheel_platforms(self, glibc: int) -> tuple[str, ...]:
        """Return the platform tags of wheels that run here, best first."""
        tags: list[str] = []
        for minor in range(glibc, self.oldest_glibc - 1, -1):
            tags.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in _LEGACY:
                tags.append(f"{_LEGACY[minor]}_{self.machine}")
        return (*tags, f"linux_{self.machine}")


PLATFORMS: dict[str, Platform] = {
    one.name: one
    for one in (
        Platform(name="linux/amd64", machine="x86_64", oldest_glibc=5),
        Platform(name="linux/arm64", machine="aarch64", oldest_glibc=17),
    )
}


@dataclass(frozen=True)
class Target:
    """A minor version of CPython (``3.11``) and platforms (``linux/amd64``), sorted and unique.

    Raises `TargetError` for what isn't known.
    """

    python: str
    platforms: tuple[str, ...]

    def __post_init__(self) -> None:
        match = _PYTHON.fullmatch(self.python)
        if not match or int(match[1]) < _OLDEST_PYTHON:
            raise TargetError(
                f"Python {self.python[:80]!r} is not supported; use a minor version from "
                f"3.{_OLDEST_PYTHON} on, as in 3.12"
            )
        known = f"choose from {', '.join(PLATFORMS)}"
        if not self.platforms:
            raise TargetError(f"no platform is named; {known}")
        for name in self.platforms:
            if name not in PLATFORMS:
                raise TargetError(f"platform {name[:80]!r} is not supported; {known}")
        object.__setattr__(self, "platforms", tuple(sorted(set(self.platforms))))

    def fits(self, filename: str, platform: str, *, glibc: int = OLDEST_GLIBC) -> bool:
        """Tell whether the wheel of this file name runs on ``platform``, one of the target's."""
        return not _tags_of(filename).isdisjoint(self.tags(platform, glibc=glibc))

    def tags(self, platform: str, *, glibc: int = OLDEST_GLIBC) -> frozenset[Tag]:
        """Return the tags of wheels that run on ``platform``."""
        return _tags(self.python, platform, glibc)


@lru_cache(maxsize=64)  # a file is judged for each platform in turn
def _tags_of(filename: str) -> frozenset[Tag]:
    if not is_wheel_name(filename):
        return frozenset()
    try:
        return parse_wheel_filename(filename)[3]
    except InvalidWheelFilename:
        return frozenset()


def is_wheel_name(filename: str) -> bool:
    """Tell whether a file name may be read as a wheel's: it stands for a tag of each Python with
    each ABI and each platform that it has, which may be more than fit into memory."""
    return len(filename) <= LONGEST_NAME and count_tags(filename) <= MOST_TAGS


def count_tags(filename: str) -> int:
    """Return how many tags the file name of a wheel stands for."""
    return math.prod(part.count(".") + 1 for part in filename.split("-")[-3:])


@cache
def _tags(python: str, platform: str, glibc: int) -> frozenset[Tag]:
    major, minor = (int(part) for part in python.split("."))
    interpreter = f"cp{major}{minor}"
    platforms = PLATFORMS[platform].wheel_platforms(glibc)
    return frozenset(
        (
            *cpython_tags((major, minor), abis=[interpreter], platforms=platforms),
            *compatible_tags((major, minor), interpreter=interpreter, platforms=platforms),
        )
    )


def marker_environment(python: str, *, full_version: str, platform: str) -> dict[str, str]:
    """Return the variables of markers (PEP 508) for CPython on a platform; an unknown one has no
    machine."""
    return {
        "implementation_name": "cpython",
        "implementation_version": full_version,
        "os_name": "posix",
        "platform_machine": PLATFORMS[platform].machine if platform in PLATFORMS else "",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": full_version,
        "python_version": python,
        "sys_platform": "linux",
    }


def marker_holds(marker: Marker | None, environment: dict[str, str], *, unknown: bool) -> bool:
    """Evaluate a marker; ``unknown``: the answer where it can't be compared. None always holds."""
    try:
        return marker is None or marker.evaluate(environment)
    except ValueError:  # undefined, or a version of too many digits
        return unknown
