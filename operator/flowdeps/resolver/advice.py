"""Finds out what a request has to do with uv's explanation, and what a person can do. Pure.

uv knows versions and who requires them; it doesn't know that some are in an image, that one was in
the last lock, or that a time limit is called a cooldown.
"""

import re
from collections.abc import Mapping, Set

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name, canonicalize_version
from packaging.version import Version

from flowdeps.api.wording import counted, listed
from flowdeps.locks import overlay
from flowdeps.locks.lock import Lock, Pin
from flowdeps.locks.request import LockRequest
from flowdeps.locks.requirements import limits, requirement_name
from flowdeps.locks.target import OLDEST_GLIBC
from flowdeps.resolver.messages import Says, ranges

_MOST_LINES = 60


def advise(
    explanation: str, messages: str, *, request: LockRequest, platform: str, previous: Lock | None
) -> list[str]:
    """Return sentences that go before uv's ``explanation`` of why there is no solution;
    ``messages`` are all that it wrote."""
    pins = previous.on(platform) if previous else {}
    found = _lost(explanation, request, pins, but=_young(messages).keys())
    found += _of_index(explanation, messages, request, lost=found)
    if image := request.image:
        found += overlay.describe_limits(
            image, ranges(explanation), shadow=request.shadow, platform=platform
        )
    needs = max(map(int, Says.WHEELS_FOR_GLIBC.findall(messages)), default=0)
    if needs > OLDEST_GLIBC and not (image and image.libc_version):
        found.append(
            f"Only wheels for glibc 2.{OLDEST_GLIBC} and older are used as long as flowdeps has not"
            " inspected the image: choose another version, or name the image in spec.python.image."
        )
    return found


def _of_index(
    explanation: str, messages: str, request: LockRequest, *, lost: list[str]
) -> list[str]:
    """Return sentences on how the index presents packages."""
    if file := Says.NO_UPLOAD_TIME.search(messages):
        name = requirement_name(file[1].partition("-")[0])
        return [
            f"{_index(request, name)} doesn't say when {file[1]} was uploaded, so that "
            f"spec.index.cooldown can't be kept: set it to 0s, name {name} in "
            "spec.index.cooldownExempt, or use an index that tells upload times."
        ]
    found = [
        f"{name} comes from {first}, the first index that has it, which lacks {wanted}; {other} "
        "may have it: remove the copy from the first, or name the other before it in spec.index."
        for name, first, wanted, other in Says.ON_ANOTHER_INDEX.findall(messages)
    ]
    found += [
        f"A version such as {name} {version} is in the index of those who built it alone: name "
        f"that one before the others in spec.index, or ask for {name}=={version.partition('+')[0]}."
        for name, version in dict.fromkeys(Says.NO_SUCH_VERSION.findall(explanation))
        if "+" in version
    ]
    url_of = request.index.url_of
    said = {name for name in url_of if name in re.findall(r"[a-z0-9][a-z0-9-]*", explanation)}
    found += [
        f"{name} comes from {url_of[name]} alone, as index.packages says." for name in sorted(said)
    ]
    empty = {*Says.NO_VERSIONS.findall(explanation)} - {*Says.HINT_ON.findall(messages)}
    if empty and not lost:
        found.append(
            f"{_index(request)} knows {', '.join(sorted(empty))}, but its page has no release that "
            "can be used: it may be empty, or another page, such as one to log in; correct "
            "spec.index.url or the index."
        )
    return found


def _index(request: LockRequest, name: str = "") -> str:
    """Return the index, that of a package by ``name``, as the beginning of a sentence, as far as it
    is known."""
    own = request.index.url_of.get(name)
    match (own,) if own else request.index.urls:
        case ():
            return "The index"
        case (url,):
            return f"The index {url}"
        case urls:
            return f"One of the indexes {', '.join(urls)}"


def advise_on_cooldown(messages: str) -> list[str]:
    """Return sentences on releases that a cooldown keeps out, from all that uv wrote."""
    return [
        f"{what} is younger than spec.index.cooldown allows: "
        f"wait, or name {name} in spec.index.cooldownExempt."
        for name, what in _young(messages).items()
    ]


def describe_differences(found: Mapping[str, str]) -> str:
    """Describe requirements, ``found`` with what of an image is against them, and what to do."""
    texts = [f"{line} ({against})" for line, against in found.items()]
    return (
        f"{counted(len(found), 'requirement')} can't be met on top of the image: "
        f"{listed(texts, most=_MOST_LINES)}. Delete these lines, then the image's versions are "
        "used; or name packages in spec.shadow, to put other versions before the image's own (what "
        "the image requires still holds)"
    )


def lowered_pins(
    request: LockRequest, previous: Lock, pins: Mapping[NormalizedName, Pin], *, platform: str
) -> set[str]:
    """Describe the ``pins`` that are lower than the last lock's, though the request allows those:
    where the index lost one, nothing else tells. A lock for another Python is no measure."""
    before = previous.on(platform) if previous.target.python == request.target.python else {}
    allowed = limits(request.requirements, request.constraints, request.exclude)
    return {
        f"{name} {before[name].version} of the last lock is no longer chosen, {pin.version} is: "
        "the index no longer offers it, or something else rules it out"
        for name, pin in pins.items()
        if name in before and Version(pin.version) < Version(before[name].version)
        if allowed.get(name, SpecifierSet()).contains(before[name].version, prereleases=True)
    }


def _young(messages: str) -> dict[str, str]:
    """Return what a cooldown keeps out, by name."""
    pins = {name: f"{name}{which}" for name, which in Says.RANGE_TOO_YOUNG.findall(messages)}
    dated = {
        name: f"{name} {version}, uploaded on {day},"
        for name, version, day in Says.RELEASE_TOO_YOUNG.findall(messages)
    }
    return pins | dated


def _lost(
    explanation: str, request: LockRequest, pins: Mapping[NormalizedName, Pin], *, but: Set[str]
) -> list[str]:
    """Name the last lock's ``pins`` that the requirements still allow and the index no longer has;
    ``but``: names that are there, only too young."""
    unknown = {*Says.PACKAGE_UNKNOWN.findall(explanation), *Says.NO_VERSIONS.findall(explanation)}
    # uv repeats a requirement's spelling: 2 for 2.0.
    missing = {
        (name, canonicalize_version(v)) for name, v in Says.NO_SUCH_VERSION.findall(explanation)
    }
    offers = [ranges(one) for one in Says.OFFER.findall(explanation) if " available" in one]
    found = []
    for requirement in map(Requirement, request.requirements):
        pin = pins.get(canonicalize_name(requirement.name))
        if pin is None or pin.name in but:
            continue
        if not requirement.specifier.contains(pin.version, prereleases=True):
            continue
        offered = next((one[pin.name] for one in offers if pin.name in one), None)
        if (
            pin.name in unknown
            or (pin.name, canonicalize_version(pin.version)) in missing
            or (offered and not any(_within(pin.version, one) for one in offered))
        ):
            found.append(
                f"The last lock has {pin.name} {pin.version}, which the index no longer has."
            )
    return found


def _within(version: str, conditions: str) -> bool:
    try:
        return SpecifierSet(conditions).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True  # what can't be read is no ground for a claim
