"""Which set may publish where: of several that claim a place, the oldest; of several operators
that share a job namespace, whose set was there first."""

from flowdeps.api.reasons import Reason
from flowdeps.reconcile.context import World
from flowdeps.reconcile.dependency_set.status import Step
from flowdeps.state import Place, holder_of
from flowdeps.state.store import SetEntry, SetKey


def taken(world: World, entry: SetEntry, place: Place) -> Step | None:
    """Why a set can't publish in a place: an older one serves it; None where it can."""
    store = world.store
    holder = holder_of(place, world.rivals(place.key), config=world.config, pools=store.pools)
    if holder in (None, entry.key):
        return None
    return Step(
        False,
        Reason.CONFLICT,
        f'the older set {holder} serves the key "{place.key}" in namespace {place.namespace};'
        " choose another key in spec.workPools or another name",
    )


def is_foreign(world: World, holder: SetKey) -> bool:
    """Whether what is held by a set is another operator's: we don't watch the set's namespace."""
    watched = world.config.watch_namespaces
    return bool(watched) and holder.namespace not in watched
