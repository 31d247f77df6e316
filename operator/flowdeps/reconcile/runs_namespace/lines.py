"""What tells an admission policy which runs of a namespace get a ready environment. Pure.

The ConfigMap `flowdeps-environments` has a key for each choice of a pool, which is what runs'
ConfigMaps are called without `flowdeps-`, and under it the line

    <image> <reference of the environment> <digest of the lock>
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flowdeps.api import names
from flowdeps.state.environment import Environment
from flowdeps.state.store import SetKey
from flowdeps.trials.image import ImageRef

MOST_BYTES = 900_000
"""Bytes of all lines, with their keys twice: the API server keeps them once more, as ours."""
_AROUND = 32


@dataclass(frozen=True, kw_only=True)
class Line:
    """What runs of a pool get by one choice, if nothing speaks against it."""

    set: SetKey
    pool: str
    choice: str
    """Its key in the ConfigMap."""
    resolved_at: str
    """When its lock was made."""
    environment: Environment
    image: ImageRef | None
    """The image that it was made for, as it is looked at; None: not known yet."""

    @property
    def text(self) -> str:
        """What the policy reads."""
        one = self.environment
        return f"{one.image} {one.reference} {one.lock}"


def line_key(config_map: str) -> str:
    """Return the key for what a run mounts, by the name of that ConfigMap."""
    return config_map.removeprefix(names.PIECE_PREFIX)


def fitting(lines: Iterable[Line]) -> Iterator[Line]:
    """Iterate over the lines that fit a ConfigMap together.

    The namespaces of sets take turns, so that none takes the room of another, and in each the
    newest come first.
    """
    room, turns = MOST_BYTES, Counter[str]()
    inline: list[tuple[int, Line]] = []
    for line in sorted(lines, key=lambda one: (one.resolved_at, one.choice), reverse=True):
        inline.append((turns[line.set.namespace], line))
        turns[line.set.namespace] += 1
    for _, line in sorted(inline, key=lambda one: one[0]):
        room -= 2 * len(line.choice) + len(line.text) + _AROUND
        if room < 0:
            return
        yield line


def environments_map(
    namespace: str,
    data: Mapping[str, str],
    *,
    owner: str,
    instead_of: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the ConfigMap to apply, which is refused where another version is there than
    `instead_of`."""
    same = instead_of["metadata"] if instead_of else {}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.ENVIRONMENTS,
            "namespace": namespace,
            "labels": _labels(),
            "annotations": {names.OWNER_ANNOTATION: owner},
            **{name: same[name] for name in ("uid", "resourceVersion") if name in same},
        },
        "data": dict(data),
    }


def is_environments(body: Mapping[str, Any]) -> bool:
    """Return whether a ConfigMap is one that an operator wrote for the runs of its namespace."""
    labels = body["metadata"].get("labels") or {}
    return body["metadata"]["name"] == names.ENVIRONMENTS and _labels().items() <= labels.items()


def is_written_by(owner: str, body: Mapping[str, Any]) -> bool:
    """Return whether the operator that is called `owner` wrote it."""
    annotations = body["metadata"].get("annotations") or {}
    return is_environments(body) and annotations.get(names.OWNER_ANNOTATION) == owner


def _labels() -> dict[str, str]:
    return {
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.PURPOSE_LABEL: names.ENVIRONMENTS_PURPOSE,
    }
