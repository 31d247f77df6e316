"""The operator's parts, put together: clients, what is looked up, and what reconciles share."""

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from flowdeps import __version__
from flowdeps.api.config import Config
from flowdeps.api.helperconfig import CredentialHelper
from flowdeps.api.reasons import Reason
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.prefect.client import VARIABLES_AT_ONCE, Pools
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.gather.logins import Login
from flowdeps.gather.reader import SourceReader
from flowdeps.gather.sources import IndexToken, PrefectVariable
from flowdeps.gather.tokens import fetch_token
from flowdeps.locks.access import Access
from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.reconcile.context import Context, Key, Refusal, Resolve
from flowdeps.reconcile.dependency_set.populate import named_directories
from flowdeps.reconcile.runs_namespace.deliveries import Mount
from flowdeps.resolver.errors import ResolveError
from flowdeps.resolver.resolve import Resolution, Resolver
from flowdeps.scheduling.clock import Backoff, Clock, Jitter, loop_time
from flowdeps.scheduling.limiter import Limiter
from flowdeps.scheduling.poller import Poller
from flowdeps.scheduling.queue import Queue
from flowdeps.scheduling.single_flight import SingleFlight
from flowdeps.scheduling.tracking import RETRY, Failure
from flowdeps.state.locations import owners_in, owners_of
from flowdeps.state.store import RunsKey, SetKey, Store
from flowdeps.telemetry.metrics import Metrics, measured
from flowdeps.trials.build import Builder
from flowdeps.trials.errors import TrialError
from flowdeps.trials.image import Image, ImageRef
from flowdeps.trials.images import Images
from flowdeps.trials.mount import mount
from flowdeps.trials.populate import Populated, Population, populate
from flowdeps.trials.runner import Runner
from flowdeps.trials.verify import Verifier
from flowdeps.vulnerabilities.load import Advisories

log = logging.getLogger(__name__)

_WORKERS = 16
_READS = 8
"""Sources that are read from the cluster at once. From Prefect as many as are in one request."""
_MOUNTED = 10 * 365 * 86400.0
"""Seconds for which an environment that a pod has mounted needs no other pod."""
_MOUNT_AGAIN = Backoff(first=30.0, longest=3600.0)
"""Pauses until a pod tries again to mount one."""
_KEEP_RESOLUTION = 600.0
"""Seconds that a lock is kept for its trial."""
_KEEP_VERIFICATION = 3600.0
"""Seconds that the result of a trial is kept; it is small. That of a build is as small."""
_BUILDS = 2
"""Builds at once, beside the pods that sets wait for."""
_MOUNTS = 2
"""Pods at once that mount environments: short ones, which wait for no trial."""
_LOGINS = 2
"""Credentials that are tried at once: two short children each."""
_RETRY_LOGIN = Backoff(first=60.0, longest=3600.0)
"""An index that does not answer says nothing of credentials."""
_RETRY_BUILD = Backoff(first=60.0, longest=3600.0)
"""Each try is a pod that installs everything, and nothing waits for it."""


def make_context(
    config: Config,
    *,
    cluster: Cluster,
    pools: Pools,
    resolve: Resolve,
    refusal: Refusal,
    fetch_token: Callable[[CredentialHelper], Awaitable[str]] = fetch_token,
    metrics: Metrics,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    jitter: Jitter = random.random,
) -> Context:
    """Return what reconciles share, for these clients."""
    queue: Queue[Key] = Queue(
        _unset, workers=_WORKERS, group=_group, backoff=Backoff(jitter=jitter)
    )
    # Where one namespace is all that is watched, nothing has to be left for others.
    shared = len(config.watch_namespaces) != 1
    runner = Runner(cluster, limiter=Limiter(config.pods.concurrency, shared))
    store, pods, recheck = Store(), config.pods, config.images.recheck.total_seconds()
    resolving = Limiter(config.resolver.concurrency, shared)
    building = Limiter(_BUILDS, shared)
    mounter = Runner(cluster, limiter=Limiter(_MOUNTS, shared))
    reading, asking = Limiter(_READS), Limiter(VARIABLES_AT_ONCE)
    database = config.vulnerabilities.database
    retry = replace(RETRY, jitter=jitter)
    tracking: Any = {"call": queue.add, "to_failure": to_failure, "backoff": retry, "group": _group}

    def askers(ref: ImageRef) -> list[dict[str, str]]:
        keys = (key for key in looked_at.wanted_by(ref) if isinstance(key, SetKey))
        entries = (store.sets.get(key) for key in keys if key.namespace == ref.namespace)
        return owners_of(filter(None, entries))

    images = Images(
        cluster,
        runner,
        settings=pods,
        recheck=recheck,
        now=now,
        metrics=metrics,
        owners=askers,
    )
    looked_at: Poller[Key, ImageRef, Image, Reason] = Poller(read=images.read, **tracking)

    async def mounted(question: Mount, _known: bool | None) -> tuple[bool, float]:
        await mount(
            mounter,
            pods,
            ref=question.image,
            reference=question.reference,
            pull_secrets=question.pull_secrets,
            owners=owners_in(store, question.image.namespace),
            group=question.group,
        )
        return True, _MOUNTED

    trying, interval = Limiter(_LOGINS, shared), config.credentials_interval.total_seconds()

    async def tried(login: Login, _known: str | None) -> tuple[str, float]:
        return await refusal(login.url, login.package, access=login.access), interval

    async def populated(question: Population, _known: Populated | None) -> tuple[Populated, float]:
        keep = named_directories(store, question.claim.namespace)
        owners = owners_in(store, question.claim.namespace)
        done = await populate(runner, pods, config.environments, question, keep=keep, owners=owners)
        return done, _MOUNTED

    return Context(
        config=config,
        store=store,
        cluster=cluster,
        pools=pools,
        resolve=resolve,
        resolutions=SingleFlight(
            what="a resolution",
            keep=_KEEP_RESOLUTION,
            limiter=lambda _: resolving,
            **tracking,
        ),
        verifier=Verifier(cluster, runner, settings=pods),
        verifications=SingleFlight(what="a verification", keep=_KEEP_VERIFICATION, **tracking),
        # Its pods run as they come: the turns are those of the builds.
        builder=Builder(
            cluster,
            Runner(cluster, limiter=Limiter(_BUILDS, shared=False)),
            settings=pods,
            environments=config.environments,
        ),
        builds=SingleFlight(
            what="a build",
            keep=_KEEP_VERIFICATION,
            limiter=lambda _: building,
            **{**tracking, "backoff": replace(_RETRY_BUILD, jitter=jitter)},
        ),
        sources=Poller(
            read=SourceReader(cluster, pools, fetch=fetch_token, now=now).read,
            # Apart, so that whoever needs nothing of Prefect does not wait for it. The
            # configuration bounds the helpers.
            limiter=lambda ref: {PrefectVariable: asking, IndexToken: None}.get(type(ref), reading),
            **tracking,
        ),
        logins=Poller(
            read=tried,
            limiter=lambda _: trying,
            **{**tracking, "backoff": replace(_RETRY_LOGIN, jitter=jitter)},
        ),
        images=looked_at,
        mounts=Poller(
            read=mounted,
            **{**tracking, "backoff": replace(_MOUNT_AGAIN, jitter=jitter)},
        ),
        populations=Poller(
            read=populated,
            **{**tracking, "backoff": replace(_MOUNT_AGAIN, jitter=jitter)},
        ),
        runner=runner,
        mounter=mounter,
        queue=queue,
        metrics=metrics,
        version=__version__,
        advisories=Advisories(database) if database else None,
        now=now,
        jitter=jitter,
    )


def to_failure(error: Exception, what: str) -> Failure[Reason]:
    """Return the failure that an error means; an unforeseen one is logged with its traceback."""
    match error:
        case TrialError() | ResolveError():
            return Failure(error.reason, error.message, retry=error.retry)
        case ClusterError() if error.is_passing:
            return Failure(Reason.GATHERING, "")
        case ClusterError():
            reason = Reason.FORBIDDEN if error.status == 403 else Reason.GATHERING
            return Failure(reason, str(error))
        case PoolsError():
            return Failure(error.reason, str(error))
    log.warning("%s failed", what, exc_info=error)
    return Failure(Reason.INTERNAL_ERROR, str(error) or type(error).__name__)


def timed(resolver: Resolver, metrics: Metrics, *, clock: Clock = loop_time) -> Resolve:
    """Return a resolver whose work is measured and logged."""

    async def resolve(
        request: LockRequest, *, previous: Lock | None, keep: bool, access: Access | None
    ) -> Resolution:
        start = clock()

        def log_end(outcome: str, text: str) -> None:
            fields = {"outcome": outcome, "seconds": round(clock() - start, 3)}
            log.info("a resolution ends: %s", text, extra=fields)

        log.info("a resolution of %d requirements starts", len(request.requirements))
        try:
            with measured(metrics.resolutions, well="Resolved"):
                made = await resolver.resolve(request, previous=previous, keep=keep, access=access)
        except ResolveError as error:
            log_end(error.reason, str(error.reason))
            raise
        log_end("Resolved", f"{len(made.lock.pins)} packages")
        return made

    return resolve


def _group(key: Key) -> str:
    """Who takes turns: the namespace of a set, or of runs; all pools together, as if they
    had one."""
    return key.namespace if isinstance(key, SetKey | RunsKey) else ""


async def _unset(_key: Key) -> float | None:
    raise NotImplementedError
