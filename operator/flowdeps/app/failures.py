"""Counts runs whose install container failed: what only their own logs say else.

Of one that its node ended for lack of memory or disk not even its log tells. Its set has an event.

A pod of a run has a label of ours, and the API server tells of each as it fails: the watch begins
with what is now, so pods that failed before are neither sent nor counted again.
"""

import asyncio
import logging
from collections.abc import Sequence

from flowdeps.api.config import Config
from flowdeps.api.events import Event
from flowdeps.app.listing import served_namespaces
from flowdeps.clients.kubernetes.client import FailedInstall
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.locks.size import human
from flowdeps.reconcile.context import Context
from flowdeps.scheduling.clock import Backoff
from flowdeps.state.store import SetKey

log = logging.getLogger(__name__)

_REFUSALS = {401, 403, 404, 405}
_REFUSED_AGAIN = 300.0
_TOLD_AGAIN = 600.0
_MEMORY = (
    "give it more by install.resources of the pool in the operator's configuration; by default it"
    " has the resources of the flow's container"
)
_DISK = (
    "give it more by install.sizeLimit, and ephemeral-storage in install.resources, of the pool in"
    " the operator's configuration, or nodes with more"
)


def scopes(config: Config) -> Sequence[str]:
    """Return the namespaces in which runs are watched; one that is empty: all."""
    return sorted(served_namespaces(config)) or [""]


async def count_failed_installs(context: Context, namespace: str) -> None:
    """Count them in a namespace, or in all, without an end."""
    failures, backoff = 0, Backoff(longest=60.0, jitter=context.jitter)
    told: dict[SetKey, float] = {}
    while True:
        pause, problem = backoff(1), None
        try:
            async for run in context.cluster.failed_installs(namespace):
                failures = 0
                if run:
                    context.metrics.failed_installs.labels(run.namespace).inc()
                if run and run.killed:
                    await _tell(context, run, told)
        except ClusterError as error:
            failures, problem = failures + 1, error
            pause = _REFUSED_AGAIN if error.status in _REFUSALS else backoff(failures)
        if problem:
            text = "failed installs of runs in %s are not counted, next try in %.0f s: %s"
            log.info(text, namespace or "all namespaces", pause, problem)
        await asyncio.sleep(pause)


async def _tell(context: Context, run: FailedInstall, told: dict[SetKey, float]) -> None:
    """Post an event about a run whose install container was killed to the set that it has."""
    view = context.store.config_maps.get((run.namespace, run.lock))
    entry = context.store.sets.get(view.holder) if view else None
    if view is None or entry is None or view not in context.held(entry):
        return
    now = context.queue.time()
    if now - told.get(entry.key, -_TOLD_AGAIN) < _TOLD_AGAIN:
        return  # whoever may create pods could have any number of them end so
    told[entry.key] = now
    where, advice = f"{run.namespace}/{run.pod}", _DISK if "disk" in run.killed else _MEMORY
    size = entry.status.lock.installed_size if entry.status.lock else 0
    large = f"; the set takes {human(size)} once it is installed" if size else ""
    await context.post_event(
        entry,
        kind=Event.INSTALL_KILLED.kind,
        reason=Event.INSTALL_KILLED,
        note=f"pod {where}: flowdeps-install had too little {run.killed}: {advice}{large}",
    )
