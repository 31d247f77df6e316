"""What passes share: the picture, the outside systems, the queue, what pools said."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flowdeps.api.config import Config
from flowdeps.api.reasons import Reason
from flowdeps.cluster import Cluster, ClusterError
from flowdeps.engine import Queue
from flowdeps.observe import Metrics
from flowdeps.pools import Pools
from flowdeps.reconcile.resolutions import Resolutions
from flowdeps.store import PoolKey, SetEntry, SetKey, Store

log = logging.getLogger(__name__)

Key = SetKey | PoolKey


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
class World:
    """Everything that a pass may look at or use."""

    config: Config
    store: Store
    cluster: Cluster
    pools: Pools
    resolutions: Resolutions
    queue: Queue[Key]
    metrics: Metrics
    version: str
    pool_states: dict[str, PoolState] = field(default_factory=dict)
    removing: dict[SetKey, float] = field(default_factory=dict)  # since when, in queue time
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def working_on(self, key: SetKey) -> bool:
        """Whether a set's next state is still being made."""
        return self.queue.busy(key) or self.resolutions.resolving(key)

    def call_rivals(self, name: str, *, but: Key) -> None:
        """Call the sets that want a key, and their pools: who serves it may have changed."""
        for key in self.store.rivals(name) - {but}:
            self.queue.add(key)
            for ref in self.store.sets[key].offers:
                if ref.key == name and PoolKey(ref.name) != but:
                    self.queue.add(PoolKey(ref.name))

    async def announce(self, entry: SetEntry, *, kind: str, reason: str, note: str) -> None:
        """Post an event about a set; a failure to do so is only logged."""
        log.info("%s: %s: %s", entry.key, reason, note, extra={"set": str(entry.key)})
        body: dict[str, Any] = dict(entry.body)
        try:
            await self.cluster.create_event(
                regarding=body, kind=kind, reason=reason, action="Reconcile", note=note
            )
        except ClusterError as error:
            log.warning("no event for %s: %s", entry.key, error)
