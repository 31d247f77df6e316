"""One pass over one set: gather → resolve → publish → status.

A pass looks at what is and makes the missing writes; with nothing missing it
writes nothing. It never waits for a resolver or for Prefect: what isn't there
yet is said in the status, and the pass is run again when it is.
"""

import contextlib
from dataclasses import dataclass, replace

from flowdeps.api.conditions import ConditionType, find_condition
from flowdeps.api.events import Event, Kind
from flowdeps.api.names import FINALIZER, REVISION_LABEL
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.resource import OnVulnerable, SetSpec, Updates, WorkPoolRef
from flowdeps.api.status import SetStatus, parse_status
from flowdeps.clients.kubernetes import ClusterError
from flowdeps.reconcile.claims import is_foreign, taken
from flowdeps.reconcile.context import Context, Verdict
from flowdeps.reconcile.dependency_set.credentials import publish_credentials
from flowdeps.reconcile.dependency_set.lock import next_refresh
from flowdeps.reconcile.dependency_set.lock_attempt import LockAttempt, make, verified_before
from flowdeps.reconcile.dependency_set.publish import LockText, propose, publish
from flowdeps.reconcile.dependency_set.removal import remove, sweep
from flowdeps.reconcile.dependency_set.retention import prune
from flowdeps.reconcile.dependency_set.status import (
    ReconcileResult,
    build_status,
    retry_after,
)
from flowdeps.state import LockRecord, asked, last_record, places, primary_location
from flowdeps.state.store import PoolKey, SetEntry, SetKey
from flowdeps.vulnerabilities.matches import Vulnerability

_SECRETS_AGAIN = 600.0
"""Seconds until the Secrets of a set are looked at again: no watch and no list tells of them."""


@dataclass(frozen=True)
class _Signature:
    """All that a pool's template depends on of a set; its pools are called when it changes."""

    offers: tuple[WorkPoolRef, ...]
    requirements: tuple[str, ...]
    published: frozenset[tuple[str, str]]


class SetReconciler:
    """Passes over sets; remembers only what each set last told its pools."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._signatures: dict[SetKey, _Signature] = {}

    async def run(self, key: SetKey) -> float | None:
        """Bring one set in line; returns in how many seconds to look again.

        A pass that ends in an error says so in the set's status before it raises.
        """
        try:
            return await self._run(key)
        except ClusterError as error:
            if error.status not in {0, 409}:  # neither out of reach, nor another set by now
                reason = Reason.FORBIDDEN if error.status == 403 else Reason.PUBLISHING
                await self._report_error(key, reason, str(error))
            raise
        except Exception as error:
            text = f"{type(error).__name__}: a mistake in flowdeps; its log has the details"
            await self._report_error(key, Reason.INTERNAL_ERROR, text)
            raise

    async def _run(self, key: SetKey) -> float | None:
        entry = self._context.store.sets.get(key)
        if entry is None or not entry.meta.deleting:
            self._context.removing.pop(key, None)  # somebody took the finalizer out
        if entry is None:
            self._context.forget(key)
            if not is_foreign(self._context, key):
                await sweep(self._context, key)
            self._tell_pools(key, None)
            return None
        if entry.meta.deleting:
            self._tell_pools(key, None)
            return await remove(self._context, entry)
        await self._ensure_finalizer(entry)
        findings = await self._examine(entry)
        try:
            if findings.record:
                await prune(self._context, entry, findings.record)
        finally:
            self._tell_pools(key, entry)
        latest = self._context.store.sets.get(key)
        if latest and _spec_of(latest) == _spec_of(entry):
            await self._report(latest, findings)
        elif latest:  # our own write may have brought it, and then no event calls the set
            self._context.queue.add(key)
        return min(findings.again, default=None)

    async def _ensure_finalizer(self, entry: SetEntry) -> None:
        context = self._context
        # A pool's template is outside, even where its jobs run in the set's own namespace.
        outside = len(places(entry, config=context.config, pools=context.store.pools)) > 1 or any(
            ref.name in context.store.pools
            and context.config.pool(ref.name).admits(entry.key.namespace)
            for ref in entry.offers
        )
        if outside and FINALIZER not in entry.meta.finalizers:
            body = await context.cluster.apply_finalizers(
                namespace=entry.key.namespace,
                name=entry.key.name,
                uid=entry.meta.uid,
                finalizers=[FINALIZER],
            )
            context.store.put_set(body)

    async def _examine(self, entry: SetEntry) -> ReconcileResult:
        context = self._context
        home, views = primary_location(entry.key), context.store.held(entry.key)
        last = last_record(entry, views, now=context.now())
        record = last[0] if last else None
        if entry.spec is None:
            return await self._keep(
                entry, Outcome.failed(Reason.INVALID_SPEC, entry.problems), last
            )
        if record is None and (problem := taken(context, entry, home)):
            # A lock that has no place would be made anew by each pass.
            context.forget(entry.key)
            return ReconcileResult(resolved=problem, verified=problem, published=problem)
        if entry.spec.suspend:
            suspended = Outcome.failed(
                Reason.SUSPENDED, "spec.suspend is true; nothing is refreshed"
            )
            return await self._keep(entry, suspended, last)
        making = make(context, entry, entry.spec, last=last, views=views)
        secrets_wait = False
        if making.access_known and (making.record or making.resolved.is_done):
            secrets_wait = await publish_credentials(context, entry, making.access)
            making.record = making.record and replace(
                making.record, credentials=making.access is not None
            )
        record = making.record
        if record is None:
            published = Outcome.waits(Reason.PENDING, "waits for a lock")
        else:
            if made := making.proposal:
                await propose(context, entry, made.record, lock=made.lock, before=making.before)
            published = await publish(context, entry, record, new=making.new, before=making.before)
            if secrets_wait:
                await publish_credentials(context, entry, making.access)
        return await self._findings(entry, entry.spec, making, published)

    async def _findings(
        self, entry: SetEntry, spec: SetSpec, making: LockAttempt, published: Outcome
    ) -> ReconcileResult:
        context, record, again = self._context, making.record, making.again
        if record:
            again += self._once_more(entry, published)
        if making.access:
            again.append(_SECRETS_AGAIN)
        due = next_refresh(entry, spec, record)
        if making.pinned and spec.updates is Updates.AUTOMATIC:
            due = None
        if due and due > context.now():  # else it is under way, or has failed for now
            again.append((due - context.now()).total_seconds())
        problem = None
        if context.advisories and context.advisories.problem:
            problem = Outcome.failed(Reason.DATABASE_UNAVAILABLE, context.advisories.problem)
        elif context.advisories is None and spec.vulnerabilities is OnVulnerable.BLOCK:
            text = "spec.vulnerabilities is Block, but the operator has no database: it knows of"
            text += " none, and holds nothing back"
            problem = Outcome.failed(Reason.VULNERABILITIES_UNKNOWN, text)
        return ReconcileResult(
            resolved=making.resolved,
            verified=making.verified,
            published=published,
            record=record,
            image=making.inputs.image if making.inputs else None,
            vulnerabilities=await self._vulnerabilities(making),
            database_problem=problem,
            next_refresh=due,
            again=again,
        )

    async def _vulnerabilities(self, making: LockAttempt) -> tuple[Vulnerability, ...] | None:
        """What is known against the lock in service; None where nothing can be said."""
        context = self._context
        if (
            making.record is None
            or context.advisories is None
            or context.advisories.current is None
        ):
            return None
        known = context.vulnerabilities.get(making.record.digest)
        if known and known[0] == context.advisories.version:
            return known[1]
        lock = making.new or await making.before.lock()
        return context.vulnerable(lock) if lock else None

    async def _keep(
        self, entry: SetEntry, why: Outcome, last: tuple[LockRecord, str] | None
    ) -> ReconcileResult:
        """Keep in service what a set has, though `why` keeps it from more."""
        self._context.forget(entry.key)
        verified = Outcome.waits(Reason.PENDING, "waits for a lock")
        if last is None:
            return ReconcileResult(resolved=why, verified=verified, published=_kept(None))
        context, record = self._context, last[0]
        before = LockText(context, primary_location(entry.key).namespace, last)
        published = await publish(context, entry, record, new=None, before=before)
        return ReconcileResult(
            resolved=why,
            verified=verified_before(record),
            published=_kept(record) if published.is_done else published,
            record=record,
            again=self._once_more(entry, published),
        )

    def _once_more(self, entry: SetEntry, published: Outcome) -> list[float]:
        """When to try again to publish what was refused."""
        if published.is_done or published.reason.is_stalled:
            return []
        return [retry_after(entry, ConditionType.PUBLISHED, now=self._context.now())]

    async def _report_error(self, key: SetKey, reason: Reason, message: str) -> None:
        context = self._context
        entry = context.store.sets.get(key)
        if entry is None:
            return
        found = last_record(entry, context.store.held(key), now=context.now())
        failed = Outcome.failed(reason, message)
        record = found[0] if found else None
        findings = ReconcileResult(
            resolved=failed,
            verified=verified_before(record) if record else failed,
            published=_kept(record),
            record=record,
        )
        with contextlib.suppress(ClusterError):
            await self._report(entry, findings)

    async def _report(self, entry: SetEntry, findings: ReconcileResult) -> None:
        context = self._context
        status = build_status(
            entry,
            findings,
            views=context.store.held(entry.key),
            pools=context.store.pools,
            states=context.pool_states,
            now=context.now(),
        )
        if status.to_dict() == dict(entry.body.get("status") or {}):
            return
        try:
            body = await context.cluster.apply_status(
                namespace=entry.key.namespace,
                name=entry.key.name,
                uid=entry.meta.uid,
                status=status.to_dict(),
                resource_version=entry.meta.resource_version,
            )
        except ClusterError as error:
            if error.status in {404, 409}:  # another by now: what tells the store calls the set
                return
            raise
        context.store.put_set(body)
        await self._announce(entry, status)

    async def _announce(self, entry: SetEntry, status: SetStatus) -> None:
        old = parse_status(entry.body)
        was = find_condition(old.conditions, ConditionType.READY)
        ready = find_condition(status.conditions, ConditionType.READY)
        if status.lock and (old.lock is None or old.lock.digest != status.lock.digest):
            newest = next((r for r in status.revisions if r.digest == status.lock.digest), None)
            text = f"{status.lock.revision}: {newest.summary if newest else ''}"
            await self._context.announce(entry, Event.LOCK_PUBLISHED, text)
        proposed = status.proposed
        if proposed and (old.proposed is None or old.proposed.digest != proposed.digest):
            text = f"{proposed.revision}: {proposed.summary}; approve it with spec.revision"
            await self._context.announce(entry, Event.REVISION_PROPOSED, text)
        known = find_condition(old.conditions, ConditionType.VULNERABLE)
        vulnerable = find_condition(status.conditions, ConditionType.VULNERABLE)
        if vulnerable and vulnerable.status == "True" and vulnerable != known:
            await self._context.announce_condition(entry, vulnerable, "Warning")
        if ready is None or ready.is_under_way:
            return
        if was is None or (was.status, was.reason) != (ready.status, ready.reason):
            kind: Kind = "Normal" if ready.status == "True" else "Warning"
            await self._context.announce_condition(entry, ready, kind)

    def _tell_pools(self, key: SetKey, entry: SetEntry | None) -> None:
        """Call the pools that a set offers itself to, or did; None: it goes."""
        known = self._signatures.pop(key, None)
        signature = None
        if entry:
            held = self._context.store.held(key)
            signature = self._signatures[key] = _Signature(
                offers=entry.offers,
                requirements=asked(entry.spec) if entry.spec else (),
                # What pools offer is the current one: a revision more or less is nothing to them.
                published=frozenset(
                    (view.namespace, view.name)
                    for view in held
                    if REVISION_LABEL not in view.labels
                ),
            )
        if signature == known:
            return
        both = [*(known.offers if known else ()), *(signature.offers if signature else ())]
        for name in {ref.name for ref in both}:
            self._context.queue.add(PoolKey(name))
            state = self._context.pool_states.get(name)
            if state and known and signature:
                # What the pool said was of the set as it was.
                state.verdicts[key] = Verdict(Reason.SYNCING, "its template is being changed")


def _spec_of(entry: SetEntry) -> tuple[str, int]:
    """Names a spec: the generation alone says nothing of a set that was made anew."""
    return entry.meta.uid, entry.meta.generation


def _kept(record: LockRecord | None) -> Outcome:
    if record:
        return Outcome.done(Reason.PUBLISHED, f"{record.short} stays in service")
    return Outcome.waits(Reason.PENDING, "no lock was published yet")
