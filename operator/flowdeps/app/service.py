"""The operator as a whole: lists, loops and the queue, put together.

At the start everything is listed once: no template is changed before all sets are known, so a
restart never removes a set from a pool. Then watches feed the store (see handlers), and three loops
make up for what watches miss: the resync lists again, and notices a watch that went silent; the
poll reads all pools, and requeues those that are not in line; hints are Prefect's events, so that
drift ends within a second. An unexpected error in one is logged, and it starts again.
"""

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Self

from flowdeps.api.config import Config
from flowdeps.app import failures
from flowdeps.app.assembly import make_context, timed
from flowdeps.app.health import Health
from flowdeps.app.listing import each_environments, each_lock
from flowdeps.app.moved import MovedImages
from flowdeps.clients.fence import Fence
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.prefect.client import Pools
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.reconcile.announcements.announcer import Announcer
from flowdeps.reconcile.context import Context, Key
from flowdeps.reconcile.dependency_set.reconciler import SetReconciler
from flowdeps.reconcile.runs_namespace.capability import looks
from flowdeps.reconcile.runs_namespace.lines import is_earlier, is_written_by
from flowdeps.reconcile.runs_namespace.reconciler import RunsReconciler
from flowdeps.reconcile.work_pool.reconciler import PoolReconciler
from flowdeps.resolver.resolve import Resolver
from flowdeps.scheduling.clock import Backoff
from flowdeps.state.kept import essentials
from flowdeps.state.reported import locations_to_search
from flowdeps.state.store import (
    Body,
    ConfigMapView,
    PoolKey,
    RunsKey,
    SetEntry,
    SetKey,
    view_config_map,
)
from flowdeps.telemetry.logs import enter
from flowdeps.telemetry.metrics import Metrics
from flowdeps.trials.images import sweep
from flowdeps.vulnerabilities.load import Advisories

log = logging.getLogger(__name__)

RESYNC_SECONDS = 600.0
_WATCH_SECONDS = 60.0
_OUTAGE_POLLS = 3
_DATABASE_SECONDS = 60.0
_ANEW_SECONDS = 60.0
_LOOK_SECONDS = 300.0
"""How often it is looked whether the cluster gives runs their environments."""
_FIRST_LOOK_SECONDS = 10.0


class Service:
    """The running operator, without the watches that feed it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._sets = SetReconciler(context)
        self._pools = PoolReconciler(context)
        self._runs = RunsReconciler(context)
        self._announcer = Announcer(context)
        self._elsewhere: set[str] = set()  # namespaces of jobs that no configuration names
        self._foreign: set[str] = set()
        self._moved = MovedImages(context)
        self.health = Health(context)
        context.queue.handle = self._handle
        context.queue.on_error = self._failed

    @classmethod
    @asynccontextmanager
    async def assemble(
        cls,
        config: Config,
        *,
        resolver: Resolver,
        metrics: Metrics | None = None,
        fence: Fence | None = None,
        identity: str | None = None,
        wrap: Callable[[Cluster, Pools], tuple[Cluster, Pools]] = lambda c, p: (c, p),
    ) -> AsyncIterator[Self]:
        """A service with clients for the cluster and Prefect, and locks by `resolver`.

        `fence` guards all writes, `identity` names who makes them; `wrap` may put something around
        the clients, as tests of faults do.
        Raises ClusterError or PoolsError where one of them isn't configured.
        """
        metrics = metrics or Metrics()

        async with AsyncExitStack() as stack:
            cluster = await stack.enter_async_context(
                Cluster.connect(
                    observe=metrics.observe_call("kubernetes"), fence=fence, identity=identity
                )
            )
            pools = await stack.enter_async_context(
                Pools.connect(
                    config.prefect.api_url, observe=metrics.observe_call("prefect"), fence=fence
                )
            )
            cluster, pools = wrap(cluster, pools)
            context = make_context(
                config,
                cluster=cluster,
                pools=pools,
                resolve=timed(resolver, metrics),
                refusal=resolver.refusal,
                metrics=metrics,
            )
            stack.push_async_callback(context.close)
            yield cls(context)

    async def run(self, watch: Callable[["Service"], Awaitable[None]]) -> None:
        """Run until `watch` ends, which feeds it events."""
        await self._first_list()
        loops: list[Callable[[], Awaitable[None]]] = [self._resync, self._poll, self._hints]
        if advisories := self.context.advisories:
            # First of all: no lock is checked, and nothing is reported of one, without it; but a
            # database that is far away must not keep the operator from its work.
            with suppress(TimeoutError):
                async with asyncio.timeout(_DATABASE_SECONDS):
                    await self._load(advisories)
            loops.append(partial(self._follow, advisories))
        else:
            log.info("no vulnerabilities.database is configured: pins are not looked up")
        if looks(self.context.config):
            loops.append(self._look)
        loops += [
            partial(failures.count_failed_installs, self.context, namespace)
            for namespace in failures.scopes(self.context.config)
        ]
        if self._announcer.wanted:
            loops.append(self._announcer.run)
        async with self._runs, asyncio.TaskGroup() as tasks:
            steady = (_without_end(loop) for loop in loops)
            running = [tasks.create_task(one) for one in (self.context.queue.run(), *steady)]
            await watch(self)
            for task in running:
                task.cancel()

    # Events in

    def set_event(self, kind: str | None, body: Body) -> None:
        """A set was seen (`kind` None), ADDED, MODIFIED or DELETED."""
        self.health.last_event = self.context.queue.time()
        store, meta = self.context.store, body["metadata"]
        key = SetKey(meta["namespace"], meta["name"])
        known, before = store.sets.get(key), store.version
        if kind == "DELETED":
            if known and known.meta.uid != meta["uid"]:
                return  # a newer set of the same name
            self._requeue_includers(key)
            self._requeue_competitors(store.remove_set(key))
            self._requeue_next(known)
            self.context.queue.add(key)
        elif store.put_set(body):
            self.context.queue.add(key)
            if store.version != before:  # else it claims what it did: it may be edited all the time
                self._requeue_competitors(known, store.sets[key])
                self._requeue_next(known)
            if known is None or known.meta.generation != store.sets[key].meta.generation:
                self._requeue_includers(key)
                # Whoever edits a set may just have edited what it refers to.
                self.context.sources.poll(key)

    def config_map_event(self, kind: str | None, body: Body) -> None:
        """One of our ConfigMaps was seen, changed or deleted."""
        self.health.last_event = self.context.queue.time()
        store, meta = self.context.store, body["metadata"]
        if is_earlier(body):
            return
        known = store.config_maps.get((meta["namespace"], meta["name"]))
        if kind == "DELETED":
            if known is None or known.uid != meta["uid"]:
                return
            store.remove_config_map(known.namespace, known.name, known.uid)
            self.context.queue.add(known.holder)
        elif view := store.put_config_map(body):
            for one in filter(None, (known, view)):
                self.context.queue.add(one.holder)

    def environments_event(self, kind: str | None, body: Body) -> None:
        """RunEnvironments were seen, changed or deleted."""
        self.health.last_event = self.context.queue.time()
        self._runs.see(body, gone=kind == "DELETED")

    # Loops

    async def _first_list(self) -> None:
        failures, backoff = 0, Backoff(longest=30.0, jitter=self.context.jitter)
        while True:
            try:
                if not self.context.config.watch_namespaces:
                    self.context.identity = await self.context.cluster.identity()
                await self._list()
                if self._may_hold_more():
                    await self._list()
            except ClusterError as error:
                failures += 1
                pause = backoff(failures)
                hint = "; is the resource (crds/) installed?" if error.status == 404 else ""
                log.warning("can't list sets, next try in %.0f s: %s%s", pause, error, hint)
                await asyncio.sleep(pause)
            else:
                break
        holders = {view.holder for view in self.context.store.config_maps.values()}
        self.context.requeue(holders | self.context.store.sets.keys())
        self.health.listed = True
        log.info("found %d dependency sets", len(self.context.store.sets))

    async def _list(self) -> set[SetKey]:
        context = self.context
        known = dict(context.store.sets)
        self._elsewhere |= {n for p in context.store.pools.values() for n in p.job_namespaces}
        context.store.begin_list()
        locks = each_lock(context.cluster, context.config, elsewhere=self._elsewhere)
        config_maps: list[ConfigMapView] = []
        earlier: list[Body] = []
        async for body in locks:
            if not is_earlier(body):
                config_maps.append(view_config_map(body))
            elif is_written_by(context.config.owner, body):
                earlier.append({"metadata": body["metadata"]})
        told = each_environments(context.cluster, context.config, elsewhere=self._elsewhere)
        environments = [{"metadata": body["metadata"]} async for body in told]
        sets: list[Body] = []
        changed: set[SetKey] = set()
        try:
            async for body in context.cluster.each_set(context.config.watch_namespaces):
                # Parsed as they come, and the loop turns after each: a page of them would hold it
                # up for seconds.
                if key := context.store.put_set(body):
                    changed.add(key)
                    await asyncio.sleep(0)
                sets.append(essentials(body))
        except ClusterError:
            context.requeue(changed)  # no later list reports them
            for key in sorted(changed):
                self._requeue_competitors(known.get(key), context.store.sets.get(key))
                self._requeue_includers(key)
            raise
        changed |= context.store.replace(sets=sets, config_maps=config_maps)
        self._runs.see_all(environments)
        await self._runs.retire(earlier)
        for key in sorted(changed):
            self._requeue_competitors(known.get(key), context.store.sets.get(key))
        self._requeue_next(*map(known.get, changed))
        self._warn_of_foreign()
        return changed

    def _may_hold_more(self) -> bool:
        """Find out where jobs ran before the start, whatever became of sets and pools.

        Statuses say it. This decides where is searched, and nothing else: what is found there has
        labels of its own.
        """
        if self.context.config.watch_namespaces:
            for entry in self.context.store.sets.values():
                found = locations_to_search(entry.status)
                self._elsewhere |= {location.namespace for location in found}
        return bool(self._elsewhere)

    def _warn_of_foreign(self) -> None:
        """Log which namespaces have copies here that nobody looks after, as far as we know."""
        holders = {view.holder for view in self.context.store.config_maps.values()}
        found = {one.namespace for one in holders if self.context.is_foreign(one)}
        for namespace in sorted(found - self._foreign):
            log.warning(
                "there are ConfigMaps of sets in namespace %s, which is not in watchNamespaces:"
                " unless another operator serves it, watch it again, delete its sets, and then take"
                " it off",
                namespace,
            )
        self._foreign |= found

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(RESYNC_SECONDS)
            start, before = self.context.queue.time(), dict(self.context.store.config_maps)
            try:
                missed = await self._list()
            except ClusterError as error:
                log.warning("resync failed, next in %.0f s: %s", RESYNC_SECONDS, error)
                continue
            watched = missed - self._unwatched(before)
            self.context.requeue(missed)
            for key in sorted(missed):
                self._requeue_includers(key)
            try:
                await sweep(
                    self.context.cluster,
                    namespaces=self.context.config.pod_namespaces,
                    running=self.context.running,
                    images=self.context.images.needed(),
                )
            except ClusterError as error:
                log.warning("can't look for what trials have left: %s", error)
            try:
                await self._moved.look()
            except ClusterError as error:
                log.warning("can't look which images runs have: %s", error)
            # What a list brings first, a watch that works brings soon after.
            await asyncio.sleep(_WATCH_SECONDS if missed else 0)
            silent = bool(watched) and self.health.last_event < start
            self.health.silent_watch = (
                f"the watch is silent: a list found {len(watched)} changes that it did not bring"
                if silent
                else None
            )

    def _unwatched(self, before: Mapping[tuple[str, str], ConfigMapView]) -> set[SetKey]:
        """The sets with a ConfigMap that is another than before where nothing is watched."""
        namespaces, now = self.context.config.watch_namespaces, self.context.store.config_maps
        return {
            view.holder
            for where in (before.keys() | now.keys() if namespaces else ())
            if where[0] not in namespaces and before.get(where) is not now.get(where)
            for view in (before.get(where), now.get(where))
            if view
        }

    async def _poll(self) -> None:
        context, every = self.context, self.context.config.prefect.poll_interval.total_seconds()
        while True:
            absent = self._pools.directory.absent
            try:
                pools = await self._pools.directory.read_all()
            except PoolsError as error:
                self.health.failed_polls += 1
                self.health.prefect = str(error)
                log.warning("can't poll Prefect, next in %.0f s: %s", every, error)
                if self.health.failed_polls == _OUTAGE_POLLS:
                    for name in sorted(context.store.named_pools()):
                        self._pools.unreachable(name, error)
            else:
                self.health.failed_polls, self.health.prefect = 0, None
                wanted = context.store.named_pools()
                missing = self._pools.directory.absent - absent
                ours = {name for name, pool in pools.items() if self._pools.ours(pool)}
                context.metrics.keep_pools(wanted | pools.keys())
                context.requeue(
                    PoolKey(name)
                    for name in wanted | ours
                    if name not in context.pool_states
                    or name in missing
                    or (name in pools and self._pools.changed(pools[name]))
                )
            context.resolutions.tidy()
            await asyncio.sleep(every)

    async def _look(self) -> None:
        while True:
            pause = _LOOK_SECONDS
            try:
                await self._runs.look()
            except ClusterError as error:
                log.info("can't find out whether runs may mount environments: %s", error)
                pause = _FIRST_LOOK_SECONDS
            await asyncio.sleep(pause)

    async def _follow(self, advisories: Advisories) -> None:
        context = self.context
        while True:
            every = context.config.vulnerabilities.interval.total_seconds()
            await asyncio.sleep(every if advisories.current else min(every, _DATABASE_SECONDS))
            before = advisories.version, advisories.problem
            await self._load(advisories)
            if (advisories.version, advisories.problem) != before:
                context.recheck_all()

    async def _load(self, advisories: Advisories) -> None:
        await advisories.load()
        if advisories.problem:
            every = self.context.config.vulnerabilities.interval.total_seconds()
            log.warning("%s; next try in %.0f s", advisories.problem, every)

    async def _hints(self) -> None:
        failures, backoff = 0, Backoff(first=5.0, jitter=self.context.jitter)
        while True:
            try:
                async for name in self.context.pools.changes():
                    failures = 0
                    if name in self.context.pool_states:
                        self.context.queue.add(PoolKey(name))
            except PoolsError as error:
                log.debug("no events from Prefect: %s", error)
            failures += 1
            await asyncio.sleep(backoff(failures))

    # Reconciles

    async def _handle(self, key: Key) -> float | None:
        kind, name = _kind(key), str(key) if isinstance(key, SetKey) else _name(key)
        # To the end of the queue's task for this reconcile, which logs how it failed.
        enter(**{kind: name, "pass": uuid.uuid4().hex[:8]})
        with self.context.metrics.passes.labels(kind).time():
            if isinstance(key, SetKey):
                return await self._sets.reconcile(key)
            if isinstance(key, RunsKey):
                return await self._runs.reconcile(key.namespace)
            return await self._pools.reconcile(key.name)

    def _failed(self, key: Key, error: Exception) -> None:
        if not isinstance(error, ClusterError | PoolsError):
            log.error("%s: a mistake in flowdeps", key, exc_info=error)
        self.context.metrics.failed_passes.labels(_kind(key)).inc()

    def _requeue_includers(self, key: SetKey) -> None:
        self.context.requeue(self.context.store.includers(key))

    def _requeue_next(self, *known: SetEntry | None) -> None:
        """Call the sets that are among those that are served, since these no longer are."""
        store, most = self.context.store, self.context.config.limits.sets_per_namespace
        left = Counter(
            entry.key.namespace
            for entry in filter(None, known)
            if (now := store.sets.get(entry.key)) is None or now.meta.deleting
        )
        for namespace, count in left.items():
            names = store.ranks.names(namespace, first=most - count, end=most)
            self.context.requeue(SetKey(namespace, name) for name in names)

    def _requeue_competitors(self, *entries: SetEntry | None) -> None:
        """Call the sets that want a key which one of these, a set before and after a change,
        claims: who serves it may have changed."""
        for entry in filter(None, entries):
            for name in sorted({entry.key.name, *(ref.key for ref in entry.pool_refs)}):
                self.context.requeue_competitors(name, but=entry.key)


def _name(key: PoolKey | RunsKey) -> str:
    return key.name if isinstance(key, PoolKey) else key.namespace


def _kind(key: Key) -> str:
    match key:
        case SetKey():
            return "set"
        case PoolKey():
            return "pool"
        case RunsKey():
            return "runs"


async def _without_end(loop: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await loop()
        except Exception:
            log.exception("a mistake in flowdeps; what it ended begins anew in a minute")
            await asyncio.sleep(_ANEW_SECONDS)
