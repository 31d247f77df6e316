"""What there is of one set: itself, its events and pods, what runs mount, what pools offer.

What can't be looked at, for want of a right or of an answer, is named and left out: the set's own
status is enough for an answer.
"""

import contextlib
import dataclasses
import difflib
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from flowdeps.api.config import Config
from flowdeps.api.names import NAMESPACE_LABEL, PURPOSE_LABEL, SET_LABEL, mounted_name
from flowdeps.api.status import SetStatus, parse_status
from flowdeps.cli.explanation import Mounted, Seen
from flowdeps.cli.failure import CommandError
from flowdeps.state.store import DIGEST_FILE

if TYPE_CHECKING:
    from flowdeps.clients.kubernetes import Cluster

Body = Mapping[str, Any]
T = TypeVar("T")


async def look(namespace: str | None, name: str, config: Config) -> tuple[Seen, list[str]]:
    """What there is of a set, and what could not be looked at. Raises CommandError."""
    from flowdeps.clients.kubernetes import Cluster, ClusterError

    try:
        async with Cluster.connect() as cluster:
            body = await _find(cluster, namespace, name)
            seen = Seen(body=body)
            return await _look_around(cluster, seen, config)
    except ClusterError as error:
        if error.status == 404:
            raise CommandError(
                "this cluster does not know FlowDependencySets; install flowdeps or its CRD first"
            ) from None
        raise CommandError(str(error)) from None


async def _find(cluster: "Cluster", namespace: str | None, name: str) -> Body:
    from flowdeps.clients.kubernetes import ClusterError

    sets = await cluster.list_sets([namespace] if namespace else [])
    found = [one for one in sets if one["metadata"]["name"] == name]
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(sorted(_name(one) for one in found))
        raise CommandError(f'there are several sets "{name}"; name one of: {places}')
    lines = [f'there is no set "{name}"' + (f" in namespace {namespace}" if namespace else "")]
    if namespace:
        with contextlib.suppress(ClusterError):  # who may look into this namespace only
            sets = await cluster.list_sets()
    if near := _near(name, sets):
        lines.append(f"there is: {', '.join(near)}")
    raise CommandError(*lines)


def _near(name: str, sets: Sequence[Body]) -> list[str]:
    names = {one["metadata"]["name"] for one in sets}
    close = {name, *difflib.get_close_matches(name, names, n=3, cutoff=0.6)}
    close |= {other for other in names if len(name) > 2 and (name in other or other in name)}
    return sorted(_name(one) for one in sets if one["metadata"]["name"] in close)[:8]


def _name(body: Body) -> str:
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


async def _look_around(cluster: "Cluster", seen: Seen, config: Config) -> tuple[Seen, list[str]]:
    meta, status, blind = seen.body["metadata"], parse_status(seen.body), list[str]()
    events = await _or_blind(
        "its events", cluster.list_events(meta["namespace"], meta["uid"]), blind
    )
    pods = await _or_blind(
        "its pods",
        cluster.list_pods(namespaces=[meta["namespace"]], selector=PURPOSE_LABEL),
        blind,
    )
    mounted: dict[tuple[str, str], Mounted | None] = {}
    for namespace, key in _places(status):
        what = f"ConfigMap {namespace}/{mounted_name(key)}"
        read = cluster.get_config_map(namespace, mounted_name(key))
        before = len(blind)
        body = await _or_blind(what, read, blind)
        if len(blind) == before:
            mounted[namespace, key] = _mounted(body) if body else None
    return (
        dataclasses.replace(
            seen,
            events=events or (),
            pods=[one for one in pods or () if _concerns(one, seen.body)],
            mounted=mounted,
            offered=await _offered(status, config, blind),
        ),
        blind,
    )


async def _or_blind(what: str, look: Awaitable[T], blind: list[str]) -> T | None:
    from flowdeps.clients.kubernetes import ClusterError

    try:
        return await look
    except ClusterError as error:
        blind.append(f"{what}: {error}")
        return None


def _places(status: SetStatus) -> list[tuple[str, str]]:
    return sorted({(ns, pool.key) for pool in status.work_pools for ns in pool.namespaces})


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
    status: SetStatus, config: Config, blind: list[str]
) -> dict[str, Sequence[str] | str]:
    if not status.work_pools:
        return {}
    from flowdeps.clients.prefect.client import Pools, PoolsError
    from flowdeps.delivery import find

    found: dict[str, Sequence[str] | str] = {}
    try:
        async with Pools.connect(config.prefect.api_url) as pools:
            for one in status.work_pools:
                pool = await pools.read(one.name)
                fragment = find(pool.template) if pool else None
                found[one.name] = fragment.keys if fragment else ()
    except PoolsError as error:
        blind.append(f"its pools: {error}")
        found |= {one.name: str(error) for one in status.work_pools if one.name not in found}
    return found
