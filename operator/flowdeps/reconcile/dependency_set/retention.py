"""Step: deletes what a set no longer needs: locations that it left, revisions beyond its history.

A run may name a revision where it would name a key (`dependency_set: ml-3f9a1c20de`), for the
ConfigMap of a revision has the shape of the live one. So one that the job variables of a
deployment or a pool name stays, however old it is.
"""

import logging
from collections.abc import Collection, Sequence

from flowdeps.api.names import REVISION_LABEL, SET_LABEL, choice_of
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import Updates
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.credentials import remove_credentials
from flowdeps.reconcile.dependency_set.progress import Progress
from flowdeps.reconcile.dependency_set.publish import delete
from flowdeps.state.config_maps import obsolete
from flowdeps.state.locations import Location
from flowdeps.state.store import ConfigMapView, SetEntry

log = logging.getLogger(__name__)


async def prune(context: Context, progress: Progress) -> Outcome:
    """Delete the ConfigMaps that are not wanted any more.

    Waits while one of the set's pools was not seen: what is there may be for it. A location
    that a template still offers is left for a later reconcile.
    """
    entry, spec, record = progress.entry, progress.entry.spec, progress.record
    states = [context.pool_states.get(ref.name) for ref in entry.pool_refs]
    if spec is None or record is None or not all(state and state.looked for state in states):
        return Outcome.waits(Reason.PENDING, "waits until it is known what is wanted")
    wanted = [*context.claims.locations(entry)]
    views = context.store.held(entry.key)
    keys = {
        choice_of(view.name).removesuffix(f"-{view.labels.get(REVISION_LABEL, '')}")
        for view in views
    }
    for name, state in context.pool_states.items():
        pool = context.store.pools.get(name)
        wanted += [
            Location(namespace, key)
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
    used = await _in_use(context, entry, victims)
    for view in victims:
        if choice_of(view.name) not in used or REVISION_LABEL not in view.labels:
            await remove_credentials(context, view)
            await delete(context, view)
    return Outcome.done(Reason.PUBLISHED)


async def _in_use(
    context: Context, entry: SetEntry, victims: Sequence[ConfigMapView]
) -> Collection[str]:
    """The revisions among `victims` that somebody names; all where that can't be found out."""
    revisions = {choice_of(view.name) for view in victims if REVISION_LABEL in view.labels}
    if not revisions:
        return ()
    used: set[str] = set()
    try:
        for ref in entry.pool_refs:
            variable = context.config.pool(ref.name).variable
            used |= await context.pools.chosen(ref.name, variable)
        selector = f"{SET_LABEL} in ({', '.join(sorted(revisions))})"
        namespaces = sorted({view.namespace for view in victims})
        for pod in await context.cluster.list_pods(namespaces=namespaces, selector=selector):
            if (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
                used.add(pod["metadata"]["labels"][SET_LABEL])
    except (PoolsError, ClusterError) as error:
        log.info("%s: old revisions are kept, as nobody knows who uses them: %s", entry.key, error)
        return revisions
    return used
