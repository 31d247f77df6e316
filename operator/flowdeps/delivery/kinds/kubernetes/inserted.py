"""Name what a merge inserts: the marker holds these names, and removal goes by them.

Anybody who may edit the pool can write to the marker as well, so only names with our prefix count.
A marker without a list of names is of an older version, whose names are known here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flowdeps.api import names as known
from flowdeps.delivery.methods.method import ENV_PREFIX, LABEL_PREFIX, Item, Pieces
from flowdeps.delivery.placeholders import mapping

_PREFIXES = {
    "volumes": known.PIECE_PREFIX,
    "initContainers": known.PIECE_PREFIX,
    "volumeMounts": known.PIECE_PREFIX,
    "env": ENV_PREFIX,
    "labels": LABEL_PREFIX,
}
# What versions inserted whose markers hold no names. Nothing is ever added here.
_UNNAMED: Mapping[str, Sequence[str]] = {
    "volumes": (known.LOCK_VOLUME, known.CREDENTIALS_VOLUME, known.SITE_VOLUME),
    "initContainers": (known.INSTALL_CONTAINER,),
    "volumeMounts": (known.SITE_VOLUME,),
    "env": ("FLOWDEPS_SET", "FLOWDEPS_LOCK"),
    "labels": (known.SET_LABEL,),
}


def items_of(pieces: Pieces) -> dict[str, Sequence[Item]]:
    """Return the pieces by the list of the pod or of the flow's container in which they go."""
    return {
        "volumes": pieces.volumes,
        "initContainers": pieces.init_containers,
        "volumeMounts": pieces.flow_mounts,
        "env": pieces.flow_env,
    }


def names_of(pieces: Pieces) -> dict[str, list[str]]:
    """Return what the marker says of pieces that are inserted."""
    names = {place: [one["name"] for one in items] for place, items in items_of(pieces).items()}
    return {**names, "labels": list(pieces.labels)}


def names_in(record: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names of what was inserted with this marker."""
    named = mapping(record.get("names"))
    found = {}
    for place, prefix in _PREFIXES.items():
        names = named.get(place)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            names = _UNNAMED[place]
        found[place] = [name for name in names if name.startswith(prefix)]
    return found
