"""Judges the sets of a pool: which of them its template offers, and why not the others. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from flowdeps.api.names import mounted_name
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import WorkPoolRef
from flowdeps.clients.prefect.client import Pool
from flowdeps.delivery.choice import NONE, find
from flowdeps.delivery.kinds import for_type, unsupported
from flowdeps.delivery.kinds.kind import Fragment
from flowdeps.delivery.methods.volume import mounts_claim
from flowdeps.reconcile.context import Context, Verdict
from flowdeps.reconcile.work_pool.runs import Runs
from flowdeps.state.fragments import Signature, keys_beyond, pool_fragment, signature_of
from flowdeps.state.locations import Location
from flowdeps.state.store import SetEntry, SetKey


@dataclass(frozen=True)
class Offer:
    """A set that names a pool, and how."""

    entry: SetEntry
    ref: WorkPoolRef
    signature: Signature


@dataclass(frozen=True)
class Wanted:
    """What a pool should offer: key → set, and what it says of every set."""

    offered: Mapping[str, SetKey]
    fragment: Fragment | None
    verdicts: Mapping[SetKey, Verdict]
    signatures: Mapping[SetKey, Signature]
    """The version of each set that this is about."""
    by_claim: bool = False
    """Whether runs mount environments from a claim."""

    def refused(self, verdict: Verdict) -> Mapping[SetKey, Verdict]:
        """Return the verdicts where none of the sets can be offered."""
        return {key: verdict if one.synced else one for key, one in self.verdicts.items()}


def offers_of(context: Context, name: str) -> list[Offer]:
    """Return the sets that name a pool, oldest first."""
    store = context.store
    entries = [store.sets[key] for key in store.offering(name)]
    offers = [
        Offer(entry, ref, signature_of(entry, context.held(entry)))
        for entry in entries
        if not entry.meta.deleting
        for ref in entry.pool_refs
        if ref.name == name
    ]
    return sorted(offers, key=lambda one: one.signature.age)


def nothing(context: Context, name: str, reason: Reason, message: str) -> Wanted:
    """Return that nothing is offered, and every set has the same verdict."""
    signatures = {one.entry.key: one.signature for one in offers_of(context, name)}
    return Wanted({}, None, dict.fromkeys(signatures, Verdict(reason, message)), signatures)


def judge(context: Context, pool: Pool, runs: Runs | None) -> Wanted:
    """Return what a pool should offer, and what it says of each set that names it."""
    live = find(pool.template)
    settings = context.config.pool(pool.name)
    ours = live is not None and live.owner == context.config.owner
    # Runs mount what this pool's copies are named, and not what an earlier version named them.
    live_keys = set(live.keys) if live and ours and live.pool == pool.name else set()
    verdicts: dict[SetKey, Verdict] = {}
    offered: dict[str, Offer] = {}
    signatures: dict[SetKey, Signature] = {}
    for offer in offers_of(context, pool.name):
        verdict = _verdict(context, offer, pool, live_keys)
        if verdict.reason is not Reason.NOT_ADMITTED:  # then it holds for every version
            signatures[offer.entry.key] = offer.signature
        verdicts[offer.entry.key] = verdict.noting(runs.notes if runs else ())
        if verdict.synced:
            offered[offer.ref.key] = offer
    live_by_claim = bool(live and ours and mounts_claim(live))
    by_claim = context.by_claim(pool.name)
    by_claim = live_by_claim if by_claim is None else by_claim
    if by_claim and settings.claim:
        by_claim = _without_claim(context, offered, verdicts, live_keys, mounted=live_by_claim)
    # Offers come oldest first, and so do the keys of `offered`. What the template has stays.
    live_default = live.default if live and ours else NONE
    beyond = keys_beyond(offered, kept=live.keys if live and ours else ())
    offers = len(offered) - len(beyond)
    for key in beyond:
        verdicts[offered[key].entry.key] = Verdict(
            Reason.POOL_FULL,
            f"the pool offers {offers} keys, and its template has no room for more: use another"
            " work pool, or shorter keys",
        )
    offered = {key: offer for key, offer in offered.items() if key not in beyond}
    asking = [offer for offer in offered.values() if offer.ref.default]
    allowed = [o for o in asking if settings.allows_default(o.entry.key.namespace)]
    first = allowed[0] if allowed else None
    default = next((one for one in allowed if one.ref.key == live_default), first)
    for offer in asking:
        if offer not in allowed:
            text = settings.why_not_default(offer.entry.key.namespace)
            verdicts[offer.entry.key] = Verdict(Reason.DEFAULT_NOT_ALLOWED, text)
        elif default and offer is not default:
            verdicts[offer.entry.key] = Verdict(
                Reason.CONFLICT,
                f"the set {default.entry.key} is the pool's default, as long as it says so; the"
                " key of this set is offered, but runs that choose nothing don't get it: remove"
                " default: true",
            )
    if not offered:
        return Wanted({}, None, verdicts, signatures)
    fragment = pool_fragment(
        {key: offer.signature for key, offer in offered.items()},
        pool=pool.name,
        settings=settings,
        default=default.ref.key if default else NONE,
        index=context.config.index,
        owner=context.config.owner,
        # What `flowdeps template` wrote, and Helm writes again, is in line as it is.
        cluster="" if live and not live.cluster else context.identity,
        version=context.version,
        worker_image=runs.image if runs else None,
        claim=settings.claim if by_claim else "",
    )
    keys = {key: offer.entry.key for key, offer in offered.items()}
    return Wanted(keys, fragment, verdicts, signatures, bool(by_claim))


def _without_claim(
    context: Context,
    offered: dict[str, Offer],
    verdicts: dict[SetKey, Verdict],
    live_keys: set[str],
    *,
    mounted: bool,
) -> bool:
    """Take out the keys whose environment is not on each claim; returns whether runs mount them.

    A template that installs goes on doing so for all keys until those that it offers are there, or
    can't be. One that mounts the claim keeps a key whose copy was damaged by hand: it comes back.
    """
    lacking = [key for key, one in offered.items() if not _is_on_claims(one)]
    reasons = {key: _why_lacking(context, offered[key]) for key in lacking}
    waited_for = {key for key in lacking if not reasons[key].reason.is_stalled}
    if not mounted and waited_for & live_keys:
        return False
    for key in lacking:
        if not (mounted and key in live_keys and key in waited_for):
            verdicts[offered.pop(key).entry.key] = reasons[key]
    return True


def _is_on_claims(offer: Offer) -> bool:
    name = mounted_name(offer.ref.key, pool=offer.ref.name)
    here = [there for _, one, there in offer.signature.published if one == name]
    return bool(here) and all(here)


def _why_lacking(context: Context, offer: Offer) -> Verdict:
    found = context.lacking.get((offer.ref.name, offer.entry.key))
    if found:
        return Verdict(found.reason, found.message)
    return Verdict(Reason.PENDING, "waits for its environment on the claim of its runs")


def admits(context: Context, name: str, entry: SetEntry) -> bool:
    """Tell whether a pool admits a set."""
    return any(ref.name == name for ref in context.admitted(entry))


def _verdict(context: Context, offer: Offer, pool: Pool, live_keys: set[str]) -> Verdict:
    entry, ref = offer.entry, offer.ref
    settings = context.config.pool(pool.name)
    namespaces = context.store.pools[pool.name].job_namespaces
    kind = for_type(pool.type)
    if not admits(context, pool.name, entry) and (settings.namespaces or namespaces):
        text = settings.why_not_admitted(entry.key.namespace, jobs=namespaces)
        return Verdict(Reason.NOT_ADMITTED, text)
    if kind is None:
        return Verdict(Reason.POOL_UNSUPPORTED, unsupported(pool.type))
    if not namespaces:
        return Verdict(Reason.NOT_MERGEABLE, kind.unlocated)
    if entry.spec is None and not context.held(entry):
        return Verdict(Reason.PENDING, "waits for a lock")  # others may serve its key
    if conflict := context.conflict(entry, Location(namespaces[0], ref.key, pool.name)):
        return Verdict(Reason.CONFLICT, conflict.message)

    def has(location: str, name: str) -> bool:
        view = context.store.config_maps.get((location, name))
        return view is not None and view.holder == entry.key

    # What was deleted by hand is on its way back; its key stays meanwhile.
    missing = kind.missing(pool.name, ref.key, namespaces, has)
    if missing and ref.key not in live_keys:
        return Verdict(Reason.PENDING, f"waits for {missing}")
    return Verdict(Reason.SYNCED)
