"""Step: requeues the pools whose templates depend on what has become of a set."""

from collections.abc import Collection

from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.progress import Progress
from flowdeps.state.fragments import signature_of
from flowdeps.state.store import PoolKey, SetKey


async def requeue_pools(context: Context, progress: Progress) -> Outcome:
    """Requeue the pools that merged another version of the set, or none, and those it has left."""
    entry = progress.entry
    signature = signature_of(entry, context.held(entry))
    names = {ref.name for ref in entry.pool_refs}
    for name in sorted(names):
        state = context.pool_states.get(name)
        verdict = state.verdict(entry.key, signature) if state else None
        if verdict is None or verdict.reason is Reason.SYNCING:
            context.queue.add(PoolKey(name))
    requeue_former_pools(context, entry.key, but=names)
    return Outcome.done(Reason.READY)


def requeue_former_pools(context: Context, key: SetKey, *, but: Collection[str] = ()) -> None:
    """Requeue the pools that have a verdict on a set, for it names them no longer, or goes."""
    context.requeue(
        PoolKey(name)
        for name, state in context.pool_states.items()
        if key in state.verdicts and name not in but
    )
