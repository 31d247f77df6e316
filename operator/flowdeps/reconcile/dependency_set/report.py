"""Step: writes the status of a set where it differs, and posts what is new as events."""

import re

from flowdeps.api.conditions import ConditionType, find_condition
from flowdeps.api.events import Event, Kind
from flowdeps.api.names import SLOWER_ANNOTATION, mounted_name
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import WorkPoolRef
from flowdeps.api.status import SetStatus
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.progress import Progress
from flowdeps.reconcile.dependency_set.status import build_status, patience_left
from flowdeps.reconcile.runs_namespace.deliveries import Delivery
from flowdeps.state.store import SetEntry

_SLOW = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")
_SLOW_TIMES = 2.0
_NOTHING_TO_DO = Outcome.done(Reason.READY)


async def report(context: Context, progress: Progress) -> Outcome:
    """Write the status; waits where the set has another spec by now."""
    latest = context.store.sets.get(progress.entry.key)
    if latest is None:
        return _NOTHING_TO_DO
    if latest.spec_id != progress.entry.spec_id:
        # Our own write may have brought it, and then no event requeues the set.
        context.queue.add(latest.key)
        return Outcome.waits(Reason.PENDING, "the spec has changed")
    progress.entry = latest
    status = build_status(
        progress,
        views=context.held(latest),
        namespaces=context.claims.namespaces(latest),
        states=context.pool_states,
        deliveries=_deliveries(context, latest),
        pull_failure=context.deliveries.pull_failure(latest.key),
        now=context.now(),
    )
    again = patience_left(status, now=context.now())
    done = Outcome.done(Reason.READY, retry_after=again)
    written = status.to_dict()
    if written == dict(latest.body.get("status") or {}):
        return done
    try:
        body = await context.cluster.apply_status(
            namespace=latest.key.namespace,
            name=latest.key.name,
            uid=latest.meta.uid,
            status=written,
            resource_version=latest.meta.resource_version,
        )
    except ClusterError as error:
        if error.status in {404, 409}:  # another by now, whose event requeues it
            return _NOTHING_TO_DO
        raise
    context.store.put_set(body)
    await _post_events(context, latest, status)
    return done


def _deliveries(context: Context, entry: SetEntry) -> dict[str, Delivery | None]:
    """How runs of each pool get the packages; nothing where all install, as without environments
    and caches."""
    cached = {
        ref.name: Delivery("Cache")
        for ref in entry.pool_refs
        if context.config.pool(ref.name).delivery == "Cache"
    }
    if not context.config.environments.repository:
        return {ref.name: cached.get(ref.name) for ref in entry.pool_refs} if cached else {}
    return {
        ref.name: cached.get(ref.name) or _delivery(context, entry, ref) for ref in entry.pool_refs
    }


def _delivery(context: Context, entry: SetEntry, ref: WorkPoolRef) -> Delivery | None:
    state, by_claim = context.pool_states.get(ref.name), context.by_claim(ref.name)
    mounts = state.by_claim if state and state.looked else None
    if by_claim is not False and (mounts is None or (mounts and by_claim is None)):
        return None
    if mounts:
        return Delivery("Volume", _why_volume(context, entry, ref))
    if by_claim:
        found = context.lacking.get((ref.name, entry.key))
        why = found.message if found else "another key that it offers is not there"
        return Delivery("Install", f"it does not mount its claim yet: {why}")
    return context.deliveries.of(entry.key, pool=ref.name, choice=ref.key)


def _why_volume(context: Context, entry: SetEntry, ref: WorkPoolRef) -> str:
    """Why runs mount a claim and nothing better, and what is bad about it; empty where nothing."""
    name, found = mounted_name(ref.key, pool=ref.name), context.deliveries
    texts = []
    if context.config.pool(ref.name).delivery == "Auto":
        texts += [found.admission or found.nodes or ""]
    for view in context.held(entry):
        times = view.annotations.get(SLOWER_ANNOTATION, "") if view.name == name else ""
        if _SLOW.fullmatch(times) and float(times) > _SLOW_TIMES:
            texts += [
                f"reading its modules from the claim in {view.namespace} takes {times} times as"
                " long as from a local disk, so imports are slow"
            ]
    return "; ".join(filter(None, texts))


async def _post_events(context: Context, entry: SetEntry, status: SetStatus) -> None:
    async def post(kind: Kind, reason: str, note: str) -> None:
        await context.post_event(entry, kind=kind, reason=reason, note=note)

    old = entry.status
    if status.lock and (old.lock is None or old.lock.digest != status.lock.digest):
        newest = next((r for r in status.revisions if r.digest == status.lock.digest), None)
        text = f"{status.lock.revision}: {newest.summary if newest else ''}"
        await post(Event.LOCK_PUBLISHED.kind, Event.LOCK_PUBLISHED, text)
    proposed = status.proposed
    if proposed and (old.proposed is None or old.proposed.digest != proposed.digest):
        text = f"{proposed.revision}: {proposed.summary}; approve it with spec.revision"
        await post(Event.REVISION_PROPOSED.kind, Event.REVISION_PROPOSED, text)
    known = find_condition(old.conditions, ConditionType.VULNERABLE)
    vulnerable = find_condition(status.conditions, ConditionType.VULNERABLE)
    if vulnerable and vulnerable.status == "True" and vulnerable != known:
        await post("Warning", vulnerable.reason, vulnerable.message)
    known = find_condition(old.conditions, ConditionType.BUILT)
    built = find_condition(status.conditions, ConditionType.BUILT)
    failed = built and built.status == "False" and not built.is_under_way
    if built and failed and (known is None or known.reason != built.reason):
        await post("Warning", built.reason, built.message)
    was = find_condition(old.conditions, ConditionType.READY)
    ready = find_condition(status.conditions, ConditionType.READY)
    if ready is None or ready.is_under_way:
        return
    if was is None or (was.status, was.reason) != (ready.status, ready.reason):
        kind: Kind = "Normal" if ready.status == "True" else "Warning"
        await post(kind, ready.reason, ready.message)
