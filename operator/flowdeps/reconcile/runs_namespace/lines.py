"""What tells an admission policy which runs of a namespace get a ready environment. Pure.

The RunEnvironments `flowdeps-runs` have a key for each choice of a pool, which is what runs'
ConfigMaps are called without `flowdeps-`, and under it a line: the image, the reference of the
environment, and the digest of the lock. Where `labels` is there, pods get an environment by their
label alone: its key is that with the label's value behind it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flowdeps.api import names
from flowdeps.state.environment import Environment
from flowdeps.state.store import SetKey
from flowdeps.trials.image import ImageRef

Told = Mapping[str, str]
"""A line as the policy reads it."""

MOST_BYTES = 1_000_000
"""Bytes of all lines, in JSON."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """What runs of a pool get by one choice, if nothing speaks against it."""

    set: SetKey
    pool: str
    choice: str
    """Its key."""
    resolved_at: str
    """When its lock was made."""
    environment: Environment
    image: ImageRef | None
    """The image that it was made for, as it is looked at; None: not known yet."""

    @property
    def told(self) -> Told:
        """What the policy reads."""
        one = self.environment
        return {"image": one.image, "reference": one.reference, "lock": one.lock}


def line_key(config_map: str) -> str:
    """Return the key for what a run mounts, by the name of that ConfigMap."""
    return config_map.removeprefix(names.PIECE_PREFIX)


def labels_key(pool: str) -> str:
    """Return what all keys of a pool begin with; empty without one."""
    return line_key(names.mounted_name("", pool=pool)) if pool else ""


def fitting(lines: Iterable[Line]) -> Iterator[Line]:
    """Iterate over the lines that fit an object together.

    The namespaces of sets take turns, so that none takes the room of another, and in each the
    newest come first.
    """
    room, turns = MOST_BYTES, Counter[str]()
    inline: list[tuple[int, Line]] = []
    for line in sorted(lines, key=lambda one: (one.resolved_at, one.choice), reverse=True):
        inline.append((turns[line.set.namespace], line))
        turns[line.set.namespace] += 1
    for _, line in sorted(inline, key=lambda one: one[0]):
        room -= len(json.dumps({line.choice: line.told}))
        if room < 0:
            return
        yield line


def environments(
    namespace: str,
    told: Mapping[str, Told],
    *,
    owner: str,
    labels: str = "",
    instead_of: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the RunEnvironments to apply, which are refused where another version is there than
    `instead_of`; `labels`: what the keys of pods begin with that have a label alone."""
    same = instead_of["metadata"] if instead_of else {}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.ENVIRONMENTS_KIND,
        "metadata": {
            "name": names.ENVIRONMENTS,
            "namespace": namespace,
            "labels": {names.MANAGED_BY_LABEL: names.MANAGED_BY},
            "annotations": {names.OWNER_ANNOTATION: owner},
            **{name: same[name] for name in ("uid", "resourceVersion") if name in same},
        },
        "spec": {"environments": dict(told), **({"labels": labels} if labels else {})},
    }


def told_by(body: Mapping[str, Any]) -> Mapping[str, Told]:
    """Return what RunEnvironments tell."""
    found: Mapping[str, Told] = body["spec"]["environments"]
    return found


def is_earlier(body: Mapping[str, Any]) -> bool:
    """Return whether a ConfigMap is what earlier versions told runs by."""
    meta = body["metadata"]
    purpose = (meta.get("labels") or {}).get(names.PURPOSE_LABEL)
    return (meta["name"], purpose) == (names.EARLIER_ENVIRONMENTS, names.EARLIER_PURPOSE)


def is_written_by(owner: str, body: Mapping[str, Any]) -> bool:
    """Return whether the operator that is called `owner` wrote RunEnvironments, or their earlier
    form."""
    meta = body["metadata"]
    return (
        names.is_managed(meta.get("labels") or {})
        and (meta.get("annotations") or {}).get(names.OWNER_ANNOTATION) == owner
    )
