"""Step: credentials of a set's index, where its runs need them, in Secrets `flowdeps-<key>`.

There is a Secret beside each ConfigMap whose manifest says so, in the set's own namespace and in
those that the configuration names for the jobs of a pool. It goes before the ConfigMap does, and
before another set takes the name over. It is read by name in each reconcile of a set that has one,
and written only where it differs.
"""

import base64
from typing import Any

from flowdeps.api.names import NAMESPACE_LABEL, REVISION_LABEL, SET_LABEL, is_managed, set_labels
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.gather.credentials import CA_FILE, NETRC_FILE
from flowdeps.locks.access import Access
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.progress import Progress
from flowdeps.state.locations import Location, owner_of, primary_location
from flowdeps.state.records import revisions_of
from flowdeps.state.store import Body, ConfigMapView, SetEntry, SetKey

_POLL_SECONDS = 600.0
"""How often the Secrets of a set are checked: no watch and no list brings them."""


async def publish_credentials(context: Context, progress: Progress) -> Outcome:
    """Make the Secrets of a set what they should be; waits where a copy has no ConfigMap yet."""
    if not (progress.record or progress.resolved.is_done):
        return Outcome.done(Reason.PUBLISHED)
    if not progress.gathered.is_done and progress.access is None:  # nobody knows what they need
        return Outcome.done(Reason.PUBLISHED)
    again = _POLL_SECONDS if progress.access else None
    if await write_credentials(context, progress.entry, progress.access):
        text = "waits for the ConfigMap of a copy"
        return Outcome.waits(Reason.PENDING, text, retry_after=again)
    return Outcome.done(Reason.PUBLISHED, retry_after=again)


async def write_credentials(context: Context, entry: SetEntry, access: Access | None) -> bool:
    """Write the Secrets of a set where they differ; without `access` delete them.

    Each revision has one as well: a run may name it instead of a key. Elsewhere than at home, a
    Secret waits for its ConfigMap, by which it is found when the set goes; returns whether one
    does.
    """
    views = context.held(entry)
    if access is None:
        for view in views:
            if view.manifest.get("credentials"):
                await remove_credentials(context, view)
        return False
    waits = False
    there = {(view.namespace, view.name) for view in views}
    for location in context.claims.locations(entry):
        if context.conflict(entry, location) or not may_have_credentials(context, entry, location):
            continue
        if context.config.pool(location.pool).labels:
            continue  # its pods install nothing
        live = location.namespace, location.live_name
        if location != primary_location(entry.key) and live not in there:
            waits = True
            continue
        revisions = revisions_of(location, views)
        named = [view.name for view in revisions if view.manifest.get("credentials")]
        for name in (location.live_name, *named):
            await _write(context, entry, location.namespace, name, access)
    return waits


def may_have_credentials(context: Context, entry: SetEntry, location: Location) -> bool:
    """Return whether a Secret of a set may go to a location."""
    settings = context.config.pool(location.pool)
    return settings.allows_credentials(entry.key.namespace, job=location.namespace)


async def remove_credentials(context: Context, view: ConfigMapView) -> None:
    """Delete the Secret beside one of our ConfigMaps, if it is of the same set."""
    if REVISION_LABEL in view.labels and not view.manifest.get("credentials"):
        return
    body = await context.cluster.get_secret(view.namespace, view.name)
    if body and _is_of(view.holder, body):
        await _delete(context, body)


async def clear_of_others(context: Context, entry: SetEntry, namespace: str, name: str) -> None:
    """Delete a Secret of another set where one is about to get a ConfigMap: nothing would lead to
    it any more, and the set's runs would have it."""
    body = await context.cluster.get_secret(namespace, name)
    if body and _is_ours(context, body) and not _is_of(entry.key, body):
        await _delete(context, body)


async def _delete(context: Context, body: Body) -> None:
    meta = body["metadata"]
    await context.cluster.delete_secret(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
    )


async def _write(
    context: Context, entry: SetEntry, namespace: str, name: str, access: Access
) -> None:
    async with context.turn(namespace, name):
        view, home = context.store.config_maps.get((namespace, name)), primary_location(entry.key)
        own = (namespace, name) == (home.namespace, home.live_name)
        # A copy has one by now; whose it is may have changed since it was looked at.
        if view.holder == entry.key if view else own:
            await _write_if_different(context, entry, namespace, name, access)


async def _write_if_different(
    context: Context, entry: SetEntry, namespace: str, name: str, access: Access
) -> None:
    texts = {NETRC_FILE: access.netrc, CA_FILE: access.ca}
    data = {file: base64.b64encode(t.encode()).decode() for file, t in texts.items() if t}
    found = await context.cluster.get_secret(namespace, name)
    if found:
        if not _is_ours(context, found):
            return  # somebody else's has the name: the trial, or a run, will say so
        if found.get("data") == data and _is_of(entry.key, found):
            return
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "labels": _labels_of(entry.key),
    }
    if found:  # what was looked at, and nothing that somebody has made since
        same = ("uid", "resourceVersion")
        metadata |= {field: found["metadata"][field] for field in same}
    if namespace == entry.key.namespace:
        metadata["ownerReferences"] = [owner_of(entry)]
    await context.cluster.apply_secret(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    )


def _labels_of(key: SetKey) -> dict[str, str]:
    return set_labels(namespace=key.namespace, name=key.name)


def _is_ours(context: Context, body: Body) -> bool:
    labels = _labels(body)
    holder = SetKey(labels.get(NAMESPACE_LABEL, ""), labels.get(SET_LABEL, ""))
    return is_managed(labels) and not context.is_foreign(holder)


def _is_of(key: SetKey, body: Any) -> bool:
    return _labels_of(key).items() <= _labels(body).items()


def _labels(body: Any) -> dict[str, str]:
    return body["metadata"].get("labels") or {}
