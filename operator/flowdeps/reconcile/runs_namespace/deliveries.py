"""What is known of how runs get their packages, for all namespaces of runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from flowdeps.api.names import mounted_name
from flowdeps.reconcile.runs_namespace.lines import Line, Told, line_key
from flowdeps.state.store import RunsKey, SetKey
from flowdeps.trials.image import ImageRef


@dataclass(frozen=True)
class Mount:
    """A question to a pod: can an environment be mounted?"""

    image: ImageRef
    """In which image; it is asked in its namespace, which is that of the set."""
    reference: str
    runs: str = ""
    """The namespace of runs in which a pull of it failed; empty: none did."""
    failures: int = 0
    """How many times, so that each is answered anew."""

    def __str__(self) -> str:
        return f"{self.reference} in {self.image.namespace}"


@dataclass
class FailedPull:
    """An environment that a run could not pull."""

    words: str
    """The kubelet's."""
    last: float
    """When it failed last, in queue time."""
    said: datetime | None
    """When that was by the event's own word."""
    failures: int = 1
    """How many times the line was taken out."""
    mounted: bool = False
    """Whether a pod has mounted it since."""


@dataclass
class RunsState:
    """What the last reconcile of a namespace of runs found."""

    there: tuple[str, str] | None = None
    """The uid and the version of its RunEnvironments; None where there are none."""
    served: Mapping[str, tuple[SetKey, Told]] = field(default_factory=dict)
    """Whose line is in ours under which key, and the line."""
    why: Mapping[tuple[SetKey, str], str] = field(default_factory=dict)
    """Why a choice of a set is not among that; empty where it is. What is not known is not here."""
    failed: Mapping[SetKey, str] = field(default_factory=dict)
    """What is known of pulls that failed."""


class Delivery(NamedTuple):
    """How runs of a pool get the packages of a set."""

    way: str
    """`Image` or `Install`."""
    why: str = ""
    """Why not a better one, where its environment is there."""


@dataclass
class Deliveries:
    """What reconciles of namespaces of runs share, and what sets report of them."""

    admission: str | None = None
    """Why no policy gives runs their environments; empty: one does, None: not known yet."""
    nodes: str | None = None
    """Why a node can't mount one; empty: all can, as far as they say; None: not known yet."""
    events: dict[str, str] = field(default_factory=dict)
    """By the namespaces in which failed pulls are watched for (empty: all), why they can't be;
    empty: they are."""
    states: dict[str, RunsState] = field(default_factory=dict)
    offered: dict[SetKey, tuple[tuple[str, tuple[Line, ...]], ...]] = field(default_factory=dict)
    """The lines of each set by namespaces, from its last reconcile on."""
    lines: dict[str, dict[SetKey, tuple[Line, ...]]] = field(default_factory=dict)
    """The same by namespaces first."""
    going: dict[SetKey, Mapping[str, float]] = field(default_factory=dict)
    """The locks that each set is about to delete, and since when, in queue time."""
    failed: dict[tuple[str, str], FailedPull] = field(default_factory=dict)
    """By the namespace of runs and the reference."""
    proven: set[Mount] = field(default_factory=set)
    """What pods have mounted, in this process."""
    reconciled: set[SetKey] = field(default_factory=set)
    """The sets that have offered their lines."""
    seen: set[str] = field(default_factory=set)
    """The namespaces that have RunEnvironments of ours."""

    def offer(self, key: SetKey, lines: Mapping[str, Iterable[Line]]) -> list[RunsKey]:
        """Keep the lines of a set; returns the namespaces where that is news."""
        self.reconciled.add(key)
        before = dict(self.offered.get(key, ()))
        now = {namespace: tuple(found) for namespace, found in lines.items()}
        if now:
            self.offered[key] = tuple(now.items())
        else:
            self.offered.pop(key, None)
        left = _references(before) - _references(now)
        if left:
            self.proven = {one for one in self.proven if one.reference not in left}
            self.failed = {one: pull for one, pull in self.failed.items() if one[1] not in left}
        changed = [n for n in {**before, **now} if before.get(n) != now.get(n)]
        for namespace in changed:
            there = self.lines.setdefault(namespace, {})
            there.pop(key, None)
            if namespace in now:
                there[key] = now[namespace]
            if not there:
                del self.lines[namespace]
        return [RunsKey(namespace) for namespace in changed]

    def serves(self, key: SetKey, lock: str = "") -> bool:
        """Return whether runs may still be given an environment of a set, or of one of its locks;
        also while it is not known what is told in a namespace."""
        if self.seen - self.states.keys():
            return True
        return any(
            key == holder and lock in ("", told["lock"])
            for state in self.states.values()
            for holder, told in state.served.values()
        )

    def of(self, key: SetKey, *, pool: str, choice: str) -> Delivery | None:
        """Return how runs of a pool get the packages of a set by a choice; None: not known yet."""
        if key not in self.reconciled:
            return None
        name = key, line_key(mounted_name(choice, pool=pool))
        namespaces = [
            namespace
            for namespace, lines in self.offered.get(key, ())
            if any(line.choice == name[1] for line in lines)
        ]
        found = [self.states.get(one, RunsState()).why.get(name) for one in namespaces]
        if None in found:
            return None
        why = next(filter(None, found), "")
        return Delivery("Install" if why or not found else "Image", why)

    def pull_failure(self, key: SetKey) -> str:
        """Return what is known of failed pulls of a set's environments; empty where nothing is."""
        found = {state.failed.get(key, "") for state in self.states.values()}
        return "; ".join(sorted(filter(None, found)))


def _references(lines: Mapping[str, Iterable[Line]]) -> set[str]:
    return {line.environment.reference for found in lines.values() for line in found}
