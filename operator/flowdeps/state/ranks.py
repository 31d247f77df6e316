"""The sets of each namespace by age: where only so many are served, the oldest are.

A set that is being deleted makes room at once.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from flowdeps.api.resource import SetMeta

_Age = tuple[datetime, str]


@dataclass
class Ranks:
    """Creation times and names, in order, by namespace."""

    _ages: dict[str, list[_Age]] = field(default_factory=lambda: defaultdict(list))

    def add(self, meta: SetMeta) -> None:
        """Let a set count, unless it is being deleted."""
        if not meta.deleting:
            insort(self._ages[meta.namespace], _age(meta))

    def discard(self, meta: SetMeta) -> None:
        """Let a set that was added count no longer."""
        ages, rank = self._ages.get(meta.namespace, []), self.rank(meta)
        if rank < len(ages) and ages[rank] == _age(meta):
            del ages[rank]
            if not ages:
                del self._ages[meta.namespace]

    def rank(self, meta: SetMeta) -> int:
        """Return how many sets of a set's namespace are older than it."""
        return bisect_left(self._ages.get(meta.namespace, []), _age(meta))

    def names(self, namespace: str, *, first: int, end: int) -> list[str]:
        """Return the names of the sets with these ranks, without that of `end`."""
        return [name for _, name in self._ages.get(namespace, [])[max(0, first) : end]]


def _age(meta: SetMeta) -> _Age:
    return meta.created_at, meta.name
