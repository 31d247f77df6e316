"""What passes share: the picture, the outside systems, the queue, what pools said."""

import logging
import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from flowdeps.api.conditions import Condition
from flowdeps.api.config import Config
from flowdeps.api.events import Event, Kind
from flowdeps.api.reasons import Reason
from flowdeps.clients.kubernetes import Cluster, ClusterError
from flowdeps.clients.prefect.client import Pools
from flowdeps.gather.sources import Content, SourceRef
from flowdeps.locks.access import Access
from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.resolver import Resolution
from flowdeps.scheduling.clock import Jitter
from flowdeps.scheduling.poller import Poller
from flowdeps.scheduling.queue import Queue
from flowdeps.scheduling.single_flight import SingleFlight
from flowdeps.state.store import PoolKey, SetEntry, SetKey, Store
from flowdeps.telemetry.metrics import Metrics
from flowdeps.trials.images import Image, ImageRef
from flowdeps.trials.runner import Runner
from flowdeps.trials.verify import Trial, Verifier
from flowdeps.vulnerabilities import Advisories
from flowdeps.vulnerabilities.matches import Vulnerability, find_vulnerabilities

log = logging.getLogger(__name__)

Key = SetKey | PoolKey


class Resolve(Protocol):
    """`Resolver.resolve`, or what stands around it."""

    async def __call__(
        self, request: LockRequest, *, previous: Lock | None, keep: bool, access: Access | None
    ) -> Resolution: ...


@dataclass(frozen=True)
class Verdict:
    """What a pool says of one set that offers itself to it."""

    reason: Reason
    message: str = ""

    @property
    def synced(self) -> bool:
        """Whether the pool's template offers the set as the set asks."""
        return self.reason is Reason.SYNCED


@dataclass
class PoolState:
    """What the last pass over a pool found.

    `offered`: key → set in the live template. `looked`: whether a pass got as far
    as seeing the template; until then nothing is known.
    """

    looked: bool = False
    offered: dict[str, SetKey] = field(default_factory=dict)
    verdicts: dict[SetKey, Verdict] = field(default_factory=dict)


@dataclass
class Context:
    """Everything that a pass may look at or use."""

    config: Config
    store: Store
    cluster: Cluster
    pools: Pools
    resolve: Resolve
    resolutions: SingleFlight[SetKey, Hashable, Resolution, Reason]
    verifier: Verifier
    verifications: SingleFlight[SetKey, Trial, str, Reason]
    sources: Poller[SetKey, SourceRef, Content, Reason]
    images: Poller[SetKey, ImageRef, Image, Reason]
    runner: Runner
    queue: Queue[Key]
    metrics: Metrics
    version: str
    identity: str = ""  # of the cluster; empty where it is not known
    advisories: Advisories | None = None
    pool_states: dict[str, PoolState] = field(default_factory=dict)
    removing: dict[SetKey, float] = field(default_factory=dict)  # since when, in queue time
    vulnerabilities: dict[str, tuple[str, tuple[Vulnerability, ...]]] = field(default_factory=dict)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    jitter: Jitter = random.random  # of pauses

    def working_on(self, key: SetKey) -> bool:
        """Whether a set's next state is still being made."""
        asked = (self.resolutions, self.verifications, self.sources, self.images)
        return self.queue.busy(key) or any(one.waits(key) for one in asked)

    def rivals(self, name: str) -> list[SetEntry]:
        """The sets that want to publish under a key, and could: one that can't be read and never
        had a lock stands in nobody's way."""
        entries = [self.store.sets[key] for key in self.store.rivals(name)]
        return [one for one in entries if one.spec or self.store.held(one.key)]

    def vulnerable(self, lock: Lock) -> tuple[Vulnerability, ...]:
        """The known vulnerabilities of a lock's pins; none without a database."""
        if self.advisories is None or self.advisories.current is None:
            return ()
        known = self.vulnerabilities.get(lock.digest)
        if known is None or known[0] != self.advisories.version:
            pins = [(pin.name, pin.version) for pin in lock.pins]
            known = (self.advisories.version, find_vulnerabilities(self.advisories.current, pins))
            self.vulnerabilities[lock.digest] = known
        return known[1]

    def recheck_all(self) -> None:
        """Look at all locks again, also at those that were made a moment ago: the database of
        vulnerabilities has changed."""
        self.vulnerabilities.clear()
        self.resolutions.forget()
        for key in self.store.sets:
            self.queue.add(key)

    def forget(self, key: SetKey) -> None:
        """Let go of what a set needed."""
        self.sources.need(key, frozenset())
        self.images.need(key, frozenset())

    async def close(self) -> None:
        """End all that is being found out."""
        for one in (self.resolutions, self.verifications, self.sources, self.images):
            await one.close()

    def requeue_competitors(self, name: str, *, but: Key) -> None:
        """Call the sets that want a key, and their pools: who serves it may have changed."""
        for key in self.store.rivals(name) - {but}:
            self.queue.add(key)
            for ref in self.store.sets[key].offers:
                if ref.key == name and PoolKey(ref.name) != but:
                    self.queue.add(PoolKey(ref.name))

    async def announce(self, entry: SetEntry, event: Event, note: str) -> None:
        """Post an event about a set; a failure to do so is only logged."""
        await self._post(entry, kind=event.kind, reason=event, note=note)

    async def announce_condition(self, entry: SetEntry, condition: Condition, kind: Kind) -> None:
        """Post that a condition has another reason, or a message worth telling."""
        await self._post(entry, kind=kind, reason=condition.reason, note=condition.message)

    async def _post(self, entry: SetEntry, *, kind: Kind, reason: str, note: str) -> None:
        log.info("%s: %s: %s", entry.key, reason, note, extra={"set": str(entry.key)})
        body: dict[str, Any] = dict(entry.body)
        try:
            await self.cluster.create_event(
                regarding=body, kind=kind, reason=reason, action="Reconcile", note=note
            )
        except ClusterError as error:
            log.warning("no event for %s: %s", entry.key, error)
