"""Which set may publish where: of several that claim a place, the oldest."""

from flowdeps.api.reasons import Reason
from flowdeps.plan import Place, holder_of
from flowdeps.reconcile.report import Step
from flowdeps.reconcile.world import World
from flowdeps.store import SetEntry


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
