"""Takes out what a set no longer needs: places that it left, revisions beyond its history.

A run may name a revision where it would name a key (`dependency_set: ml-3f9a1c20de`), for the
ConfigMap of a revision has the shape of the current one. So one that the job variables of a
deployment or a pod name stays, however old it is.
"""

import logging
from collections.abc import Collection, Sequence

from flowdeps.api.resource import SET_LABEL, Updates
from flowdeps.clients.kubernetes import ClusterError
from flowdeps.clients.prefect.client import PoolsError
from flowdeps.reconcile.context import World
from flowdeps.reconcile.dependency_set.credentials import remove_credentials
from flowdeps.reconcile.dependency_set.publish import delete
from flowdeps.state import LockRecord, Place, obsolete, places
from flowdeps.state.store import REVISION_LABEL, ConfigMapView, SetEntry

log = logging.getLogger(__name__)


async def prune(world: World, entry: SetEntry, record: LockRecord) -> None:
    """Delete the ConfigMaps that are not wanted any more.

    A place that a template still offers, or that may belong to a pool not yet
    looked at, is left for a later pass.
    """
    states = [world.pool_states.get(ref.name) for ref in entry.offers]
    spec = entry.spec
    if spec is None or not all(state and state.looked for state in states):
        return
    wanted = places(entry, config=world.config, pools=world.store.pools)
    views = world.store.held(entry.key)
    keys = {_key(view) for view in views}
    for name, state in world.pool_states.items():
        pool = world.store.pools.get(name)
        wanted += [
            Place(namespace, key)
            for key in keys
            if state.offered.get(key) == entry.key
            for namespace in (pool.job_namespaces if pool else ())
        ]
    victims = obsolete(
        wanted,
        views,
        serving=record.short,
        limit=spec.revision_history_limit,
        proposals=1 if spec.updates is Updates.MANUAL else 0,
    )
    used = await _in_use(world, entry, victims)
    for view in victims:
        if _choice(view) not in used or REVISION_LABEL not in view.labels:
            await remove_credentials(world, view)
            await delete(world, view)


async def _in_use(
    world: World, entry: SetEntry, victims: Sequence[ConfigMapView]
) -> Collection[str]:
    """The revisions among `victims` that somebody names; all where that can't be found out."""
    revisions = {_choice(view) for view in victims if REVISION_LABEL in view.labels}
    if not revisions:
        return ()
    used: set[str] = set()
    try:
        for ref in entry.offers:
            variable = world.config.pool(ref.name).variable
            used |= await world.pools.chosen(ref.name, variable)
        selector = f"{SET_LABEL} in ({', '.join(sorted(revisions))})"
        namespaces = sorted({view.namespace for view in victims})
        for pod in await world.cluster.list_pods(namespaces=namespaces, selector=selector):
            if (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
                used.add(pod["metadata"]["labels"][SET_LABEL])
    except (PoolsError, ClusterError) as error:
        log.info("%s: old revisions are kept, as nobody knows who uses them: %s", entry.key, error)
        return revisions
    return used


def _key(view: ConfigMapView) -> str:
    """The key that a ConfigMap is for."""
    return _choice(view).removesuffix(f"-{view.labels.get(REVISION_LABEL, '')}")


def _choice(view: ConfigMapView) -> str:
    """What a run names to get this ConfigMap."""
    return view.name.removeprefix("flowdeps-")
