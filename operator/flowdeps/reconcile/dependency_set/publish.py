"""Makes the ConfigMaps of a set what they should be, and takes out what is not wanted.

The order of writes is what makes a kill between any two of them harmless: home
before copies, in each place the revision before the current one, deletions last.
Whatever was not reached is found missing by the next pass.
"""

from flowdeps.api.names import is_managed
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.clients.kubernetes import ClusterError
from flowdeps.locks.diff import diff, summarize
from flowdeps.locks.lock import Lock, LockError, parse_lock
from flowdeps.reconcile.claims import is_foreign, taken
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.credentials import remove_credentials
from flowdeps.state import (
    SUMMARY_LIMIT,
    Desired,
    Location,
    LockRecord,
    config_maps,
    keep_history,
    places,
    primary_location,
)
from flowdeps.state.store import LOCK_FILE, ConfigMapView, SetEntry


class LockText:
    """The text of a lock that is published, fetched at most once and only when it is needed.

    `found`: its record and the name of the ConfigMap in `namespace` that holds it.
    """

    def __init__(
        self, context: Context, namespace: str, found: tuple[LockRecord, str] | None
    ) -> None:
        self._context, self._namespace, self._found = context, namespace, found
        self._lock: Lock | None = None

    async def lock(self) -> Lock | None:
        """The lock; None where there is none, or where its text is not what it was."""
        if self._lock is None and self._found:
            record, name = self._found
            body = await self._context.cluster.get_config_map(self._namespace, name)
            text = ((body or {}).get("data") or {}).get(LOCK_FILE, "")
            self._lock = _parse(text, record)
        return self._lock


async def publish(
    context: Context, entry: SetEntry, record: LockRecord, *, new: Lock | None, before: LockText
) -> Outcome:
    """Write what is missing of a lock's ConfigMaps.

    `new` is the lock where it was just made; else its text comes from `before`,
    the lock in service. Raises ClusterError where the API server is out of reach.
    """
    problems: list[Outcome] = []
    for place in places(entry, config=context.config, pools=context.store.pools):
        problem = taken(context, entry, place)
        if problem is None:
            try:
                problem = await _publish_at(context, entry, place, record, new=new, before=before)
            except ClusterError as error:
                problem = _refused(error, place)
        if problem:
            problems.append(problem)
    if problems:
        return problems[0]
    return Outcome.done(
        Reason.PUBLISHED, f"{primary_location(entry.key).current} holds {record.short}"
    )


async def propose(
    context: Context, entry: SetEntry, record: LockRecord, *, lock: Lock, before: LockText
) -> None:
    """Write a lock as a revision that waits for an approval, at home only.

    Before the refresh that found it is written down as met: a kill between the two repeats it.
    """
    home = primary_location(entry.key)
    summary = summarize(diff(await before.lock(), lock), SUMMARY_LIMIT)
    desired, _ = config_maps(entry, home, record, summary=summary, proposed=True)
    view = context.store.config_maps.get((desired.namespace, desired.name))
    if view and desired.must_be_replaced(view):
        await delete(context, view)
    context.store.put_config_map(
        await context.cluster.apply_config_map(desired.body(lock.render()))
    )


async def delete(context: Context, view: ConfigMapView) -> None:
    """Delete one of our ConfigMaps and forget it, unless another set has taken it over by now."""
    cluster, store, where = context.cluster, context.store, (view.namespace, view.name)
    gone = await cluster.delete_config_map(
        namespace=view.namespace,
        name=view.name,
        uid=view.uid,
        resource_version=view.resource_version,
    )
    body = None if gone else await cluster.get_config_map(*where)
    if body is None:
        store.remove_config_map(*where, view.uid)
        return
    now = store.put_config_map(body) or store.config_maps.get(where)
    if now and now is not view and now.holder == view.holder:
        await delete(context, now)


async def _publish_at(
    context: Context,
    entry: SetEntry,
    place: Location,
    record: LockRecord,
    *,
    new: Lock | None,
    before: LockText,
) -> Outcome | None:
    store = context.store
    for wanted in config_maps(entry, place, record, summary=""):
        view = store.config_maps.get((wanted.namespace, wanted.name))
        if view is None:
            found = await _look(context, wanted)
            if isinstance(found, Outcome):
                return found
            view = found
        if view and is_foreign(context, view.holder):
            return _foreign(view)
        desired = keep_history(wanted, view)
        if desired.met_by(view):
            continue
        lock = new or await before.lock()
        if lock is None or lock.digest != record.digest:
            # Damaged by hand between two looks: the next pass makes it anew.
            return Outcome.failed(Reason.PUBLISHING, "the lock in service can't be read")
        if desired.immutable and (view is None or desired.must_be_replaced(view)):
            old = await before.lock() if new else None
            summary = summarize(diff(old, lock), SUMMARY_LIMIT) if new else ""
            desired = config_maps(entry, place, record, summary=summary)[0]
        if view and view.holder != entry.key:
            # First: nothing leads to them once the ConfigMap is ours, and our runs would have them.
            await remove_credentials(context, view)
        if view and desired.must_be_replaced(view):
            await delete(context, view)
        store.put_config_map(await context.cluster.apply_config_map(desired.body(lock.render())))
        if view and view.holder != entry.key:
            context.queue.add(view.holder)  # it serves here no longer
    return None


async def _look(context: Context, desired: Desired) -> ConfigMapView | Outcome | None:
    """What has the name of a ConfigMap that no list brought, as where a pool's template alone says
    that its jobs run: one of ours, a problem, or nothing."""
    body = await context.cluster.get_config_map(desired.namespace, desired.name)
    if body is None:
        return None
    labels = body["metadata"].get("labels") or {}
    if not is_managed(labels):
        return Outcome.failed(
            Reason.NAME_TAKEN,
            f"ConfigMap {desired.namespace}/{desired.name} exists and is not flowdeps';"
            " delete it, or choose another key",
        )
    context.store.put_config_map(body)
    return context.store.config_maps.get((desired.namespace, desired.name))


def _foreign(view: ConfigMapView) -> Outcome:
    return Outcome.failed(
        Reason.NAME_TAKEN,
        f"ConfigMap {view.namespace}/{view.name} is of the set {view.holder}, which another"
        " operator serves; choose another key in spec.workPools, or delete it if none does any"
        " more",
    )


def _refused(error: ClusterError, place: Location) -> Outcome:
    if error.status == 404:
        return Outcome.failed(
            Reason.NAMESPACE_NOT_FOUND,
            f'namespace "{place.namespace}" does not exist; create it, or change'
            " where the pool runs its jobs",
        )
    if error.status == 403:
        return Outcome.failed(Reason.FORBIDDEN, str(error))
    if error.status == 0:
        raise error
    where = f"{place.namespace}/{place.current}"
    return Outcome.failed(Reason.PUBLISHING, f"ConfigMap {where} can't be written: {error}")


def _parse(text: str, record: LockRecord) -> Lock | None:
    try:
        lock = parse_lock(text)
    except LockError:
        return None
    return lock if lock.digest == record.digest else None
