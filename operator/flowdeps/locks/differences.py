"""Finds requirements that an image contradicts: all of them at once, as of a laptop's `pip freeze`.

A resolver names the first one, and the next one after that is gone. What packages require of each
other only a resolver knows.
"""

from collections.abc import Collection, Sequence

from packaging.requirements import Requirement
from packaging.version import Version

from flowdeps.locks import overlay
from flowdeps.locks.image import ImageFacts
from flowdeps.locks.installed_requirements import installed_requirements
from flowdeps.locks.markers import environments
from flowdeps.locks.request import LockRequest
from flowdeps.locks.requirements import parse_requirement, requirement_name
from flowdeps.locks.target import marker_holds


def differences(request: LockRequest) -> dict[str, str]:
    """Return the requirements that can't be met on top of the image, with what of it is against
    them: the version that stays or, where it need not, what another package requires."""
    image, found = request.image, dict[str, str]()
    if image is None:
        return found
    free, where = overlay.shadowed(image, request.shadow), environments(request)
    for line in request.requirements:
        one, name = parse_requirement(line), requirement_name(line)
        if any(marker_holds(one.marker, each, unknown=False) for each in where):
            against = _against(one, name, image, free=free, platforms=request.target.platforms)
            if against:
                found[line] = against
    return found


def _against(
    one: Requirement,
    name: str,
    image: ImageFacts,
    *,
    free: Collection[str],
    platforms: Sequence[str],
) -> str | None:
    there = image.versions.get(name)
    if there and name not in free:
        meets = one.specifier.contains(Version(there), prereleases=True)
        return None if meets else f"it has {there}"
    pinned = [part.version for part in one.specifier if part.operator == "=="]
    if not pinned or pinned[0].endswith(".*"):
        return None  # which version it will be isn't known
    for platform in platforms:
        for required in installed_requirements(image, platform=platform):
            holds = required.requires == name and required.name not in free
            broken = there is not None and not required.allows(there)  # already, so it isn't kept
            if holds and not broken and not required.allows(pinned[0]):
                return f"its {required}"
    return None
