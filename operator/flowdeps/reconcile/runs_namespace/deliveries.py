"""What is known of how runs get their packages, for all namespaces of runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from flowdeps.api.names import mounted_name
from flowdeps.api.poolconfig import PoolConfig
from flowdeps.reconcile.runs_namespace.lines import Line, Told, line_key
from flowdeps.scheduling.clock import Backoff
from flowdeps.state.store import RunsKey, SetKey
from flowdeps.trials.image import ImageRef

MADE_AGAIN = Backoff(first=600.0, longest=86400.0, jitter=lambda: 0.5)
"""How long an environment has to last that was made again, by how often it was: registries say of
one that it is not there where somebody may only not see it."""


@dataclass(frozen=True)
class Mount:
    """A question to a pod: can an environment be mounted?"""

    image: ImageRef
    """In which image and namespace."""
    reference: str
    group: str
    """The namespace of its set, whose turn it is."""
    pull_secrets: tuple[str, ...] = ()
    number: tuple[int, int] = (0, 0)
    """How many times it was lost and how many times a pull of it failed, so that each is answered
    anew."""

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
    pull_secrets: tuple[str, ...] | None = None
    """Those of the pod that failed; None: they are not known."""
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
    """`Image`, `Volume`, `Install` or `Cache`."""
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
    gone: set[str] = field(default_factory=set)
    """The references that are not in their registry any more, and are to be made again."""
    lost: dict[str, tuple[int, float]] = field(default_factory=dict)
    """How often each was gone so far, and when last, in queue time."""
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
            self.gone -= left
            self.lost = {one: known for one, known in self.lost.items() if one not in left}
        changed = [n for n in {**before, **now} if before.get(n) != now.get(n)]
        for namespace in changed:
            there = self.lines.setdefault(namespace, {})
            there.pop(key, None)
            if namespace in now:
                there[key] = now[namespace]
            if not there:
                del self.lines[namespace]
        return [RunsKey(namespace) for namespace in changed]

    def problem(self, pool: PoolConfig) -> str | None:
        """Return why no run of a pool can mount an environment; empty: it can, None: not known."""
        if not pool.takes_environments:
            return "workPools[].delivery of the operator's configuration says so"
        nodes = "" if pool.delivery == "Image" else self.nodes
        if self.admission or nodes:
            return self.admission or nodes
        return None if self.admission is None or nodes is None else ""

    def lose(self, reference: str, *, now: float) -> float:
        """Take in that an environment is not in its registry any more; returns in how many seconds
        it may be made again (0.0: now), which happens ever more rarely."""
        if reference not in self.gone:
            times, last = self.lost.get(reference, (0, 0.0))
            pause = last + MADE_AGAIN(times) - now if times else 0.0
            if pause > 0:
                return pause
            self.lost[reference] = times + 1, now
            self.gone.add(reference)
        return 0.0

    def restore(self, reference: str) -> None:
        """Take in that it was made again: pods may try to mount it at once."""
        self.gone.discard(reference)
        for (_, one), pull in self.failed.items():
            if one == reference:
                pull.last = float("-inf")

    def namespaces_of(self, key: SetKey) -> list[RunsKey]:
        """Return where a set has lines."""
        return [RunsKey(namespace) for namespace, _ in self.offered.get(key, ())]

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
