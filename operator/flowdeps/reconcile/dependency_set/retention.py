"""Step: deletes what a set no longer needs: locations that it left, revisions beyond its history.

A run may name a revision where it would name a key (`dependency_set: ml-3f9a1c20de`), for the
ConfigMap of a revision has the shape of the live one. So one that the job variables of a
deployment or a pool name stays, however old it is.

A run may also have been rendered from a template before it was changed: what a set has left stays
for a while, and as long as pods that mount it have not ended, or ended a moment ago, for their Job
may start another. It is left when a pool's jobs run elsewhere, when the set leaves a pool, and
where an earlier version named things otherwise.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from flowdeps.api import rules
from flowdeps.api.names import REVISION_LABEL, SET_LABEL, choice_of, mounted_name
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import Updates
from flowdeps.api.times import parse_time
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.progress import Progress
from flowdeps.reconcile.dependency_set.publish import delete_with_credentials
from flowdeps.state.config_maps import is_written_for_a_set, obsolete
from flowdeps.state.locations import Location, primary_location
from flowdeps.state.records import revisions_of
from flowdeps.state.store import Body, ConfigMapView, SetEntry

log = logging.getLogger(__name__)

GRACE = 900.0
"""Seconds that what a set has left stays at least, and after a pod that mounts it has ended: a Job
starts another within six minutes."""
_TELL_AGAIN = 5.0
_AGAIN = 300.0
"""How often it is checked whether what is in use still is."""

_AT_ONCE = 50
"""Choices in one selector: it is a part of a URL."""

Where = tuple[str, str]


async def prune(context: Context, progress: Progress) -> Outcome:
    """Delete the ConfigMaps that are not wanted any more.

    Waits while one of the set's pools was not seen: what is there may be for it. A location
    that a template still offers is left for a later reconcile.
    """
    entry, spec, record = progress.entry, progress.entry.spec, progress.record
    states = [context.pool_states.get(ref.name) for ref in entry.pool_refs]
    if spec is None or record is None or not all(state and state.looked for state in states):
        return Outcome.waits(Reason.PENDING, "waits until it is known what is wanted")
    home, views = primary_location(entry.key), context.store.held(entry.key)
    if all(view.manifest.get("digest") != record.digest for view in views if _is_live(home, view)):
        return Outcome.waits(Reason.PENDING, "waits until the lock is published")
    wanted = [*context.claims.locations(entry), *_offered(context, entry, views)]
    # Others may have the labels: what is not where the set belongs must be ours by all it says.
    views = [v for v in views if any(one.has(v) for one in wanted) or is_written_for_a_set(v)]
    victims = obsolete(
        wanted,
        views,
        serving=record.short,
        limit=spec.revision_history_limit,
        proposals=1 if spec.updates is Updates.MANUAL else 0,
    )
    now, since = context.queue.time(), context.left.get(entry.key, {})
    history = {_where(view) for location in wanted for view in revisions_of(location, views)}
    left = {w: since.get(w, now) for w in map(_where, victims) if w not in history}
    context.left[entry.key] = left
    used = set(await _in_use(context, entry, victims))
    told = _tell(context, entry, [v for v in victims if _where(v) in history - used])
    refused: list[ClusterError] = []
    for view in victims:
        where = _where(view)
        if view.manifest.get("digest") in told:
            continue
        if where in used or now < left.get(where, now - GRACE) + GRACE:
            continue
        try:
            await delete_with_credentials(context, view)
        except ClusterError as error:  # what may not be deleted keeps nothing else
            if error.is_passing:
                raise
            refused.append(error)
            continue
        if left.pop(where, None) is not None:  # it may be in the way of another set's own
            context.requeue_competitors(choice_of(view.name), but=entry.key)
    if refused:
        raise refused[0]
    if told:
        text = "waits until no run is told of an environment that goes"
        return Outcome.waits(Reason.PENDING, text, retry_after=_TELL_AGAIN)
    if not left:
        context.left.pop(entry.key)
        return Outcome.done(Reason.PUBLISHED)
    pause = min(_AGAIN if w in used else max(1.0, t + GRACE - now) for w, t in left.items())
    return Outcome.waits(Reason.PENDING, "runs may mount what it has left", retry_after=pause)


def _tell(context: Context, entry: SetEntry, views: Sequence[ConfigMapView]) -> Collection[str]:
    """Return the locks that are about to go and whose environments runs are still told of.

    Lines go before what they are made from. One that can't be taken out is not waited for for ever.
    """
    deliveries, now = context.deliveries, context.queue.time()
    going = {str(view.manifest.get("digest")) for view in views}
    since = deliveries.going.get(entry.key, {})
    deliveries.going[entry.key] = {lock: since.get(lock, now) for lock in going}
    if not going:
        del deliveries.going[entry.key]
    waited = {lock for lock in going if now - since.get(lock, now) >= GRACE}
    return {lock for lock in going - waited if deliveries.serves(entry.key, lock)}


def _offered(
    context: Context, entry: SetEntry, views: Sequence[ConfigMapView]
) -> Iterator[Location]:
    """The locations of a set that templates still offer to runs."""
    keys = {view.key for view in views}
    for name, state in context.pool_states.items():
        pool = context.store.pools.get(name)
        for key in keys:
            if state.offered.get(key) == entry.key:
                for namespace in pool.job_namespaces if pool else ():
                    yield Location(namespace, key, state.mounts)


async def _in_use(
    context: Context, entry: SetEntry, victims: Sequence[ConfigMapView]
) -> Collection[Where]:
    """Those of `victims` that runs name or mount; all where that can't be found out."""
    if not victims:
        return ()
    used: set[Where] = set()
    choices: set[str] = set()
    home = {_where(view) for view in revisions_of(primary_location(entry.key), victims)}
    revisions = [view for view in victims if REVISION_LABEL in view.labels]
    try:
        for ref in context.admitted(entry) if revisions else ():
            if context.config.pool(ref.name).labels:
                continue  # what its pods have does not go with a ConfigMap
            chosen = await context.pools.chosen(ref.name, context.config.pool(ref.name).variable)
            names = {mounted_name(choice, pool=ref.name) for choice in chosen}
            used |= {_where(view) for view in revisions if view.name in names}
            choices |= chosen
    except PoolsError as error:
        log.info("%s: old revisions stay, as nobody knows who names them: %s", entry.key, error)
        used |= set(map(_where, revisions))
    belongs = {location.namespace for location in context.claims.locations(entry)}
    for namespace in sorted({view.namespace for view in victims}):
        here = [view for view in victims if view.namespace == namespace]
        try:
            for pod in await _pods(context, namespace, here):
                used |= set(_mounted(pod))
                # Whoever starts pods elsewhere can say there what they like.
                choices |= {pod["metadata"]["labels"][SET_LABEL]} if namespace in belongs else set()
        except ClusterError as error:
            text = "%s: what is left in %s stays, as its pods are not known: %s"
            log.info(text, entry.key, namespace, error)
            used |= set(map(_where, here))
    # The set's own revision stays as long as a copy of it does: the status lists what there is.
    return used | {where for where in home if choice_of(where[1]) in choices}


async def _pods(context: Context, namespace: str, views: Sequence[ConfigMapView]) -> list[Body]:
    """The pods of a namespace that may still mount what one of these is chosen by."""
    choices = sorted({one for view in views if _is_choice(one := choice_of(view.name))})
    found: list[Body] = []
    for start in range(0, len(choices), _AT_ONCE):
        selector = f"{SET_LABEL} in ({', '.join(choices[start : start + _AT_ONCE])})"
        found += await context.cluster.list_pods(namespaces=[namespace], selector=selector)
    return [pod for pod in found if _may_need(pod, now=context.now())]


def _is_live(home: Location, view: ConfigMapView) -> bool:
    return (view.namespace, view.name) == (home.namespace, home.live_name)


def _is_choice(text: str) -> bool:
    return rules.check_key(text) is None or rules.check_revision(text) is None


def _may_need(pod: Any, *, now: datetime) -> bool:
    """Tell whether a pod, or another of its Job, may still mount what it says."""
    status = pod.get("status") or {}
    if status.get("phase") not in {"Succeeded", "Failed"}:
        return True
    kinds = ("initContainerStatuses", "containerStatuses")
    states = [one.get("state") or {} for kind in kinds for one in status.get(kind) or ()]
    times = [parse_time((one.get("terminated") or {}).get("finishedAt")) for one in states]
    ended = max(filter(None, times), default=None)
    return bool(ended and status["phase"] == "Failed" and (now - ended).total_seconds() < GRACE)


def _mounted(pod: Any) -> Iterator[Where]:
    """The ConfigMaps that a pod mounts."""
    for volume in pod["spec"].get("volumes") or ():
        if name := (volume.get("configMap") or {}).get("name"):
            yield pod["metadata"]["namespace"], name


def _where(view: ConfigMapView) -> Where:
    return view.namespace, view.name
