"""Finds requirements whose markers hold nowhere: a resolver passes over them without a word.

Mostly that is intended, as with `colorama; sys_platform == "win32"` in a file for every system. It
may also be a slip, as in `platform_machine == "amd64"`, which Linux calls x86_64.
"""

import re

from packaging.markers import Marker

from flowdeps.locks.request import LockRequest
from flowdeps.locks.requirements import parse_requirement
from flowdeps.locks.target import marker_environment, marker_holds

_SHOWN = 5


def environments(request: LockRequest) -> list[dict[str, str]]:
    """Return the marker environment of each platform, as a resolver is given it."""
    python = request.target.python
    full = (request.image and request.image.full_version) or f"{python}.0"
    return [
        {**marker_environment(python, full_version=full, platform=platform), "extra": ""}
        for platform in request.target.platforms
    ]


def left_out(request: LockRequest) -> str | None:
    """Describe the packages that no platform of a request asks for; None: there are none."""
    where = environments(request)
    asked: set[str] = set()
    markers: dict[str, list[Marker]] = {}
    for requirement in map(parse_requirement, request.requirements):
        marker = requirement.marker
        if marker and not any(
            # what can't be compared is no ground for a claim
            marker_holds(marker, one, unknown=True)
            for one in where
        ):
            markers.setdefault(requirement.name, []).append(marker)
        else:
            asked.add(requirement.name)
    names = sorted(markers.keys() - asked)
    if not names:
        return None
    text = " ".join(str(one) for name in names for one in markers[name])
    values = "; ".join(
        f"{name} is {' or '.join(dict.fromkeys(one[name] or 'empty' for one in where))}"
        for name in where[0]
        if re.search(rf"\b{name}\b", text)
    )
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    one = len(names) == 1
    return (
        f"{', '.join(names[:_SHOWN])}{more} {'is' if one else 'are'} left out:"
        f" {'its marker holds' if one else 'their markers hold'} on no platform of the set"
        f" ({values}); correct {'it' if one else 'them'} if that is not meant"
    )
