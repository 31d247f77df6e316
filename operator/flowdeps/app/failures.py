"""Counts runs whose install container failed: what only their own logs say else.

A pod of a run has a label of ours, and the API server tells of each as it fails: the watch begins
with what is now, so pods that failed before are neither sent nor counted again.
"""

import asyncio
import logging
from collections.abc import Iterator

from flowdeps.api.config import Config
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.reconcile.context import Context
from flowdeps.scheduling.clock import Backoff

log = logging.getLogger(__name__)

_REFUSALS = {401, 403, 404, 405}
_REFUSED_AGAIN = 300.0


def scopes(config: Config) -> Iterator[str]:
    """Iterate over the namespaces in which runs are watched; one that is empty: all."""
    if not config.watch_namespaces:
        yield ""
        return
    jobs = {namespace for pool in config.work_pools for namespace in pool.job_namespaces}
    yield from sorted({*config.watch_namespaces, *jobs})


async def count_failed_installs(context: Context, namespace: str) -> None:
    """Count them in a namespace, or in all, without an end."""
    failures, backoff = 0, Backoff(longest=60.0, jitter=context.jitter)
    while True:
        pause, problem = backoff(1), None
        try:
            async for where in context.cluster.failed_installs(namespace):
                failures = 0
                if where:
                    context.metrics.failed_installs.labels(where).inc()
        except ClusterError as error:
            failures, problem = failures + 1, error
            pause = _REFUSED_AGAIN if error.status in _REFUSALS else backoff(failures)
        if problem:
            text = "failed installs of runs in %s are not counted, next try in %.0f s: %s"
            log.info(text, namespace or "all namespaces", pause, problem)
        await asyncio.sleep(pause)
