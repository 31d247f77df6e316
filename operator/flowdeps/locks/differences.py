"""Finds requirements that an image contradicts: all of them at once, as of a laptop's `pip freeze`.

A resolver names the first one, and the next one after that is gone. What packages require of each
other only a resolver knows.
"""

from collections import defaultdict
from collections.abc import Iterable

from packaging.requirements import Requirement
from packaging.version import Version

from flowdeps.locks import overlay
from flowdeps.locks.installed_requirements import InstalledRequirement, installed_requirements
from flowdeps.locks.markers import environments
from flowdeps.locks.request import LockRequest
from flowdeps.locks.requirements import parse_requirement, requirement_name
from flowdeps.locks.target import marker_holds

_MOST_BOUNDS = 50
"""Different bounds on one package that are compared with what is asked for."""


def differences(request: LockRequest) -> dict[str, str]:
    """Return the requirements that can't be met on top of the image, with what of it is against
    them: the version that stays or, where it need not, what another package requires."""
    image, found = request.image, dict[str, str]()
    if image is None:
        return found
    free, where = overlay.shadowed(image, request.shadow), environments(request)
    required = defaultdict[str, dict[str, InstalledRequirement]](dict)
    for platform in request.target.platforms:
        for needed in installed_requirements(image, platform=platform):
            bounds = required[needed.requires]
            if needed.name not in free and len(bounds) < _MOST_BOUNDS:
                bounds.setdefault(str(needed.specifier), needed)
    for line in request.requirements:
        one, name = parse_requirement(line), requirement_name(line)
        if any(marker_holds(one.marker, each, unknown=False) for each in where):
            there, moves = image.versions.get(name), name in free
            if against := _against(one, there, required[name].values(), moves=moves):
                found[line] = against
    return found


def _against(
    one: Requirement,
    there: str | None,
    required: Iterable[InstalledRequirement],
    *,
    moves: bool,
) -> str | None:
    if there and not moves:
        meets = one.specifier.contains(Version(there), prereleases=True)
        return None if meets else f"it has {there}"
    pinned = [part.version for part in one.specifier if part.operator == "=="]
    if not pinned or pinned[0].endswith(".*"):
        return None  # which version it will be isn't known
    for needed in required:
        broken = there is not None and not needed.allows(there)  # already, so it isn't kept
        if not broken and not needed.allows(pinned[0]):
            return f"its {needed}"
    return None
