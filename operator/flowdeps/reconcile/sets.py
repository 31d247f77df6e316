"""One pass over one set: gather → resolve → publish → status.

A pass looks at what is and makes the missing writes; with nothing missing it
writes nothing. It never waits for a resolver or for Prefect: what isn't there
yet is said in the status, and the pass is run again when it is.
"""

import contextlib
from dataclasses import dataclass

from flowdeps.api.conditions import ConditionType, find_condition
from flowdeps.api.reasons import Reason
from flowdeps.api.resource import FINALIZER, WorkPoolRef
from flowdeps.api.status import SetStatus, parse_status
from flowdeps.cluster import ClusterError
from flowdeps.locks.lock import Lock
from flowdeps.plan import LockRecord, home_of, last_record, places
from flowdeps.reconcile.locking import ask, chosen, next_refresh
from flowdeps.reconcile.publish import LockText, prune, publish, taken
from flowdeps.reconcile.removal import remove, sweep
from flowdeps.reconcile.report import STALLED, Findings, Step, build_status
from flowdeps.reconcile.resolutions import Failure
from flowdeps.reconcile.world import Verdict, World
from flowdeps.store import PoolKey, SetEntry, SetKey

_UNDER_WAY = {Reason.PENDING, Reason.RESOLVING, Reason.PUBLISHING, Reason.SYNCING}
"""Ready reasons that pass by themselves; they make no event."""


@dataclass(frozen=True)
class _Signature:
    """All that a pool's template depends on of a set; its pools are called when it changes."""

    offers: tuple[WorkPoolRef, ...]
    requirements: tuple[str, ...]
    published: frozenset[tuple[str, str]]


class SetPasses:
    """Passes over sets; remembers only what each set last told its pools."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._signatures: dict[SetKey, _Signature] = {}

    async def run(self, key: SetKey) -> float | None:
        """Bring one set in line; returns in how many seconds to look again.

        A pass that ends in an error says so in the set's status before it raises.
        """
        try:
            return await self._run(key)
        except ClusterError as error:
            if error.status == 403:
                await self._report_error(key, Reason.FORBIDDEN, str(error))
            raise
        except Exception as error:
            text = f"{type(error).__name__}: a mistake in flowdeps; its log has the details"
            await self._report_error(key, Reason.INTERNAL_ERROR, text)
            raise

    async def _run(self, key: SetKey) -> float | None:
        entry = self._world.store.sets.get(key)
        if entry is None:
            await sweep(self._world, key)
            self._tell_pools(key, None)
            return None
        if entry.meta.deleting:
            self._tell_pools(key, None)
            return await remove(self._world, entry)
        await self._ensure_finalizer(entry)
        findings = await self._examine(entry)
        if findings.record:
            await prune(self._world, entry, findings.record)
        self._tell_pools(key, entry)
        latest = self._world.store.sets.get(key)
        if latest and latest.meta.generation == entry.meta.generation:
            await self._report(latest, findings)
        # Else the spec has changed since we looked: its own pass is queued already.
        return min(findings.again, default=None)

    async def _ensure_finalizer(self, entry: SetEntry) -> None:
        world = self._world
        # A pool's template is outside, even where its jobs run in the set's own namespace.
        outside = len(places(entry, config=world.config, pools=world.store.pools)) > 1 or any(
            ref.name in world.store.pools
            and world.config.pool(ref.name).admits(entry.key.namespace)
            for ref in entry.offers
        )
        if outside and FINALIZER not in entry.meta.finalizers:
            body = await world.cluster.apply_finalizers(
                namespace=entry.key.namespace,
                name=entry.key.name,
                uid=entry.meta.uid,
                finalizers=[FINALIZER],
            )
            world.store.put_set(body)

    async def _examine(self, entry: SetEntry) -> Findings:
        world = self._world
        home, views = home_of(entry.key), world.store.held(entry.key)
        last = last_record(home, views)
        record = last[0] if last else None
        if entry.spec is None:
            invalid = Step(False, Reason.INVALID_SPEC, entry.problems)
            return Findings(resolved=invalid, published=_kept(record), record=record)
        if entry.spec.suspend:
            suspended = Step(False, Reason.SUSPENDED, "spec.suspend is true; nothing is refreshed")
            return Findings(resolved=suspended, published=_kept(record), record=record)
        if record is None and (problem := taken(world, entry, home)):
            # A lock that has no place would be made anew by each pass.
            return Findings(resolved=problem, published=problem)
        serving, said = chosen(entry.spec, last, home=home, views=views)
        record = serving[0] if serving else None
        before = LockText(world, home.namespace, serving)
        answer = said or ask(world, entry, entry.spec, record, before)
        again: list[float] = []
        new: Lock | None = None
        resolved = Step(True, Reason.RESOLVED)
        if isinstance(answer, tuple):
            new, record = answer
        elif isinstance(answer, Failure):
            resolved = Step(False, Reason.named(answer.error.reason), answer.error.message)
            again.append(max(1.0, answer.until - world.queue.time()))
        elif isinstance(answer, Step):
            resolved = answer
            told = parse_status(entry.body).observed_generation == entry.meta.generation
            if answer.reason is Reason.RESOLVING and told:
                # Asked again: until the answer is there, the last one stands.
                resolved = _said_before(entry, ConditionType.RESOLVED) or answer
        if record is None:
            published = Step(False, Reason.PENDING, "waits for a lock")
        else:
            published = await publish(world, entry, record, new=new, before=before)
            if not published.done and published.reason not in STALLED:
                again.append(30.0)
        due = None if said else next_refresh(entry, entry.spec, record)
        if due and due > world.now():  # else it is under way, or has failed for now
            again.append((due - world.now()).total_seconds())
        return Findings(
            resolved=resolved,
            published=published,
            record=record,
            next_refresh=due,
            again=again,
        )

    async def _report_error(self, key: SetKey, reason: Reason, message: str) -> None:
        world = self._world
        entry = world.store.sets.get(key)
        if entry is None or entry.meta.deleting:
            return
        found = last_record(home_of(key), world.store.held(key))
        failed = Step(False, reason, message)
        findings = Findings(
            resolved=failed, published=_kept(found[0] if found else None), record=found and found[0]
        )
        with contextlib.suppress(ClusterError):
            await self._report(entry, findings)

    async def _report(self, entry: SetEntry, findings: Findings) -> None:
        world = self._world
        status = build_status(
            entry,
            findings,
            views=world.store.held(entry.key),
            pools=world.store.pools,
            states=world.pool_states,
            now=world.now(),
        )
        if status.to_dict() == dict(entry.body.get("status") or {}):
            return
        try:
            body = await world.cluster.apply_status(
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
        world.store.put_set(body)
        await self._announce(entry, status)

    async def _announce(self, entry: SetEntry, status: SetStatus) -> None:
        old = parse_status(entry.body)
        was = find_condition(old.conditions, ConditionType.READY)
        ready = find_condition(status.conditions, ConditionType.READY)
        if status.lock and (old.lock is None or old.lock.digest != status.lock.digest):
            newest = next((r for r in status.revisions if r.digest == status.lock.digest), None)
            text = f"{status.lock.revision}: {newest.summary if newest else ''}"
            await self._world.announce(entry, kind="Normal", reason="LockPublished", note=text)
        if ready is None or ready.reason in _UNDER_WAY:
            return
        if was is None or (was.status, was.reason) != (ready.status, ready.reason):
            kind = "Normal" if ready.status == "True" else "Warning"
            await self._world.announce(entry, kind=kind, reason=ready.reason, note=ready.message)

    def _tell_pools(self, key: SetKey, entry: SetEntry | None) -> None:
        """Call the pools that a set offers itself to, or did; None: it goes."""
        known = self._signatures.pop(key, None)
        signature = None
        if entry:
            held = self._world.store.held(key)
            signature = self._signatures[key] = _Signature(
                offers=entry.offers,
                requirements=entry.spec.requirements if entry.spec else (),
                published=frozenset((view.namespace, view.name) for view in held),
            )
        if signature == known:
            return
        both = [*(known.offers if known else ()), *(signature.offers if signature else ())]
        for name in {ref.name for ref in both}:
            self._world.queue.add(PoolKey(name))
            state = self._world.pool_states.get(name)
            if state and known and signature:
                # What the pool said was of the set as it was.
                state.verdicts[key] = Verdict(Reason.SYNCING, "its template is being changed")


def _kept(record: LockRecord | None) -> Step:
    if record:
        return Step(True, Reason.PUBLISHED, f"{record.short} stays in service")
    return Step(False, Reason.PENDING, "no lock was published yet")


def _said_before(entry: SetEntry, type_: ConditionType) -> Step | None:
    condition = find_condition(parse_status(entry.body).conditions, type_)
    if condition is None:
        return None
    return Step(condition.status == "True", Reason.named(condition.reason), condition.message)
