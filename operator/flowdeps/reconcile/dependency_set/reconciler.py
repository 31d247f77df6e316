"""Brings one set in line, step by step.

A reconcile compares what is with what should be and makes the writes that are missing; with nothing
missing it writes nothing. It never waits for a resolver, a pod or Prefect: what isn't there yet is
reported in the status, and the set is requeued when it is. It remembers nothing.

Each step is a coroutine `step(context, progress) -> Outcome` in a file of its own. It reads what
the steps before it have found, and adds what it finds itself.
"""

from contextlib import suppress

from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.build import build, built_before
from flowdeps.reconcile.dependency_set.credentials import publish_credentials
from flowdeps.reconcile.dependency_set.finalizer import add_finalizer, delete_all, remove
from flowdeps.reconcile.dependency_set.gathering import gather_inputs
from flowdeps.reconcile.dependency_set.lock import resolve, schedule_refresh
from flowdeps.reconcile.dependency_set.login import try_credentials
from flowdeps.reconcile.dependency_set.notify import requeue_former_pools, requeue_pools
from flowdeps.reconcile.dependency_set.populate import populate
from flowdeps.reconcile.dependency_set.progress import Progress, kept, verified_before
from flowdeps.reconcile.dependency_set.publish import publish
from flowdeps.reconcile.dependency_set.report import report
from flowdeps.reconcile.dependency_set.retention import prune
from flowdeps.reconcile.dependency_set.selection import select_lock
from flowdeps.reconcile.dependency_set.verify import verify
from flowdeps.reconcile.dependency_set.vulnerable import check_vulnerabilities
from flowdeps.reconcile.runs_namespace.offering import offer_lines
from flowdeps.state.records import lock_in_service
from flowdeps.state.store import SetEntry, SetKey


class SetReconciler:
    """Reconciles sets."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: SetKey) -> float | None:
        """Bring one set in line; returns in how many seconds to do so again.

        A reconcile that ends in an error reports it in the set's status before it raises. That the
        API server is out of reach or has too much to do is no news of the set: reporting it would
        be one more write, and one more when it is over.
        """
        try:
            return await self._reconcile(key)
        except ClusterError as error:
            if not (error.is_passing or error.status == 409):  # 409: another set by now
                reason = Reason.FORBIDDEN if error.status == 403 else Reason.PUBLISHING
                await self._report_error(key, reason, str(error))
            raise
        except Exception as error:
            text = f"{type(error).__name__}: a mistake in flowdeps; its log has the details"
            await self._report_error(key, Reason.INTERNAL_ERROR, text)
            raise
        finally:
            offer_lines(self._context, key)

    async def _reconcile(self, key: SetKey) -> float | None:
        context, entry = self._context, self._context.store.sets.get(key)
        if entry is None or not entry.meta.deleting:
            context.removing.pop(key, None)  # somebody took the finalizer out
        if entry is None:
            context.forget(key)
            if not context.is_foreign(key):
                await delete_all(context, key)
            requeue_former_pools(context, key)
            return None
        if entry.meta.deleting:
            context.forget(key)
            requeue_former_pools(context, key)
            return await remove(context, entry)
        return await self._steps(entry)

    async def _steps(self, entry: SetEntry) -> float | None:
        context, progress = self._context, Progress(entry=entry)
        # Before anything is outside of the set's namespace.
        await add_finalizer(context, progress)
        # Which lock is it without a new one?                    → served, pinned
        progress.selected = await select_lock(context, progress)
        # What is a lock made from?                              → inputs, access
        progress.gathered = await gather_inputs(context, progress)
        # Is another lock needed? served, inputs                 → made
        progress.resolved = await resolve(context, progress)
        # Does it work? served, inputs, made                     → record, text, proposal
        progress.verified = await verify(context, progress)
        # Is it there ready to be mounted? record, text        → environment
        progress.built = await build(context, progress)
        # Is it where runs mount it from a claim? environment → populated, kept_back
        progress.on_claims = await populate(context, progress)
        # What do runs need to install it? record, access
        progress.authorized = await publish_credentials(context, progress)
        try:
            # Where runs look for it: record, text, proposal
            progress.published = await publish(context, progress)
            if not progress.authorized.is_done:  # copies have their ConfigMaps by now
                progress.authorized = await publish_credentials(context, progress)
            # Do the indexes take what runs have? record, index, access
            progress.accepted = await try_credentials(context, progress)
            # What is known against it? record                   → vulnerabilities
            progress.checked = await check_vulnerabilities(context, progress)
            # When may it change by itself? record               → next_refresh
            progress.scheduled = await schedule_refresh(context, progress)
            progress.pruned = await prune(context, progress)
        finally:
            await requeue_pools(context, progress)
        progress.reported = await report(context, progress)
        return progress.retry_after

    async def _report_error(self, key: SetKey, reason: Reason, message: str) -> None:
        context = self._context
        entry = context.store.sets.get(key)
        if entry is None:
            return
        served = lock_in_service(
            entry,
            context.held(entry),
            now=context.now(),
            repository=context.config.environments.repository_of(key.namespace),
        )
        record, failed = served.record if served else None, Outcome.failed(reason, message)
        progress = Progress(
            entry=entry,
            resolved=failed,
            verified=verified_before(record) if record else failed,
            published=kept(record),
            record=record,
            environment=record.environment if record else None,
        )
        progress.built = built_before(progress)
        with suppress(ClusterError):
            await report(context, progress)
