"""Removes all that flowdeps has made, so that it can go without a trace.

Templates come first: no run may choose a lock that is about to go. While one of them can't be put
right, nothing in the cluster is touched. Then what gives runs their environments, pods, Secrets
before the ConfigMaps by which they are found, and last the finalizers and the status of sets, which
says where else to look. Another run completes what a kill has interrupted. What is ours is known by
a fragment's owner and cluster, by our labels, and by the namespace of an object's set, which must
be watched.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from flowdeps.api.config import Config
from flowdeps.api.names import (
    EARLIER_ENVIRONMENTS,
    ENVIRONMENTS_KIND,
    FINALIZER,
    NAMESPACE_LABEL,
    OURS,
    PIECE_PREFIX,
    PURPOSE_LABEL,
    is_managed,
)
from flowdeps.api.status import parse_status
from flowdeps.app.listing import each_environments, each_lock, served_namespaces
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.kubernetes.transport import Body
from flowdeps.clients.prefect.client import Pool, Pools
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.delivery.choice import find
from flowdeps.delivery.kinds import for_type, remove
from flowdeps.reconcile.runs_namespace.lines import is_earlier, is_written_by
from flowdeps.state.fragments import is_ours
from flowdeps.state.locations import primary_location
from flowdeps.state.reported import locations_to_search
from flowdeps.state.store import SetKey

_TRIALS = f"{OURS},{PURPOSE_LABEL}"
_AT_ONCE = 16
_UNSEEN = {"observedGeneration": -1}
"""The status of a set that no operator has seen: the resource's default."""

Where = tuple[str, str]


@dataclass
class Cleanup:
    """One run."""

    config: Config
    cluster: Cluster
    pools: Pools | None
    """None leaves templates alone."""
    say: Callable[[str], None]
    """Gets a line about each thing that goes."""
    dry: bool = False
    """Only says what would go."""
    left: list[str] = field(default_factory=list)
    """What does not go, and why."""
    _namespaces: set[str] = field(default_factory=set)  # of jobs, by templates and statuses
    _identity: str = ""

    async def run(self) -> None:
        """Remove what there is."""
        try:
            if not self.config.watch_namespaces:
                self._identity = await self.cluster.identity()
        except ClusterError as error:
            self.left.append(f"the cluster could not be read: {error}")
        if self.pools and not self.left:
            await self._templates(self.pools)
        if self.left:
            return
        try:
            sets = await self._sets()
            reported = {where for one in sets for where in _reported(one)}
            self._namespaces |= {namespace for namespace, _ in reported}
            pods = await self.cluster.list_pods(
                namespaces=self.config.pod_namespaces, selector=_TRIALS
            )
            # Of their metadata as much as is needed: there may be many, and long ones.
            config_maps = [_identity(one) async for one in self._config_maps()]
            told = [_identity(one) async for one in self._environments()]
        except ClusterError as error:
            self.left.append(f"the cluster could not be read: {error}")
            return
        earlier = [one for one in config_maps if one["name"] == EARLIER_ENVIRONMENTS]
        config_maps = [one for one in config_maps if one["name"] != EARLIER_ENVIRONMENTS]
        beside = reported | {_where(one) for one in config_maps}
        await self._all(self._told(one) for one in told)
        await self._all(self._config_map(one) for one in earlier)
        await self._all(self._pod(one["metadata"]) for one in pods if _is_named_by_us(one))
        await self._all(self._secret(*where) for where in sorted(beside))
        if not self.left:  # they are how the Secrets are found
            await self._all(self._config_map(one) for one in config_maps)
        if not self.left:
            await self._all(self._set(one) for one in sets)

    # Prefect

    async def _templates(self, pools: Pools) -> None:
        try:
            found = await pools.read_all()
        except PoolsError as error:
            self.left.append(f"work pools could not be read: {error}")
            return
        for pool in found.values():
            kind = for_type(pool.type)
            if kind and (namespace := kind.view(pool.template).location):
                self._namespaces.add(namespace)
            if self._is_ours(pool):
                await self._template(pools, pool.name)
        if self.dry or self.left:
            return
        try:
            again = await pools.read_all()
        except PoolsError as error:
            self.left.append(f"work pools could not be read again: {error}")
            return
        self.left += (
            f"work pool {name}: something else wrote its template back (a Helm release, Terraform?)"
            for name, pool in again.items()
            if self._is_ours(pool)
        )

    async def _template(self, pools: Pools, name: str) -> None:
        try:
            pool = await pools.read(name)
            if pool is None or not self._is_ours(pool):
                return
            if not self.dry:
                await pools.write(name, remove(pool.template))
        except PoolsError as error:
            self.left.append(f"work pool {name}: {error}")
        else:
            self.say(f"work pool {name}: our part of its base job template")

    def _is_ours(self, pool: Pool) -> bool:
        found = find(pool.template)
        return is_ours(found, owner=self.config.owner, cluster=self._identity, unnamed=True)

    # The cluster

    async def _sets(self) -> Sequence[Body]:
        try:
            return await self.cluster.list_sets(self.config.watch_namespaces)
        except ClusterError as error:
            if error.status == 404:  # the resource is gone, and all sets with it
                return ()
            raise

    async def _config_maps(self) -> AsyncIterator[Body]:
        """Those of sets, wherever jobs run, and those of trials."""
        async for one in each_lock(self.cluster, self.config, elsewhere=self._namespaces):
            if self._is_for_us(one):
                yield one
        watched = self.config.watch_namespaces
        async for one in self.cluster.each_config_map(namespaces=watched, selector=_TRIALS):
            if _is_named_by_us(one) and not is_earlier(one):
                yield one

    async def _environments(self) -> AsyncIterator[Body]:
        """What we told runs of their environments, wherever jobs run."""
        async for one in each_environments(self.cluster, self.config, elsewhere=self._namespaces):
            if is_written_by(self.config.owner, one):
                yield one

    def _is_for_us(self, one: Body) -> bool:
        watched = self.config.watch_namespaces
        if not _is_named_by_us(one):
            return False  # others may give their objects any label
        if is_earlier(one):
            return is_written_by(self.config.owner, one)
        return not watched or one["metadata"]["labels"].get(NAMESPACE_LABEL) in watched

    async def _pod(self, meta: Body) -> None:
        namespace, name = _where(meta)
        if not self.dry:
            await self.cluster.delete_pod(namespace=namespace, name=name, uid=meta["uid"])
        self.say(f"Pod {namespace}/{name}")

    async def _secret(self, namespace: str, name: str) -> None:
        try:
            body = await self.cluster.get_secret(namespace, name)
        except ClusterError as error:
            served = served_namespaces(self.config)
            if error.status == 403 and served and namespace not in served:
                return
            raise
        labels = (body or {}).get("metadata", {}).get("labels") or {}
        if body is None or not is_managed(labels) or not self._is_for_us(body):
            return
        if not self.dry:
            uid = body["metadata"]["uid"]
            await self.cluster.delete_secret(namespace=namespace, name=name, uid=uid)
        self.say(f"Secret {namespace}/{name}")

    async def _told(self, meta: Body) -> None:
        namespace, name = _where(meta)
        if not self.dry:
            await self.cluster.delete_environments(namespace=namespace, name=name, uid=meta["uid"])
        self.say(f"{ENVIRONMENTS_KIND} {namespace}/{name}")

    async def _config_map(self, meta: Body) -> None:
        namespace, name = _where(meta)
        if not self.dry:
            await self.cluster.delete_config_map(namespace=namespace, name=name, uid=meta["uid"])
        self.say(f"ConfigMap {namespace}/{name}")

    async def _set(self, body: Body) -> None:
        """Remove what nobody would keep true any more, and what only we could."""
        meta = body["metadata"]
        held = FINALIZER in meta.get("finalizers", ())
        reported = bool(body.get("status")) and body["status"] != _UNSEEN
        if not held and not reported:
            return
        namespace, name = _where(meta)
        if not self.dry:
            who = {"namespace": namespace, "name": name, "uid": meta["uid"]}
            try:
                if reported:
                    await self.cluster.apply_status(**who, status={})
                if held:
                    await self._finalizer(who)
            except ClusterError as error:
                if error.status != 404:
                    raise
        parts = [*(["status"] if reported else []), *(["finalizer"] if held else [])]
        self.say(f"FlowDependencySet {namespace}/{name}: {' and '.join(parts)}; it stays itself")

    async def _finalizer(self, who: dict[str, str]) -> None:
        body = await self.cluster.apply_finalizers(**who, finalizers=[])
        if FINALIZER in body["metadata"].get("finalizers", ()):
            self.left.append(
                f"FlowDependencySet {who['namespace']}/{who['name']}: somebody else has set the"
                f" finalizer {FINALIZER} too; take it out with kubectl edit"
            )

    async def _all(self, steps: Iterable[Awaitable[None]]) -> None:
        """Take steps, some at once; one that fails does not keep the others."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def take(step: Awaitable[None]) -> None:
            async with room:
                try:
                    await step
                except ClusterError as error:
                    self.left.append(str(error))

        await asyncio.gather(*map(take, steps))


def _reported(body: Body) -> Iterator[Where]:
    """The ConfigMaps that a set has, or had by its status: a Secret may be there without one."""
    status = parse_status(body)
    home = primary_location(SetKey(*_where(body["metadata"])))
    for location in (home, *locations_to_search(status)):
        yield location.namespace, location.live_name
        for revision in status.revisions:
            short = revision.digest.removeprefix("sha256:")[:10]
            yield location.namespace, location.revision(short)


def _identity(body: Body) -> dict[str, str]:
    return {name: body["metadata"][name] for name in ("namespace", "name", "uid")}


def _is_named_by_us(body: Body) -> bool:
    return str(body["metadata"]["name"]).startswith(PIECE_PREFIX)


def _where(meta: Body) -> Where:
    return meta["namespace"], meta["name"]
