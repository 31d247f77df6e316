"""Which set may publish where: of several that claim a place, the oldest; of several operators
that share a job namespace, whose set was there first."""

from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.reconcile.context import Context
from flowdeps.state import Location, holder_of
from flowdeps.state.store import SetEntry, SetKey


def taken(context: Context, entry: SetEntry, place: Location) -> Outcome | None:
    """Why a set can't publish in a place: an older one serves it; None where it can."""
    store = context.store
    holder = holder_of(place, context.rivals(place.key), config=context.config, pools=store.pools)
    if holder in (None, entry.key):
        return None
    return Outcome.failed(
        Reason.CONFLICT,
        f'the older set {holder} serves the key "{place.key}" in namespace {place.namespace};'
        " choose another key in spec.workPools or another name",
    )


def is_foreign(context: Context, holder: SetKey) -> bool:
    """Whether what is held by a set is another operator's: we don't watch the set's namespace."""
    watched = context.config.watch_namespaces
    return bool(watched) and holder.namespace not in watched
