"""Step: everything that a set's lock is made from, looked up in the store and by the pollers."""

from collections.abc import Mapping
from dataclasses import dataclass

from flowdeps.api.config import Config
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import SetSpec, Updates
from flowdeps.gather.inputs import gather, gather_access, known_access
from flowdeps.gather.sources import Absent, Content, SourceRef, Unreadable
from flowdeps.locks.access import Access
from flowdeps.locks.index import Index
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.progress import Progress
from flowdeps.scheduling.tracking import Failure
from flowdeps.state.store import PoolView, SetEntry, SetKey
from flowdeps.trials.image import Image, ImageRef


async def gather_inputs(context: Context, progress: Progress) -> Outcome:
    """Collect the inputs of a set; waits for those that are being read."""
    entry, spec = progress.entry, progress.entry.spec
    lookup = OperatorLookup(context, entry)
    if progress.rests:
        context.withdraw(entry.key, but_access=spec is not None)
        if spec:
            _keep_access(progress, gather_access(lookup, spec))
    if not progress.selected.is_done or spec is None:
        return progress.selected
    if progress.pinned and spec.updates is Updates.AUTOMATIC:
        # No other lock will be made, but runs install this one.
        found = gather_access(lookup, spec)
        if isinstance(found, Outcome):
            return found
        progress.index, progress.access = found
    else:
        inputs = gather(lookup, spec)
        if isinstance(inputs, Outcome):
            _keep_access(progress, known_access(lookup, spec))
            return inputs
        progress.inputs, progress.index, progress.access = inputs, inputs.index, inputs.access
    return progress.selected


def _keep_access(progress: Progress, found: tuple[Index, Access | None] | Outcome) -> None:
    """Note what opens the index of the lock in service: whatever is wrong with the set, its runs
    go on, and a token that they have expires."""
    served = progress.served
    if served and isinstance(found, tuple) and found[0].lock_entry() == served.record.index:
        progress.index, progress.access = found


@dataclass(frozen=True)
class OperatorLookup:
    """The `flowdeps.gather.sources.Lookup` of one set."""

    context: Context
    entry: SetEntry

    @property
    def key(self) -> SetKey:
        return self.entry.key

    @property
    def config(self) -> Config:
        return self.context.config

    def need_sources(self, refs: frozenset[SourceRef]) -> None:
        self.context.sources.need(self.key, refs)

    def source(self, ref: SourceRef) -> Content | Failure[Reason] | None:
        return self.context.sources.get(ref)

    def included(self, name: str) -> SetSpec | Absent | Unreadable:
        found = self.context.store.sets.get(SetKey(self.key.namespace, name))
        if found is None or found.meta.deleting:
            return Absent(
                f"there is no set of that name in namespace {self.key.namespace}; create it or"
                " remove it here"
            )
        return found.spec or Unreadable(found.problems)

    def image_ref(self, spec: SetSpec) -> ImageRef | Outcome | None:
        context = self.context
        unseen = {one.name for one in spec.work_pools} - context.store.pools.keys()
        for pool in unseen:
            state = context.pool_states.get(pool)
            if state is None or self.key not in state.verdicts:
                return Outcome.waits(Reason.PENDING, "waits until the work pool was read")
        seen = _with_images(context, self.entry)
        name = spec.python.image or (seen[0].image if seen else None)
        if name is None:
            if unseen:
                text = "waits until the work pool was read, for its image"
                return Outcome.waits(Reason.PENDING, text)
            return None
        return named_image(context, self.entry, name)

    def need_image(self, ref: ImageRef | None) -> None:
        self.context.images.need(self.key, frozenset({ref} if ref else ()))

    def image(self, ref: ImageRef) -> Image | Failure[Reason] | None:
        return self.context.images.get(ref)

    def pools(self) -> Mapping[str, PoolView]:
        pools = self.context.store.pools
        return {ref.name: pools[ref.name] for ref in self.context.admitted(self.entry)}


def named_image(context: Context, entry: SetEntry, name: str) -> ImageRef:
    """Return an image as the runs of a set get it: as its pools that have it say, or one of them
    that has another."""
    seen = _with_images(context, entry)
    like = next((view for view in seen if view.image == name), seen[0] if seen else None)
    if like is None:
        return ImageRef(entry.key.namespace, name)
    policy = like.pull_policy if like.image == name else None
    return ImageRef(entry.key.namespace, name, policy, like.user)


def _with_images(context: Context, entry: SetEntry) -> list[PoolView]:
    """The pools of a set that have an image; what a pool names comes first."""
    pools = (context.store.pools[ref.name] for ref in context.admitted(entry))
    return sorted((one for one in pools if one.image), key=lambda view: view.by_worker)
