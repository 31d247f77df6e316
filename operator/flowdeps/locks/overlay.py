"""Says what a lock on top of an image has to keep to, what it leaves out, and what it would break.

An image package keeps its version, unless it may be *shadowed*; then it does so where it can. What
the image's packages require of names that may move, or that only the lock brings, holds. What is
resolved to the image's own version is left out: it is there already (the lock's *base*).

What a package that may move requires is no constraint, since it may move along: a resolution that
breaks it is a `Conflict`, for which other requests are tried. What was broken before isn't charged.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from flowdeps.locks.image import ImageFacts
from flowdeps.locks.installed_requirements import (
    InstalledRequirement,
    all_installed_requirements,
    installed_requirements,
)
from flowdeps.locks.request import ANY, LockRequest
from flowdeps.locks.requirements import RequirementError

_MOST_NAMED = 3
_MOST_COMPARED = 100


@dataclass(frozen=True)
class Conflict:
    """What a package of the image requires, and the version in the lock that breaks it."""

    requirement: InstalledRequirement
    pin: str

    @property
    def root(self) -> str:
        """The requirement with which the package of the image may move along."""
        one = self.requirement
        return f"{one.name}[{one.extra}]" if one.extra else one.name

    def __str__(self) -> str:
        one = self.requirement
        return (
            f"{one.name} {one.version} of the image requires {one.requires}{one.specifier}, "
            f"the lock has {self.pin}"
        )


def shadowed(facts: ImageFacts, names: tuple[str, ...]) -> frozenset[str]:
    """Return the image packages that ``names`` (`ANY`: all) let move."""
    present = facts.versions.keys()
    return frozenset(present) if ANY in names else frozenset(present & set(names))


def constraints(
    facts: ImageFacts, *, shadow: tuple[str, ...] = (), platform: str
) -> tuple[str, ...]:
    """Return the constraints that keep the image whole, as requirement lines."""
    free, versions = shadowed(facts, shadow), facts.versions
    kept = [f"{name}=={version}" for name, version in versions.items() if name not in free]
    required = {
        f"{one.requires}{one.specifier}"
        for one in installed_requirements(facts, platform=platform)
        if one.name not in free and (one.requires not in versions or one.requires in free)
        if _met(one, versions)
    }
    return (*kept, *sorted(required))


def image_preferences(facts: ImageFacts, *, shadow: tuple[str, ...]) -> dict[str, str]:
    """Return the image's versions of packages that may move, which they keep where they can."""
    free = shadowed(facts, shadow)
    return {name: version for name, version in facts.versions.items() if name in free}


def conflicts(facts: ImageFacts, pins: Mapping[str, str], *, platform: str) -> tuple[Conflict, ...]:
    """Return what of the image breaks with ``pins`` (versions by name) on top."""
    versions = facts.versions
    return tuple(
        Conflict(one, pins[one.requires])
        for one in installed_requirements(facts, platform=platform)
        if one.requires in pins and one.name not in pins
        if _met(one, versions) and not one.allows(pins[one.requires])
    )


def _met(one: InstalledRequirement, versions: Mapping[str, str]) -> bool:
    """Tell whether the image meets a requirement, or lacks what is required."""
    return one.requires not in versions or one.allows(versions[one.requires])


def hidden(
    facts: ImageFacts, pins: Mapping[str, str], *, shadow: tuple[str, ...]
) -> tuple[str, ...]:
    """Describe each of ``pins`` that may not go before a package of the image, and whose fit nobody
    can check."""
    meant = facts.unreadable if ANY in shadow else shadow
    return tuple(
        f"the lock would put {name} {pins[name]} before the image's own, whose version can't be "
        f"compared: name {name} in spec.shadow, or change the image"
        for name in facts.unreadable
        if name in pins and name not in meant
    )


def alternative_requests(
    request: LockRequest, found: Collection[Conflict]
) -> Iterator[LockRequest]:
    """Yield requests that may be resolved without these conflicts: one that keeps to what the image
    requires, then one in which the packages that require it may move along."""
    bounds = {f"{one.requirement.requires}{one.requirement.specifier}" for one in found}
    with suppress(RequirementError):  # ===, which compares any texts
        yield replace(request, constraints=(*request.constraints, *bounds))
    yield replace(request, requirements=(*request.requirements, *(one.root for one in found)))


def describe_conflicts(found: Collection[Conflict], *, others_moved: bool) -> str:
    """Describe both sides of each conflict and what to do; ``others_moved``: they are of a request
    that `alternative_requests` made."""
    moves = "add {} to spec.requirements, so that it can move too, " if others_moved else ""
    return "; ".join(
        f"{one}: ask for a version that fits, {moves.format(one.root)}or change the image"
        for one in dict.fromkeys(found)
    )


def describe_limits(
    facts: ImageFacts,
    ranges: Mapping[str, list[str]],
    *,
    shadow: tuple[str, ...],
    platform: str,
) -> list[str]:
    """Describe the image's part in a conflict, with who requires what and what to do, in a sentence
    for each package; ``ranges``: those that a resolver names in its explanation, by package."""
    free = shadowed(facts, shadow)
    versions = {name: v for name, v in facts.versions.items() if name not in free}
    required: dict[str, list[InstalledRequirement]] = {}
    for one in installed_requirements(facts, platform=platform):
        required.setdefault(one.requires, []).append(one)
    found = [
        name
        for name, named in ranges.items()
        if (f"=={versions[name]}" in named if name in versions else name in required)
    ]
    return [
        _both_sides(name, versions.get(name), _nearest(required.get(name, []), ranges[name]))
        for name in found[:_MOST_NAMED]
    ]


def _nearest(asked: list[InstalledRequirement], bounds: list[str]) -> list[str]:
    """Return what is required, each once; first what leaves no version within one of ``bounds``."""
    others = []
    for text in list(dict.fromkeys(bounds))[:_MOST_COMPARED]:
        with suppress(InvalidSpecifier):
            others.append(SpecifierSet(text))
    ranked = sorted(
        asked[:_MOST_COMPARED], key=lambda one: all(_meet(one.specifier, other) for other in others)
    )
    return list(dict.fromkeys(map(str, ranked)))[:_MOST_NAMED]


def _meet(one: SpecifierSet, other: SpecifierSet) -> bool:
    """Guess, well enough for an order, whether a version is within both: one of those that they
    name, or the next one."""
    both = one & other
    named = [part.version.removesuffix(".*") for part in both if part.operator != "==="]
    after = [f"{Version(version).base_version}.0.1" for version in named]
    return any(both.contains(version, prereleases=True) for version in named + after)


def _both_sides(name: str, version: str | None, asked: list[str]) -> str:
    limits = "; ".join(asked)
    if version is None:
        return f"In the image, {limits}: move the requirement, or change the image."
    where, but = (
        (f", where {limits}", " (what the image requires still holds)") if asked else ("", "")
    )
    return (
        f"{name} {version} is in the image{where}: move the requirement, "
        f"name {name} in spec.shadow{but}, or change the image."
    )


def unmet_requirements(facts: ImageFacts) -> tuple[InstalledRequirement, ...]:
    """Return what installed packages require that is missing, or of another version."""
    versions = facts.versions
    return tuple(
        one
        for one in all_installed_requirements(facts, platform=facts.platform)
        if one.requires not in versions or not one.allows(versions[one.requires])
    )
