"""The operator's parts, put together: clients, what finds things out, and what passes share."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from flowdeps import __version__
from flowdeps.api.config import Config
from flowdeps.clients.kubernetes import Cluster
from flowdeps.clients.prefect.client import Pools
from flowdeps.gather import sources
from flowdeps.gather.sources import Sources
from flowdeps.locks.access import Access
from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.reconcile.context import Context, Key, Resolve
from flowdeps.resolver import Resolution, ResolveError, Resolver
from flowdeps.scheduling.poller import Poller
from flowdeps.scheduling.queue import Queue
from flowdeps.scheduling.single_flight import FindingError, SingleFlight
from flowdeps.state.store import Store
from flowdeps.telemetry.metrics import Metrics, measured
from flowdeps.trials.images import Images
from flowdeps.trials.pods import PodSettings
from flowdeps.trials.runner import Runner
from flowdeps.trials.verify import Verifier
from flowdeps.vulnerabilities import Advisories

log = logging.getLogger(__name__)

_WORKERS = 16
_IMAGES = 64
"""Images that are read at once: most are kept, and how many pods there are is the runner's."""
_KEEP_RESOLUTION = 600.0
_KEEP_VERIFICATION = 3600.0
"""Seconds that answers are kept: a lock waits for its trial, and a trial's result is small."""


def make_context(
    config: Config,
    *,
    cluster: Cluster,
    pools: Pools,
    resolve: Resolve,
    metrics: Metrics,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Context:
    """What passes share, for these clients."""
    queue: Queue[Key] = Queue(_unset, workers=_WORKERS)
    runner = Runner(cluster, at_once=config.pods.concurrency)
    settings = PodSettings(
        resources=config.pods.resources,
        node_selector=config.pods.node_selector,
        tolerations=config.pods.tolerations,
        image_pull_secrets=config.pods.image_pull_secrets,
        labels=config.pods.labels,
        annotations=config.pods.annotations,
    )
    recheck = config.images.recheck.total_seconds()
    images = Images(cluster, runner, settings=settings, recheck=recheck, now=now, metrics=metrics)
    database = config.vulnerabilities.database
    return Context(
        config=config,
        store=Store(),
        cluster=cluster,
        pools=pools,
        resolve=resolve,
        resolutions=SingleFlight(
            queue.add, what="a resolution", explain=_explain, keep=_KEEP_RESOLUTION
        ),
        verifier=Verifier(cluster, runner, settings=settings),
        verifications=SingleFlight(
            queue.add, what="a verification", explain=_explain, keep=_KEEP_VERIFICATION
        ),
        sources=Poller(Sources(cluster, pools).read, queue.add, explain=sources.explain),
        images=Poller(images.read, queue.add, explain=sources.explain, at_once=_IMAGES),
        runner=runner,
        queue=queue,
        metrics=metrics,
        version=__version__,
        advisories=Advisories(database) if database else None,
        now=now,
    )


def timed(resolver: Resolver, metrics: Metrics) -> Resolve:
    """A resolver whose time is measured, and whose work is in the log."""

    async def resolve(
        request: LockRequest, *, previous: Lock | None, keep: bool, access: Access | None
    ) -> Resolution:
        clock = asyncio.get_running_loop().time
        start = clock()

        def tell(outcome: str, text: str) -> None:
            told = {"outcome": outcome, "seconds": round(clock() - start, 3)}
            log.info("a resolution ends: %s", text, extra=told)

        log.info("a resolution of %d requirements starts", len(request.requirements))
        try:
            with measured(metrics.resolutions, well="Resolved"):
                made = await resolver.resolve(request, previous=previous, keep=keep, access=access)
        except ResolveError as error:
            tell(error.reason, str(error.reason))
            raise
        tell("Resolved", f"{len(made.lock.pins)} packages")
        return made

    return resolve


def _explain(error: Exception) -> FindingError | None:
    if isinstance(error, ResolveError):
        return FindingError(error.message, reason=error.reason, retry=error.retry)
    return sources.explain(error)


async def _unset(_key: Key) -> float | None:
    raise NotImplementedError
