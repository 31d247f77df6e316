"""Give a pod that installs a lock the room that the lock needs, as far as its size is known.

What is installed is two or three times as large as the wheels; pip has both at once. So a pod asks
its node for that much, where it asks for room at all, and its volume takes no more than what no set
of this size needs. Neither exceeds what the configuration allows.
"""

from typing import Any

from flowdeps.api.durations import parse_bytes
from flowdeps.api.names import INSTALL_CONTAINER, SITE_VOLUME
from flowdeps.locks.size import Size

_STORAGE = "ephemeral-storage"
_NEEDED, _MOST = 3, 8
"""How many times the bytes of the wheels are needed at once, and never exceeded."""
_SPARE = 4 * 2**30
"""Bytes beside that: small wheels may be packed more tightly."""


def give_room(body: dict[str, Any], size: Size | None) -> None:
    """Change the body of a pod that has an install container."""
    if size is None:
        return
    spec = body["spec"]
    for one in spec["initContainers"]:
        if one["name"] == INSTALL_CONTAINER:
            one["resources"] = _asking(one["resources"], _NEEDED * size.download)
    if not size.whole:
        return
    for volume in spec["volumes"]:
        if volume["name"] == SITE_VOLUME and "emptyDir" in volume:
            limit = _MOST * size.download + _SPARE
            allowed = _bytes(volume["emptyDir"].get("sizeLimit")) or limit
            volume["emptyDir"] = {**volume["emptyDir"], "sizeLimit": str(min(limit, allowed))}


def _asking(resources: dict[str, Any], needed: int) -> dict[str, Any]:
    """Return resources that ask for as much room, unless they ask for none."""
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    asked = _bytes(requests.get(_STORAGE))
    if asked is None:
        return resources
    allowed = _bytes(limits.get(_STORAGE)) or needed
    if min(needed, allowed) <= asked:
        return resources
    return {**resources, "requests": {**requests, _STORAGE: str(min(needed, allowed))}}


def _bytes(amount: object) -> int | None:
    """Return an amount in bytes; None where there is none, or it is not written as people do."""
    try:
        return None if amount is None else parse_bytes(str(amount))
    except ValueError:
        return None
