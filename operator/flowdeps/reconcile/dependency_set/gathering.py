"""Step: everything that a set's lock is made from."""

from flowdeps.api.outcome import Outcome
from flowdeps.api.resource import Updates
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.inputs import access, gather
from flowdeps.reconcile.dependency_set.progress import Progress
from flowdeps.reconcile.dependency_set.status import GatherError


async def gather_inputs(context: Context, progress: Progress) -> Outcome:
    """Collect the inputs of a set; waits for those that are being read."""
    entry, spec = progress.entry, progress.entry.spec
    if progress.rests:
        context.forget(entry.key)
    if not progress.selected.is_done or spec is None:
        return progress.selected
    try:
        if progress.pinned and spec.updates is Updates.AUTOMATIC:
            # No other lock will be made, but runs install this one.
            progress.access = access(context, entry, spec)
        else:
            progress.inputs = gather(context, entry, spec)
            progress.access = progress.inputs.access
    except GatherError as error:
        return error.step
    return progress.selected
