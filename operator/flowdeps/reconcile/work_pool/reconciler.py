"""One pass over one pool: a single desired fragment from all its sets, merged in.

There is one pass over a pool at a time (the queue sees to that), so there is one writer.
When it writes, `pace` decides. A template is compared by content: Prefect's `updated` moves
without a change, and some of its databases lose the order of keys.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowdeps.api.reasons import Reason
from flowdeps.api.resource import WorkPoolRef
from flowdeps.clients.prefect.client import Pool, PoolsError
from flowdeps.delivery import (
    NONE,
    Found,
    Fragment,
    MergeRefusedError,
    default_image,
    find,
    job_namespace,
    merge,
    pull_policy,
    remove,
    user,
)
from flowdeps.reconcile.context import Context, PoolState, Verdict
from flowdeps.reconcile.work_pool.write_throttle import WriteThrottle
from flowdeps.state import Location, age, holder_of, pool_fragment
from flowdeps.state.store import PoolKey, PoolView, SetEntry, SetKey

log = logging.getLogger(__name__)

KUBERNETES = "kubernetes"

_REFUSALS = {"NoImage": Reason.NO_IMAGE, "NotKubernetes": Reason.POOL_UNSUPPORTED}


@dataclass(frozen=True)
class _Offer:
    """A set that offers itself to a pool."""

    entry: SetEntry
    ref: WorkPoolRef


@dataclass(frozen=True)
class _Wanted:
    """What a pool should offer: key → set, and what it says of every set."""

    offered: Mapping[str, SetKey]
    fragment: Fragment | None
    verdicts: Mapping[SetKey, Verdict]


class PoolReconciler:
    """Passes over pools; remembers each pool's pace."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._paces: dict[str, WriteThrottle] = {}
        self._seen: dict[str, str] = {}

    async def run(self, name: str) -> float | None:
        """Bring one pool in line; returns in how many seconds to look again.

        A pass that ends in an error tells the pool's sets before it raises.
        """
        try:
            return await self._run(name)
        except PoolsError as error:
            self.unreachable(name, error)
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {Reason.INTERNAL_ERROR.description}"
            state = self._context.pool_states.setdefault(name, PoolState())
            self._tell(name, state, self._all(name, Reason.INTERNAL_ERROR, text))
            raise

    async def _run(self, name: str) -> float | None:
        context = self._context
        pace = self._paces.setdefault(name, WriteThrottle(context.jitter))
        sets = context.store.offering(name)
        if wait := pace.wait(context.queue.time(), lambda: any(map(context.working_on, sets))):
            return wait
        pool = await context.pools.read(name)
        state = context.pool_states.setdefault(name, PoolState())
        if self._view(name, pool):
            # Locks belong elsewhere now, or are for another image, and others may serve there: the
            # sets come first, then this pool again.
            for offer in self._offers(name):
                context.requeue_competitors(offer.ref.key, but=PoolKey(name))
        if pool is None:
            self._settle(name, state, _Wanted({}, None, self._all(name, Reason.POOL_NOT_FOUND)))
            return None
        live = find(pool.template)
        wanted = self._wanted(pool, live)
        try:
            template = self._desired(pool, wanted.fragment)
        except MergeRefusedError as refusal:
            reason = _REFUSALS.get(refusal.reason, Reason.NOT_MERGEABLE)
            refused = Verdict(reason, str(refusal))
            verdicts = {k: refused if v.synced else v for k, v in wanted.verdicts.items()}
            self._settle(name, state, _Wanted(self._left(pool), None, verdicts))
            return None
        if template == pool.template:
            again = pace.settled(context.queue.time(), wanted.fragment)
            self._seen[name] = _hash(pool.template)
            self._settle(name, state, _contended(wanted, pace) if pace.contended else wanted)
            return again
        return await self._write(pool, template, pace=pace, state=state, wanted=wanted)

    def unreachable(self, name: str, error: PoolsError) -> None:
        """Tell the sets of a pool that it can't be looked at; the next poll calls it."""
        self._seen.pop(name, None)
        state = self._context.pool_states.setdefault(name, PoolState())
        self._tell(name, state, self._all(name, error.reason, str(error)))

    def ours(self, pool: Pool) -> bool:
        """Whether the fragment in a pool's template, if there is one, is ours to take out.

        An operator of the same owner in another cluster may have written it: that one alone knows
        its sets. What names no cluster (`flowdeps template` wrote it) is ours while our sets are
        concerned.
        """
        context, live = self._context, find(pool.template)
        if live is None or live.owner != context.config.owner:
            return False
        if context.identity and live.cluster:
            return live.cluster == context.identity
        state = context.pool_states.get(pool.name)
        known = context.store.offering(pool.name) or (state and state.offered)
        return bool(known) or not context.identity

    def changed(self, pool: Pool) -> bool:
        """Whether a poll shows a template other than the one last found in line."""
        return self._seen.get(pool.name) != _hash(pool.template)

    # Steps

    def _view(self, name: str, pool: Pool | None) -> bool:
        """Take in what a pool looks like; returns whether its jobs run elsewhere now, or in another
        image."""
        store, settings = self._context.store, self._context.config.pool(name)
        known = store.pools.get(name)
        view = PoolView(name=name, job_namespaces=())
        if pool is not None and pool.type == KUBERNETES:
            of_template = job_namespace(pool.template)
            view = PoolView(
                name=name,
                job_namespaces=settings.job_namespaces or ((of_template,) if of_template else ()),
                image=default_image(pool.template) or settings.image,
                pull_policy=pull_policy(pool.template),
                user=user(pool.template),
            )
        store.pools[name] = view
        return known != view

    def _wanted(self, pool: Pool, live: Found | None) -> _Wanted:
        context = self._context
        settings = context.config.pool(pool.name)
        live_keys = set(live.keys) if live and live.owner == context.config.owner else set()
        verdicts: dict[SetKey, Verdict] = {}
        offered: dict[str, _Offer] = {}
        for offer in self._offers(pool.name):
            verdict = self._judge(offer, pool, live_keys)
            verdicts[offer.entry.key] = verdict
            if verdict.synced:
                offered[offer.ref.key] = offer
        # Offers come oldest first, and so do the keys of `offered`.
        default = next((o for o in offered.values() if o.ref.default), None)
        for offer in offered.values():
            if default and offer.ref.default and offer is not default:
                verdicts[offer.entry.key] = Verdict(
                    Reason.CONFLICT,
                    f"the older set {default.entry.key} is the pool's default; its key is offered,"
                    " but runs that choose nothing don't get it: remove default: true",
                )
        if not offered:
            return _Wanted({}, None, verdicts)
        fragment = pool_fragment(
            {key: offer.entry for key, offer in offered.items()},
            settings=settings,
            default=default.ref.key if default else NONE,
            index=context.config.index,
            owner=context.config.owner,
            # What `flowdeps template` wrote, and Helm writes again, is in line as it is.
            cluster="" if live and not live.cluster else context.identity,
            version=context.version,
        )
        return _Wanted({key: o.entry.key for key, o in offered.items()}, fragment, verdicts)

    def _judge(self, offer: _Offer, pool: Pool, live_keys: set[str]) -> Verdict:
        context, entry, ref = self._context, offer.entry, offer.ref
        settings = context.config.pool(pool.name)
        if not settings.admits(entry.key.namespace):
            return Verdict(
                Reason.NOT_ADMITTED,
                f"the pool takes sets from {', '.join(settings.namespaces)}, not from namespace"
                f" {entry.key.namespace}; ask whoever runs flowdeps to add it to the pool's"
                " namespaces",
            )
        if pool.type != KUBERNETES:
            return Verdict(
                Reason.POOL_UNSUPPORTED,
                f'the pool\'s type is "{pool.type}"; only kubernetes pools are supported',
            )
        namespaces = context.store.pools[pool.name].job_namespaces
        if not namespaces:
            return Verdict(
                Reason.NOT_MERGEABLE,
                "where the pool's jobs run can't be read from its base job template;"
                " name it in workPools[].jobNamespaces of the operator's configuration",
            )
        if entry.spec is None and not context.store.held(entry.key):
            return Verdict(Reason.PENDING, "waits for a lock")  # others may serve its key
        rivals = context.rivals(ref.key)
        missing = False
        for namespace in namespaces:
            place = Location(namespace, ref.key)
            holder = holder_of(place, rivals, config=context.config, pools=context.store.pools)
            if holder != entry.key:
                return Verdict(
                    Reason.CONFLICT,
                    f'the older set {holder} serves the key "{ref.key}" in namespace {namespace};'
                    " choose another key in spec.workPools",
                )
            view = context.store.config_maps.get((namespace, place.current))
            missing = missing or view is None or view.holder != entry.key
        # A ConfigMap that was deleted by hand is on its way back; its key stays meanwhile.
        if missing and ref.key not in live_keys:
            return Verdict(Reason.PENDING, "waits for the lock's ConfigMap")
        return Verdict(Reason.SYNCED)

    def _desired(self, pool: Pool, fragment: Fragment | None) -> dict[str, Any]:
        if fragment is not None:
            return merge(pool.template, fragment)
        return remove(pool.template) if self.ours(pool) else dict(pool.template)

    def _left(self, pool: Pool) -> dict[str, SetKey]:
        """Key → set of a fragment of ours that can't be replaced: runs may still choose what they
        can mount."""
        store, live = self._context.store, find(pool.template)
        if live is None or not self.ours(pool):
            return {}
        return {
            key: view.holder
            for key in live.keys
            for namespace in store.pools[pool.name].job_namespaces
            if (view := store.config_maps.get((namespace, Location(namespace, key).current)))
        }

    async def _write(
        self,
        pool: Pool,
        template: dict[str, Any],
        *,
        pace: WriteThrottle,
        state: PoolState,
        wanted: _Wanted,
    ) -> float | None:
        context, now, name = self._context, self._context.queue.time(), pool.name
        if pace.drifted(wanted.fragment):
            live = find(pool.template)
            pace.rival = live.cluster if live and live.cluster != context.identity else ""
            if pause := pace.wait_for_others(now):
                self._tell(name, state, _contended(wanted, pace).verdicts)
                return pause
            context.metrics.template_drifts.labels(name).inc()
            log.warning("work pool %s was changed by others; mending it", name)
        told = dict(state.verdicts)
        await context.pools.write(name, template)
        context.metrics.template_writes.labels(name).inc()
        log.info("work pool %s offers %s", name, ", ".join(wanted.offered) or "nothing")
        again = pace.wrote(now, wanted.fragment)
        self._seen[name] = _hash(template)
        wanted = _contended(wanted, pace) if pace.contended else wanted
        # What sets came to want meanwhile is not in the template; this pool is called for it.
        later = {
            key: verdict
            for key, verdict in state.verdicts.items()
            if verdict.reason is Reason.SYNCING and verdict is not told.get(key)
        }
        self._settle(name, state, replace(wanted, verdicts={**wanted.verdicts, **later}))
        return again

    # What sets are told

    def _offers(self, name: str) -> list[_Offer]:
        entries = [self._context.store.sets[key] for key in self._context.store.offering(name)]
        alive = sorted((e for e in entries if not e.meta.deleting), key=lambda e: age(e.meta))
        return [_Offer(e, ref) for e in alive for ref in e.offers if ref.name == name]

    def _all(self, name: str, reason: Reason, message: str = "") -> dict[SetKey, Verdict]:
        message = message or f'Prefect has no work pool "{name}"; create it or correct the name'
        return {o.entry.key: Verdict(reason, message) for o in self._offers(name)}

    def _settle(self, name: str, state: PoolState, wanted: _Wanted) -> None:
        before, state.offered, state.looked = state.offered, dict(wanted.offered), True
        waiting = {
            key for key in self._context.removing if key in self._context.store.offering(name)
        }
        for key in (waiting | set(before.values())) - set(wanted.offered.values()):
            self._context.queue.add(key)
        self._tell(name, state, wanted.verdicts)

    def _tell(self, name: str, state: PoolState, verdicts: Mapping[SetKey, Verdict]) -> None:
        before, state.verdicts = state.verdicts, dict(verdicts)
        for key in self._context.store.offering(name):
            if before.get(key) != verdicts.get(key):
                self._context.queue.add(key)


def _contended(wanted: _Wanted, pace: WriteThrottle) -> _Wanted:
    text = (
        "something else keeps overwriting the pool's base job template (a Helm release, Terraform,"
        " a PrefectWorkPool resource?): let it leave the template alone, or give the pool to it"
    )
    if pace.rival:
        text = (
            f"the operator of another cluster ({pace.rival}) offers sets to this pool too, and each"
            " overwrites the other: let one of them leave the pool alone, or give each its own"
            " `owner` in its configuration"
        )
    verdict = Verdict(Reason.CONTENDED, text)
    verdicts = {k: verdict if v.synced else v for k, v in wanted.verdicts.items()}
    return _Wanted(wanted.offered, wanted.fragment, verdicts)


def _hash(template: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()
