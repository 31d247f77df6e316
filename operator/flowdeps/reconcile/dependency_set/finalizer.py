"""Step: keeps a set until what is outside of its namespace was removed."""

from flowdeps.api.names import FINALIZER
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.progress import Progress


async def add_finalizer(context: Context, progress: Progress) -> Outcome:
    """Add the finalizer before anything is written outside of the set's namespace."""
    entry, pools = progress.entry, context.store.pools
    # A pool's template is outside, even where its jobs run in the set's own namespace.
    outside = len(context.claims.locations(entry)) > 1 or any(
        ref.name in pools and context.config.pool(ref.name).admits(entry.key.namespace)
        for ref in entry.pool_refs
    )
    if outside and FINALIZER not in entry.meta.finalizers:
        body = await context.cluster.apply_finalizers(
            namespace=entry.key.namespace,
            name=entry.key.name,
            uid=entry.meta.uid,
            finalizers=[FINALIZER],
        )
        context.store.put_set(body)
    return Outcome.done(Reason.READY)
