"""What a request has to do with uv's explanation, and the ways out that a person has. Pure.

uv knows versions and who requires them; it doesn't know that some stand in an image, that one was
in the last lock, or that a time limit is called a cooldown.
"""

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import Version

from flowdeps.locks import overlay
from flowdeps.locks.lock import Lock, Pin
from flowdeps.locks.request import LockRequest
from flowdeps.locks.target import OLDEST_GLIBC

_TOO_YOUNG = re.compile(
    r"`([^`\s]{1,200})` was filtered by `exclude-newer`[^\n]{0,200}?"
    r" v(\S{1,100}), (?:was )?published at (\d{4}-\d\d-\d\d)"
)
TOO_YOUNG = "was published after the exclude newer time"
_TOO_YOUNG_PIN = re.compile(rf"(?<!\S)([a-z0-9][a-z0-9-]{{0,200}})([<>=!~]\S{{1,100}}) {TOO_YOUNG}")
_NO_TIME = re.compile(r"warning: `([^`\s]{1,300})` is missing an upload date")
_NEEDS_GLIBC = re.compile(r"`manylinux_2_([0-9]{1,3})_")
_OFFER = re.compile(r"only ([^;]{1,500}?)(?:you require|depends? on|we can conclude)")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What uv was asked: a request for a platform, after a lock, with ``credentials`` or none."""

    request: LockRequest
    platform: str
    previous: Lock | None
    credentials: bool


def advise(explanation: str, messages: str, asked: Asked) -> list[str]:
    """Sentences that go before uv's ``explanation`` of why there is no solution; ``messages`` are
    all that it said."""
    found = _gone(explanation, asked, but=_young(messages).keys())
    if image := asked.request.image:
        found += overlay.describe_limits(
            image, explanation, shadow=asked.request.shadow, platform=asked.platform
        )
    needs = max(map(int, _NEEDS_GLIBC.findall(messages)), default=0)
    if needs > OLDEST_GLIBC and not (image and image.libc_version):
        found.append(
            f"Only wheels for glibc 2.{OLDEST_GLIBC} and older are used as long as flowdeps has not"
            " looked at the image: choose another version, or name the image in spec.python.image."
        )
    return found


def advise_on_cooldown(messages: str) -> list[str]:
    """Sentences on releases that a cooldown keeps out, from all that uv said."""
    if file := _NO_TIME.search(messages):
        return [
            f"The index doesn't say when {file[1]} was uploaded, so that spec.index.cooldown can't "
            "be kept: set it to 0s, name the package in spec.index.cooldownExempt, or use an index "
            "that tells upload times."
        ]
    return [
        f"{what} is younger than spec.index.cooldown allows: "
        f"wait, or name {name} in spec.index.cooldownExempt."
        for name, what in _young(messages).items()
    ]


def lowered_pins(
    request: LockRequest, previous: Lock, pins: Mapping[str, Pin], *, platform: str
) -> set[str]:
    """Which ``pins`` are lower than the last lock's, though what is asked for allows those: where
    the index lost one, nothing else tells. A lock for another Python is no measure."""
    before = previous.on(platform) if previous.target.python == request.target.python else {}
    limits: dict[str, SpecifierSet] = {}
    for line in (*request.requirements, *request.constraints, *request.exclude):
        one = Requirement(line)
        name = canonicalize_name(one.name)
        limits[name] = limits.get(name, SpecifierSet()) & one.specifier
    return {
        f"{name} {before[name].version} of the last lock is no longer chosen, {pin.version} is: "
        "the index no longer offers it, or something else rules it out"
        for name, pin in pins.items()
        if name in before and Version(pin.version) < Version(before[name].version)
        if limits.get(name, SpecifierSet()).contains(before[name].version, prereleases=True)
    }


def _young(messages: str) -> dict[str, str]:
    """What a cooldown keeps out, by name."""
    pins = {name: f"{name}{which}" for name, which in _TOO_YOUNG_PIN.findall(messages)}
    dated = {
        name: f"{name} {version}, uploaded on {day},"
        for name, version, day in _TOO_YOUNG.findall(messages)
    }
    return pins | dated


def _gone(explanation: str, asked: Asked, *, but: Set[str]) -> list[str]:
    """Which pins of the last lock, that the requirements still allow, the index no longer has;
    ``but``: names that are there, only too young."""
    pins = asked.previous.on(asked.platform) if asked.previous else {}
    found = []
    for line in asked.request.requirements:
        requirement = Requirement(line)
        pin = pins.get(canonicalize_name(requirement.name))
        if pin is None or pin.name in but:
            continue
        if not requirement.specifier.contains(pin.version, prereleases=True):
            continue
        name = re.escape(pin.name)
        vanished = (
            _no_such_version(pin.name, pin.version, explanation)
            or re.search(rf"(?<!\S){name} was not found in the package registry", explanation)
            or re.search(rf"there are no versions of {name}(?![\w.-])", explanation)
            or _not_offered(pin.name, pin.version, explanation)
        )
        if vanished:
            found.append(
                f"The last lock has {pin.name} {pin.version}, which the index no longer has."
            )
    return found


def _no_such_version(name: str, version: str, explanation: str) -> bool:
    # uv repeats a requirement's spelling: 2 for 2.0.
    said = re.findall(rf"no version of {re.escape(name)}==([^\s,]{{1,100}})", explanation)
    return canonicalize_version(version) in map(canonicalize_version, said)


def _not_offered(name: str, version: str, explanation: str) -> bool:
    """Whether what there is of a package is listed, and ``version`` isn't among it."""
    for offer in _OFFER.findall(explanation):
        ranges = re.findall(rf"(?<![\w.-]){re.escape(name)}([<>=!~][^\s]{{1,200}})", offer)
        if ranges and " available" in offer:
            return not any(_within(version, one.rstrip(",")) for one in ranges)
    return False


def _within(version: str, conditions: str) -> bool:
    try:
        return SpecifierSet(conditions).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True  # what can't be read is no ground for a claim
