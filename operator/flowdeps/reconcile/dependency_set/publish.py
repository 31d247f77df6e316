"""Step: makes the ConfigMaps of a lock what they should be.

The order of writes is what makes a kill between any two of them harmless: home before copies, in
each location the revision before the live one. Deletions come last, in a step of their own. What
was not reached is found missing by the next reconcile.
"""

from dataclasses import replace

from flowdeps.api.conditions import ConditionType
from flowdeps.api.names import (
    PROPOSED_ANNOTATION,
    REVISION_LABEL,
    SUMMARY_ANNOTATION,
    choice_of,
    is_managed,
    revision_choice,
)
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.locks.diff import diff, summarize
from flowdeps.locks.lock import Lock
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.credentials import (
    clear_of_others,
    may_have_credentials,
    remove_credentials,
)
from flowdeps.reconcile.dependency_set.progress import NO_LOCK, NewLock, Progress, kept
from flowdeps.state.config_maps import SUMMARY_LIMIT, Desired, config_maps, keep_history
from flowdeps.state.locations import Location, primary_location
from flowdeps.state.records import LockRecord, record_in
from flowdeps.state.reported import previous_condition, retry_after
from flowdeps.state.store import LOCK_FILE, ConfigMapView, SetEntry, view_config_map


async def publish(context: Context, progress: Progress) -> Outcome:
    """Write what is missing of the ConfigMaps of a set's lock, and of its proposal.

    Raises ClusterError where the API server is out of reach or has too much to do. That may be
    about one namespace, so it is tried in one more before.
    """
    entry, record = progress.entry, progress.record
    if record is None:
        if progress.selected.reason is Reason.CONFLICT:
            return progress.selected
        return kept(None) if progress.rests else NO_LOCK
    record = replace(record, environment=progress.environment)
    if progress.proposal:
        await _propose(context, progress, progress.proposal)
    problems: list[Outcome] = []
    passing: ClusterError | None = None
    for location in context.claims.locations(entry):
        problem = _kept_back(context, progress, location, record)
        if problem is None:
            try:
                problem = await _publish_anew(context, progress, location, record)
            except ClusterError as error:
                if not error.is_passing:
                    problem = _refused(error, location)
                elif passing or not (location.pool and error.status):
                    raise
                else:
                    passing = error
        if problem:
            problems.append(problem)
        if problem and not location.pool:
            break  # no copy may be of a lock that the set itself doesn't have
    if passing:
        raise passing
    if problems and problems[0].reason.is_stalled:
        return problems[0]
    if problems and problems[0] in progress.kept_back.values():
        return problems[0]
    if problems:
        again = retry_after(entry, ConditionType.PUBLISHED, now=context.now())
        return replace(problems[0], retry_after=again)
    before = previous_condition(entry, ConditionType.PUBLISHED)
    seen = all(ref.name in context.pool_states for ref in entry.pool_refs)
    if before and not before.is_done and not seen:
        return before  # it may be about a location that is not known yet
    if progress.rests:
        return kept(record)
    live = primary_location(entry.key).live_name
    return Outcome.done(Reason.PUBLISHED, f"{live} holds {record.short}")


def _kept_back(
    context: Context, progress: Progress, location: Location, record: LockRecord
) -> Outcome | None:
    """Why a lock may not be published in a location; None: it may."""
    entry = progress.entry
    if record.credentials and not may_have_credentials(context, entry, location):
        text = context.config.pool(location.pool).why_no_credentials(job=location.namespace)
        return Outcome.failed(
            Reason.CREDENTIALS_NOT_ALLOWED, f'work pool "{location.pool}": {text}'
        )
    return context.conflict(entry, location) or progress.kept_back.get(location)


async def delete_with_credentials(context: Context, view: ConfigMapView) -> None:
    """Delete one of our ConfigMaps, and before it the Secret beside it, if that is of its set."""
    async with context.turn(view.namespace, view.name):
        await remove_credentials(context, view)
        await delete(context, view)


async def delete(context: Context, view: ConfigMapView, *, tries: int = 3) -> None:
    """Delete one of our ConfigMaps and forget it, unless another set has taken it over by now.

    Raises a conflict (409) where somebody changes it each time before it can be deleted.
    """
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
        if tries <= 1:
            text = "somebody changes it all the time; have them stop"
            raise ClusterError(409, "Conflict", text)
        await delete(context, now, tries=tries - 1)


async def _propose(context: Context, progress: Progress, made: NewLock) -> None:
    """Write a lock as a revision that waits for an approval, at home only.

    Before the refresh that found it is written down as met: a kill between the two repeats it.
    """
    summary = await _summary(context, progress, made.lock)
    home = primary_location(progress.entry.key)
    desired, _ = config_maps(progress.entry, home, made.record, summary=summary, proposed=True)
    view = await _look(context, desired)
    if not isinstance(view, Outcome):
        await _apply(context, desired, made.lock.render(), view)


async def _publish_anew(
    context: Context, progress: Progress, location: Location, record: LockRecord
) -> Outcome | None:
    """Publish in a location, and once more if what was there has changed meanwhile."""
    try:
        return await _publish_at(context, progress, location, record)
    except ClusterError as error:
        if error.status != 409:
            raise
    return await _publish_at(context, progress, location, record)


async def _publish_at(
    context: Context, progress: Progress, location: Location, record: LockRecord
) -> Outcome | None:
    entry, mounted = progress.entry, progress.populated.get(location)
    for wanted in config_maps(
        entry,
        location,
        record,
        directory=mounted.directory if mounted else "",
        slower=f"{mounted.slower:.1f}" if mounted and mounted.slower else "",
    ):
        view = await _look(context, wanted)
        if isinstance(view, Outcome):
            return view
        other = view is not None and view.holder != entry.key
        if other and (conflict := context.conflict(entry, location)):
            # It came meanwhile, or no list has brought it, and it says whose the place is.
            context.requeue_competitors(location.key, but=entry.key)
            return conflict
        if view and context.is_foreign(view.holder):
            return Outcome.failed(
                Reason.NAME_TAKEN,
                f"ConfigMap {view.namespace}/{view.name} is of the set {view.holder}, which another"
                " operator serves; choose another key in spec.workPools, or delete it if none does"
                " any more",
            )
        desired = keep_history(wanted, view)
        if desired.met_by(view):
            continue
        lock = progress.text or await progress.served_text(context.cluster)
        if lock is None or lock.digest != record.digest:
            # Damaged by hand a moment ago: the next reconcile makes it again.
            return Outcome.failed(Reason.PUBLISHING, "the lock in service can't be read")
        if desired.immutable and (view is None or desired.must_be_replaced(view)):
            summary = await _summary_at(context, progress, location, record)
            desired = desired.with_summary(summary)
        if view is None and location.pool and not desired.immutable:
            await _take_along(context, entry, location)
        async with context.turn(desired.namespace, desired.name):
            if view is None or view.holder != entry.key:
                # The former set writes none meanwhile, as it is our turn, nor after.
                await clear_of_others(context, entry, desired.namespace, desired.name)
            await _apply(context, desired, lock.render(), view)
        if view and view.holder != entry.key:
            context.queue.add(view.holder)  # it serves here no longer
    return None


async def _take_along(context: Context, entry: SetEntry, location: Location) -> None:
    """Copy a key's revisions to a new location from what they were named in its namespace.

    Runs may name them, and an earlier version named them without the pool.
    """
    for view in context.store.held(entry.key):  # also those that are where it no longer belongs
        record, named = record_in(view), view.labels.get(REVISION_LABEL)
        if record is None or named != record.short or view.namespace != location.namespace:
            continue
        if choice_of(view.name) != revision_choice(location.key, named):
            continue
        there = (location.namespace, location.revision(named)) in context.store.config_maps
        if there or PROPOSED_ANNOTATION in view.annotations:
            continue
        summary = view.annotations.get(SUMMARY_ANNOTATION, "")
        desired, _ = config_maps(entry, location, record, summary=summary)
        if await _look(context, desired) is not None:
            continue
        body = await context.cluster.get_config_map(view.namespace, view.name)
        found = view_config_map(body) if body else view
        if body and found.intact and found.manifest == view.manifest:
            await _apply(context, desired, body["data"][LOCK_FILE], None)


async def _apply(context: Context, desired: Desired, text: str, view: ConfigMapView | None) -> None:
    """Write a ConfigMap in place of what was looked at; raises a conflict (409) where that is not
    there any more, which is looked at anew then."""
    if view and desired.must_be_replaced(view):
        await delete(context, view)
        view = None
    try:
        body = await context.cluster.apply_config_map(desired.body(text, instead_of=view))
    except ClusterError as error:
        # Another version, no object, or one that was made anew.
        if view and error.status in {404, 409, 422}:
            context.store.remove_config_map(view.namespace, view.name, view.uid)
            raise ClusterError(409, error.reason, str(error)) from None
        raise
    context.store.put_config_map(body)


async def _summary_at(
    context: Context, progress: Progress, location: Location, record: LockRecord
) -> str:
    """What a revision changes: copies say what it says at home, where it was written first.

    Once the live ConfigMap holds the new lock, the one before can't be read any more.
    """
    home = primary_location(progress.entry.key)
    at_home = context.store.config_maps.get((home.namespace, home.revision(record.short)))
    if location != home and at_home:
        return at_home.annotations.get(SUMMARY_ANNOTATION, "")
    return await _summary(context, progress, progress.text) if progress.text else ""


async def _summary(context: Context, progress: Progress, lock: Lock) -> str:
    """What a new lock changes, in a line."""
    return summarize(diff(await progress.served_text(context.cluster), lock), SUMMARY_LIMIT)


async def _look(context: Context, desired: Desired) -> ConfigMapView | Outcome | None:
    """What has the name of a ConfigMap: one of ours, a problem, or nothing.

    The cluster is asked where no list brought one, as where a pool's template alone says that its
    jobs run.
    """
    if view := context.store.config_maps.get((desired.namespace, desired.name)):
        return view
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


def _refused(error: ClusterError, location: Location) -> Outcome:
    if error.status == 404:
        return Outcome.failed(
            Reason.NAMESPACE_NOT_FOUND,
            f'namespace "{location.namespace}" does not exist; create it, or change'
            " where the pool runs its jobs",
        )
    if error.status == 403:
        return Outcome.failed(Reason.FORBIDDEN, str(error))
    where = f"{location.namespace}/{location.live_name}"
    return Outcome.failed(Reason.PUBLISHING, f"ConfigMap {where} can't be written: {error}")
