"""Step: keeps a set until what it has added elsewhere was removed; and that removal.

Templates come first, so that no run can choose a lock that is about to go; the finalizer goes last.
Where a pool can't be reached, or a ConfigMap may not be deleted, the set does not stay for ever:
after a while it goes, and says so. What is left of it goes when that is possible: the poll finds a
key in our fragment that no set has, and a set that is gone is tried again as long as it has a
ConfigMap.
"""

from contextlib import suppress

from flowdeps.api.events import Event
from flowdeps.api.names import FINALIZER
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.progress import Progress
from flowdeps.reconcile.dependency_set.publish import delete_with_credentials
from flowdeps.state.config_maps import is_written_for_a_set
from flowdeps.state.locations import primary_location
from flowdeps.state.store import PoolKey, SetEntry, SetKey

GIVE_UP = 600.0
"""Seconds that a pool out of reach, or a refusal, may hold up a deletion."""
_RETRY_SECONDS = 5.0


async def add_finalizer(context: Context, progress: Progress) -> Outcome:
    """Add the finalizer before anything is written outside of the set's namespace."""
    entry = progress.entry
    # A pool's template is outside, even where its jobs run in the set's own namespace.
    outside = len(context.claims.locations(entry)) > 1 or context.admitted(entry)
    if outside and FINALIZER not in entry.meta.finalizers:
        body = await context.cluster.apply_finalizers(
            namespace=entry.key.namespace,
            name=entry.key.name,
            uid=entry.meta.uid,
            finalizers=[FINALIZER],
        )
        context.store.put_set(body)
    return Outcome.done(Reason.READY)


async def remove(context: Context, entry: SetEntry) -> float | None:
    """Reconcile a set that is being deleted; returns in how many seconds to do so again.

    Raises ClusterError where something may not be deleted, and there is time left.
    """
    if FINALIZER not in entry.meta.finalizers:
        return None
    # Not since its deletion: an operator that was away has not tried yet.
    since = context.removing.setdefault(entry.key, context.queue.time())
    late = context.queue.time() - since >= GIVE_UP
    given_up = []
    if waiting := _still_offered(context, entry):
        for name in waiting:
            context.queue.add(PoolKey(name))
        if not late:
            return _RETRY_SECONDS
        given_up.append(
            f"could not take the set out of {', '.join(waiting)} within {GIVE_UP / 60:.0f} minutes;"
            " its key is removed when Prefect answers, and takes a template, again"
        )
    if not late and context.deliveries.serves(entry.key):
        return _RETRY_SECONDS  # first no run is told of an environment of it
    try:
        await delete_all(context, entry.key)
    except ClusterError as error:
        if error.is_passing or not late:
            raise
        given_up.append(f"{error}, for {GIVE_UP / 60:.0f} minutes; it goes when that is allowed")
    for note in given_up:
        event = Event.CLEANUP_GIVEN_UP
        await context.post_event(entry, kind=event.kind, reason=event, note=note)
    await _warn(context, entry)
    try:
        await context.cluster.apply_finalizers(
            namespace=entry.key.namespace,
            name=entry.key.name,
            uid=entry.meta.uid,
            finalizers=[],
        )
    except ClusterError as error:
        if error.status != 404:
            raise
    context.removing.pop(entry.key, None)
    context.metrics.cleanups.labels("GivenUp" if given_up else "Done").inc()
    return None


async def delete_all(context: Context, key: SetKey) -> None:
    """Delete every ConfigMap of a set that is gone or going; one that may not be deleted keeps no
    other."""
    refused: list[ClusterError] = []
    entry = context.store.sets.get(key)
    known = context.held(entry) if entry else []
    for view in context.store.held(key):
        if not (view in known or primary_location(key).has(view) or is_written_for_a_set(view)):
            continue
        try:
            await delete_with_credentials(context, view)
        except ClusterError as error:
            if error.is_passing:
                raise
            text = f"ConfigMap {view.namespace}/{view.name} can't be deleted: {error}"
            refused.append(ClusterError(error.status, error.reason, text))
    if refused:
        raise refused[0]


async def _warn(context: Context, entry: SetEntry) -> None:
    """Post which of the set's keys deployments still choose, and no other set has."""
    others = [
        context.store.sets[key] for ref in entry.pool_refs for key in context.store.rivals(ref.key)
    ]
    left = {
        (ref.name, ref.key)
        for other in others
        if not other.meta.deleting
        for ref in other.pool_refs
    }
    for ref in context.admitted(entry):
        if (ref.name, ref.key) in left or context.config.pool(ref.name).labels:
            continue
        with suppress(PoolsError):  # it goes all the same
            chosen = await context.pools.chosen(ref.name, context.config.pool(ref.name).variable)
            if ref.key in chosen:
                note = (
                    f'deployments of work pool {ref.name} still choose "{ref.key}", which is gone:'
                    " their next runs are refused until they choose another set or none"
                )
                event = Event.KEY_IN_USE
                await context.post_event(entry, kind=event.kind, reason=event, note=note)


def _still_offered(context: Context, entry: SetEntry) -> list[str]:
    """The pools whose templates have the set, or were not seen."""
    states = context.pool_states
    seen = {name for name, state in states.items() if state.looked}
    offering = {n for n, state in states.items() if entry.key in state.offered.values()}
    return sorted(({ref.name for ref in entry.pool_refs} - seen) | offering)
