"""Credentials of a set's index, where its runs need them: Secrets `flowdeps-<key>`.

A Secret stands beside each current ConfigMap whose manifest says so, and goes before it does. It is
read by name at each pass of a set that has one, and written only where it differs.
"""

import base64
from typing import Any

from flowdeps.api.resource import (
    API_VERSION,
    KIND,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    NAMESPACE_LABEL,
    SET_LABEL,
)
from flowdeps.gather.credentials import CA_FILE, NETRC_FILE
from flowdeps.locks.access import Access
from flowdeps.plan import Place, places
from flowdeps.reconcile.publish import taken
from flowdeps.reconcile.world import World
from flowdeps.store import REVISION_LABEL, ConfigMapView, SetEntry


async def publish_credentials(world: World, entry: SetEntry, access: Access | None) -> None:
    """Make the Secrets of a set what they should be; None: it needs none."""
    for place in places(entry, config=world.config, pools=world.store.pools):
        if access is None:
            if view := world.store.config_maps.get((place.namespace, place.current)):
                await remove_credentials(world, view)
        elif not taken(world, entry, place):
            await _publish_at(world, entry, place, access)


async def remove_credentials(world: World, view: ConfigMapView) -> None:
    """Delete the Secret that stands beside one of our ConfigMaps, if there is one."""
    if REVISION_LABEL in view.labels or not view.manifest.get("credentials"):
        return
    body = await world.cluster.get_secret(view.namespace, view.name)
    if body and _is_ours(body):
        await world.cluster.delete_secret(
            namespace=view.namespace, name=view.name, uid=body["metadata"]["uid"]
        )


async def _publish_at(world: World, entry: SetEntry, place: Place, access: Access) -> None:
    texts = {NETRC_FILE: access.netrc, CA_FILE: access.ca}
    data = {name: base64.b64encode(t.encode()).decode() for name, t in texts.items() if t}
    found = await world.cluster.get_secret(place.namespace, place.current)
    if found and (not _is_ours(found) or found.get("data") == data):
        return  # somebody else's stands in the way: the trial, or a run, will say so
    metadata: dict[str, Any] = {
        "name": place.current,
        "namespace": place.namespace,
        "labels": {
            MANAGED_BY_LABEL: MANAGED_BY,
            SET_LABEL: entry.key.name,
            NAMESPACE_LABEL: entry.key.namespace,
        },
    }
    if place.namespace == entry.key.namespace:
        owner = {"apiVersion": API_VERSION, "kind": KIND, "name": entry.key.name}
        metadata["ownerReferences"] = [{**owner, "uid": entry.meta.uid}]
    await world.cluster.apply_secret(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    )


def _is_ours(body: Any) -> bool:
    labels = body["metadata"].get("labels") or {}
    return bool(labels.get(MANAGED_BY_LABEL) == MANAGED_BY)
