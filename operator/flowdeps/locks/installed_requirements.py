"""Finds what the packages of an image require, of each other and of what it lacks.

Requirements count as the image evaluates them, with the extras that its packages ask of each other.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from flowdeps.locks.image import Distribution, ImageFacts
from flowdeps.locks.target import marker_environment, marker_holds

_QUOTED = re.compile(r'"([^"]*)"')


@dataclass(frozen=True)
class InstalledRequirement:
    """What an installed package requires of another one."""

    name: str
    version: str
    requires: str
    """The other one's name."""
    specifier: SpecifierSet
    extra: str = ""
    """The extra of the package that requires it; empty: the package itself."""

    def allows(self, version: str) -> bool:
        return self.specifier.contains(Version(version), prereleases=True)

    def __str__(self) -> str:
        return f"{self.name} {self.version} requires {self.requires}{self.specifier}"


@lru_cache(maxsize=4)  # of a large image it takes megabytes
def installed_requirements(facts: ImageFacts, *, platform: str) -> tuple[InstalledRequirement, ...]:
    """Return what the packages require of versions, on a platform."""
    found = all_installed_requirements(facts, platform=platform)
    return tuple(one for one in found if one.specifier)


_Candidate = tuple[Distribution, Requirement, frozenset[tuple[str, str]]]
"""A package, what it requires, and the names and extras that it asks for by that."""


def all_installed_requirements(
    facts: ImageFacts, *, platform: str
) -> Iterator[InstalledRequirement]:
    """Yield all that the packages require, alone and with each extra that one asks of another.

    A requirement is checked only for the extras that it names: an image may have very many.
    """
    full = facts.full_version or facts.python
    environment = {
        **marker_environment(facts.python, full_version=full, platform=platform),
        # The image was inspected on one platform; the other one differs in its machine.
        **{name: v for name, v in facts.markers.items() if name != "platform_machine"},
    }
    candidates: dict[tuple[str, str], list[_Candidate]] = defaultdict(list)
    for one in facts.distributions:
        for found in _parsed_requirements(one):
            asks: frozenset[tuple[str, str]] = frozenset(
                (canonicalize_name(found.name), canonicalize_name(e)) for e in found.extras
            )
            for extra in {"", *_QUOTED.findall(str(found.marker))}:
                candidates[one.name, extra].append((one, found, asks))
    asked = [(one.name, "") for one in facts.distributions]
    known = set(asked)
    for name, extra in asked:
        where = {**environment, "extra": extra}
        for one, found, asks in candidates[name, extra]:
            if marker_holds(found.marker, where, unknown=False):
                other = canonicalize_name(found.name)
                yield InstalledRequirement(one.name, one.version, other, found.specifier, extra)
                asked += sorted(asks - known)
                known |= asks


def _parsed_requirements(one: Distribution) -> list[Requirement]:
    """Return the requirements of a distribution, without those that nobody can read."""
    found = []
    for text in one.requires:
        with suppress(InvalidRequirement):
            found.append(Requirement(" ".join(text.split())))
    return found
