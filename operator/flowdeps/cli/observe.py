"""Reads what there is of a set: itself, its events and pods, what runs mount, what pools offer, and
the operator's Lease.

What can't be read, for want of a right or of an answer, is named and left out: the set's own status
is enough for a diagnosis.
"""

import contextlib
import difflib
from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from flowdeps.api.config import Config, ElectionConfig
from flowdeps.api.names import NAMESPACE_LABEL, PURPOSE_LABEL, SET_LABEL, mounted_name
from flowdeps.api.status import PoolStatus, parse_status
from flowdeps.cli import lease
from flowdeps.cli.diagnosis import Body, Mounted, Observed, name_of
from flowdeps.cli.failure import CommandError
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.delivery.choice import find
from flowdeps.state.store import DIGEST_FILE

T = TypeVar("T")


async def list_sets(namespace: str | None) -> list[Body]:
    """Return the sets of a namespace, or of all. Raises CommandError."""
    async with _connect() as cluster:
        return await cluster.list_sets([namespace] if namespace else [])


@contextlib.asynccontextmanager
async def _connect() -> AsyncIterator[Cluster]:
    try:
        async with Cluster.connect() as cluster:
            yield cluster
    except ClusterError as error:
        if error.status == 404:
            raise CommandError(
                "this cluster does not know FlowDependencySets; install flowdeps or its CRD first"
            ) from None
        raise CommandError(str(error)) from None


async def _find(cluster: Cluster, namespace: str | None, name: str) -> Body:
    sets = await cluster.list_sets([namespace] if namespace else [])
    found = [one for one in sets if one["metadata"]["name"] == name]
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(sorted(map(name_of, found)))
        raise CommandError(f'there are several sets "{name}"; name one of: {places}')
    lines = [f'there is no set "{name}"' + (f" in namespace {namespace}" if namespace else "")]
    if namespace:
        with contextlib.suppress(ClusterError):  # the right may be for this namespace only
            sets = await cluster.list_sets()
    if near := _similar(name, sets):
        lines.append(f"there is: {', '.join(near)}")
    raise CommandError(*lines)


def _similar(name: str, sets: Sequence[Body]) -> list[str]:
    names = {one["metadata"]["name"] for one in sets}
    close = {name, *difflib.get_close_matches(name, names, n=3, cutoff=0.6)}
    close |= {other for other in names if len(name) > 2 and (name in other or other in name)}
    return sorted(name_of(one) for one in sets if one["metadata"]["name"] in close)[:8]


async def observe(
    namespace: str | None, name: str, *, config: Config, election: ElectionConfig | None
) -> Observed:
    """Return what there is of a set; `election` None: not known. Raises CommandError."""
    unread = list[str]()

    async def read(what: str, answer: Awaitable[T]) -> tuple[T | None, bool]:
        """Return an answer, and whether there is one."""
        try:
            return await answer, True
        except ClusterError as error:
            unread.append(f"{what}: {error}")
            return None, False

    async with _connect() as cluster:
        body = await _find(cluster, namespace, name)
        meta, pools = body["metadata"], parse_status(body).work_pools
        events, _ = await read("its events", cluster.list_events(meta["namespace"], meta["uid"]))
        answer = cluster.list_pods(namespaces=[meta["namespace"]], selector=PURPOSE_LABEL)
        pods, _ = await read("its pods", answer)
        mounted: dict[tuple[str, str], Mounted | None] = {}
        named = ((one, mounted_name(p.key, pool=p.name)) for p in pools for one in p.namespaces)
        for where, map_name in sorted({*named}):
            found, is_known = await read(
                f"ConfigMap {where}/{map_name}", cluster.get_config_map(where, map_name)
            )
            if is_known:
                mounted[where, map_name] = _mounted(found) if found else None
        return Observed(
            body=body,
            events=events or (),
            pods=[one for one in pods or () if _concerns(one, body)],
            mounted=mounted,
            offered=await _offered(pools, config, unread),
            lease=await _lease(cluster, election),
            unread=unread,
        )


async def _lease(cluster: Cluster, election: ElectionConfig | None) -> lease.LeaseReport:
    if election is None or not election.enabled:
        return lease.OFF if election else lease.UNKNOWN
    try:
        found = await cluster.get_lease(election.namespace, election.name)
    except ClusterError as error:
        return lease.unreadable(election, str(error))
    return lease.describe(election, found, datetime.now(UTC))


def _mounted(config_map: Body) -> Mounted:
    labels = config_map["metadata"].get("labels") or {}
    holder = f"{labels.get(NAMESPACE_LABEL, '?')}/{labels.get(SET_LABEL, '?')}"
    return Mounted((config_map.get("data") or {}).get(DIGEST_FILE, ""), holder)


def _concerns(pod: Body, body: Body) -> bool:
    """Whether a pod tries this set's lock, or looks into its image."""
    owners = pod["metadata"].get("ownerReferences") or ()
    if owners:
        return any(one.get("uid") == body["metadata"]["uid"] for one in owners)
    python = (body.get("spec") or {}).get("python") or {}
    images = {one.get("image") for one in pod["spec"]["containers"]}
    return "version" not in python and python.get("image", next(iter(images))) in images


async def _offered(
    refs: Sequence[PoolStatus], config: Config, unread: list[str]
) -> dict[str, Sequence[str]]:
    found: dict[str, Sequence[str]] = {}
    if not refs:
        return found
    # Here, not above: the table of sets needs no Prefect, whose client takes seconds to load.
    from flowdeps.clients.prefect.client import Pools
    from flowdeps.clients.prefect.errors import PoolsError

    try:
        async with Pools.connect(config.prefect.api_url) as pools:
            for one in refs:
                if one.by_label:
                    continue  # no template has anything to do with it
                pool = await pools.read(one.name)
                fragment = find(pool.template) if pool else None
                found[one.name] = fragment.keys if fragment else ()
    except PoolsError as error:
        unread.append(f"its pools: {error}")
    return found
