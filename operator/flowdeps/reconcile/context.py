"""What reconciles share: what is, the outside systems, the queue, and what pools found."""

import asyncio
import logging
import random
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol
from weakref import WeakValueDictionary

from flowdeps.api.config import Config
from flowdeps.api.events import Kind
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import WorkPoolRef
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.prefect.client import Pools
from flowdeps.gather.logins import Login
from flowdeps.gather.sources import Content, SourceRef
from flowdeps.locks.access import Access
from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.reconcile.announcements.board import Board
from flowdeps.reconcile.runs_namespace.deliveries import Deliveries, Mount
from flowdeps.resolver.resolve import Resolution
from flowdeps.scheduling.clock import Jitter
from flowdeps.scheduling.poller import Poller
from flowdeps.scheduling.queue import Queue
from flowdeps.scheduling.single_flight import SingleFlight
from flowdeps.state.environment import Environment
from flowdeps.state.fragments import Signature
from flowdeps.state.locations import Claims, Location, admitted_pools
from flowdeps.state.store import ConfigMapView, PoolKey, RunsKey, SetEntry, SetKey, Store
from flowdeps.telemetry.metrics import Metrics
from flowdeps.trials.build import Build, Builder
from flowdeps.trials.image import Image, ImageRef
from flowdeps.trials.populate import Populated, Population
from flowdeps.trials.runner import Runner
from flowdeps.trials.verify import Passed, Trial, Verifier
from flowdeps.vulnerabilities.load import Advisories
from flowdeps.vulnerabilities.matches import Vulnerability, find_vulnerabilities

log = logging.getLogger(__name__)

Key = SetKey | PoolKey | RunsKey


class Resolve(Protocol):
    """`Resolver.resolve`, or what is wrapped around it."""

    async def __call__(
        self, request: LockRequest, *, previous: Lock | None, keep: bool, access: Access | None
    ) -> Resolution: ...


class Refusal(Protocol):
    """`Resolver.refusal`, or what takes its place."""

    async def __call__(self, url: str, package: str, *, access: Access) -> str: ...


@dataclass(frozen=True)
class Verdict:
    """What a pool says of one of its sets."""

    reason: Reason
    message: str = ""

    @property
    def synced(self) -> bool:
        """Whether the pool's template offers the set as the set asks."""
        return self.reason is Reason.SYNCED

    def noting(self, notes: Iterable[str]) -> "Verdict":
        """Return the verdict with what else people should know of the pool, unless it is a no."""
        if self.reason not in {Reason.SYNCED, Reason.PENDING}:
            return self
        return replace(self, message="; ".join(filter(None, (self.message, *notes))))


@dataclass
class PoolState:
    """What the last reconcile of a pool found. Pools alone write it."""

    id: str = ""
    """In Prefect; empty where it is not known."""
    looked: bool = False
    """Whether a reconcile got as far as seeing the template; until then nothing is known."""
    offered: dict[str, SetKey] = field(default_factory=dict)
    """Key → set in the live template."""
    mounts: str = ""
    """The pool whose copies its runs mount: this one, but for a template that can't be changed."""
    by_claim: bool = False
    """Whether its runs mount environments from a claim, by the live template."""
    verdicts: dict[SetKey, Verdict] = field(default_factory=dict)
    merged: dict[SetKey, Signature] = field(default_factory=dict)
    """Which version of each set its verdict is about; one that is not admitted has none, as its
    verdict is about all."""

    def verdict(self, key: SetKey, signature: Signature) -> Verdict | None:
        """Return what the pool says of this version of a set; None where it saw none so far."""
        found = self.verdicts.get(key)
        if found and self.merged.get(key, signature) != signature:
            return Verdict(Reason.SYNCING, "its template is being changed")
        return found


@dataclass
class Context:
    """Everything that a reconcile may look at or use."""

    config: Config
    store: Store
    cluster: Cluster
    pools: Pools
    resolve: Resolve
    resolutions: SingleFlight[SetKey, Hashable, Resolution, Reason]
    verifier: Verifier
    verifications: SingleFlight[SetKey, Trial, Passed, Reason]
    builder: Builder
    builds: SingleFlight[SetKey, Build, Environment, Reason]
    sources: Poller[SetKey, SourceRef, Content, Reason]
    logins: Poller[SetKey, Login, str, Reason]
    """How each index refuses credentials; empty: it takes them."""
    images: Poller[Key, ImageRef, Image, Reason]
    mounts: Poller[Key, Mount, bool, Reason]
    populations: Poller[Key, Population, Populated, Reason]
    runner: Runner
    mounter: Runner
    """Runs the pods that mount environments."""
    queue: Queue[Key]
    metrics: Metrics
    version: str
    identity: str = ""
    """Of the cluster; empty where it is not known."""
    advisories: Advisories | None = None
    installing: dict[Trial, str] = field(default_factory=dict)
    """How far the installations of trials are that take long."""
    pool_states: dict[str, PoolState] = field(default_factory=dict)
    deliveries: Deliveries = field(default_factory=Deliveries)
    board: Board = field(default_factory=Board)
    """What sets have reported, for Prefect."""
    lacking: dict[tuple[str, SetKey], Outcome] = field(default_factory=dict)
    """Why a claim of a pool's runs lacks the environment of a set. Sets write it."""
    removing: dict[SetKey, float] = field(default_factory=dict)
    """The sets that are being deleted, and since when we try, in queue time."""
    left: dict[SetKey, dict[tuple[str, str], float]] = field(default_factory=dict)
    """The ConfigMaps that each set has left, and since when that is known, in queue time."""
    vulnerabilities: dict[str, tuple[str, tuple[Vulnerability, ...]]] = field(default_factory=dict)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    jitter: Jitter = random.random
    """Of pauses."""
    _claims: Claims | None = None
    _turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = field(
        default_factory=WeakValueDictionary
    )

    @property
    def claims(self) -> Claims:
        """Which set has which location, as of now."""
        if self._claims is None or self._claims.version != self.store.version:
            self._claims = Claims(self.store, self.config)
        return self._claims

    def admitted(self, entry: SetEntry) -> tuple[WorkPoolRef, ...]:
        """Return the pools that admit a set."""
        return admitted_pools(entry, config=self.config, pools=self.store.pools)

    def by_claim(self, pool: str) -> bool | None:
        """Return whether runs of a pool should mount environments from a claim; None: not known
        yet, and then they do as they did."""
        settings = self.config.pool(pool)
        if settings.delivery != "Auto" or not settings.claim:
            return settings.delivery == "Volume"
        found = (self.deliveries.admission, self.deliveries.nodes)
        if any(found):
            return True
        return None if None in found else False

    def held(self, entry: SetEntry) -> list[ConfigMapView]:
        """Return the ConfigMaps of a set that are where it belongs."""
        return self.claims.held(entry)

    def turn(self, namespace: str, name: str) -> asyncio.Lock:
        """Return who may change to whom a name in a namespace belongs, or write its Secret: a
        Secret of one set must never be beside the ConfigMap of another."""
        return self._turns.setdefault((namespace, name), asyncio.Lock())

    @property
    def running(self) -> frozenset[tuple[str, str]]:
        """The pods that run for us, or wait for their turn."""
        runners = (self.runner, self.builder.runner, self.mounter)
        return frozenset(pod for runner in runners for pod in runner.running)

    def conflict(self, entry: SetEntry, location: Location) -> Outcome | None:
        """Return why a set can't publish in a location; None where it can."""
        holder = self.claims.holder(location)
        if holder in (None, entry.key):
            return None
        if location.pool:
            text = (
                f'the set {holder} serves the key "{location.key}" of work pool {location.pool},'
                " and keeps it as long as it names that pool; choose another key in"
                " spec.workPools, or have that set give it up"
            )
        else:
            text = (
                f"runs may still mount the copy {location.live_name} of the set {holder}, which an"
                " earlier version of flowdeps made here; wait until that set has deleted it, or"
                " choose another name"
            )
        return Outcome.failed(Reason.CONFLICT, text)

    def is_foreign(self, holder: SetKey) -> bool:
        """Return whether what a set holds is another operator's: we don't watch its namespace."""
        watched = self.config.watch_namespaces
        return bool(watched) and holder.namespace not in watched

    def working_on(self, key: SetKey) -> bool:
        """Return whether a set is still being worked on."""
        asked = (self.resolutions, self.verifications, self.sources, self.images)
        return self.queue.busy(key) or any(one.waits(key) for one in asked)

    def vulnerable(self, lock: Lock) -> tuple[Vulnerability, ...]:
        """Return the known vulnerabilities of a lock's pins; none without a database."""
        if self.advisories is None or self.advisories.current is None:
            return ()
        known = self.vulnerabilities.get(lock.digest)
        if known is None or known[0] != self.advisories.version:
            pins = [(pin.name, pin.version) for pin in lock.pins]
            known = (self.advisories.version, find_vulnerabilities(self.advisories.current, pins))
            self.vulnerabilities[lock.digest] = known
        return known[1]

    def recheck_all(self) -> None:
        """Check all locks again, also those made a moment ago, against another database."""
        self.vulnerabilities.clear()
        self.resolutions.forget()
        self.requeue(self.store.sets)

    def forget(self, key: SetKey) -> None:
        """Do the same as `withdraw` for a set that is gone, and know nothing more of it."""
        self.left.pop(key, None)
        self.deliveries.going.pop(key, None)
        self.board.drop(key)
        self.withdraw(key)

    def withdraw(self, key: SetKey, *, but_access: bool = False) -> None:
        """Stop finding out what a set needed; `but_access`: except for what opens its index."""
        self.resolutions.withdraw(key)
        self.verifications.withdraw(key)
        self.builds.withdraw(key)
        if not but_access:
            self.sources.need(key, frozenset())
            self.logins.need(key, frozenset())
        self.images.need(key, frozenset())
        self.populations.need(key, frozenset())
        for where in [one for one in self.lacking if one[1] == key]:
            del self.lacking[where]

    async def close(self) -> None:
        """Stop all that is being found out; pods are left to the next operator."""
        self.runner.closed = self.builder.runner.closed = self.mounter.closed = True
        asked = (self.resolutions, self.verifications, self.builds, self.sources, self.logins)
        for one in (*asked, self.images, self.mounts, self.populations):
            await one.close()

    def requeue(self, keys: Iterable[Key]) -> None:
        """Requeue sets and pools, in an order that is the same each time."""
        for key in sorted(keys, key=str):
            self.queue.add(key)

    def requeue_competitors(self, name: str, *, but: Key) -> None:
        """Requeue the sets that want a key, and their pools: who serves it may have changed."""
        sets = self.store.rivals(name)
        refs = (ref for key in sets - {but} for ref in self.store.sets[key].pool_refs)
        pools = {PoolKey(ref.name) for ref in refs if ref.key == name}
        self.requeue((sets | pools) - {but})

    async def post_event(self, entry: SetEntry, *, kind: Kind, reason: str, note: str) -> None:
        """Post an event about a set; a failure to do so is only logged."""
        log.info("%s: %s: %s", entry.key, reason, note, extra={"set": str(entry.key)})
        body: dict[str, Any] = dict(entry.body)
        try:
            await self.cluster.create_event(
                regarding=body, kind=kind, reason=reason, action="Reconcile", note=note
            )
        except ClusterError as error:
            log.warning("no event for %s: %s", entry.key, error)
