"""Step: everything that a set's lock is made from."""

from flowdeps.api.outcome import Outcome
from flowdeps.api.spec import Updates
from flowdeps.gather.inputs import gather, gather_access
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.inputs import OperatorLookup
from flowdeps.reconcile.dependency_set.progress import Progress


async def gather_inputs(context: Context, progress: Progress) -> Outcome:
    """Collect the inputs of a set; waits for those that are being read."""
    entry, spec = progress.entry, progress.entry.spec
    if progress.rests:
        context.forget(entry.key)
    if not progress.selected.is_done or spec is None:
        return progress.selected
    lookup = OperatorLookup(context, entry)
    if progress.pinned and spec.updates is Updates.AUTOMATIC:
        # No other lock will be made, but runs install this one.
        access = gather_access(lookup, spec)
        if isinstance(access, Outcome):
            return access
        progress.access = access
    else:
        inputs = gather(lookup, spec)
        if isinstance(inputs, Outcome):
            return inputs
        progress.inputs, progress.access = inputs, inputs.access
    return progress.selected
