"""Brings one pool in line: one fragment for all of its sets, merged into its template.

    read     the pool, from Prefect if it is there, and what its runs get without us
    judge    each of its sets: may the pool offer it, and if not, why?
    merge    what is offered into the template, or our part out of it
    write    the template, where it differs, and when the throttle allows it
    settle   what sets should know: each whose verdict is another is requeued

The queue sees to it that there is one writer. A template is compared by content: Prefect's
`updated` moves without a change, and some of its databases lose the order of keys.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowdeps.api.names import mounted_name
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import WorkPoolRef
from flowdeps.clients.prefect.client import Pool
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.delivery.choice import NONE, find
from flowdeps.delivery.kinds import for_type, remove, unsupported
from flowdeps.delivery.kinds.kind import Fragment, MergeRefusedError
from flowdeps.reconcile.context import Context, PoolState, Verdict
from flowdeps.reconcile.work_pool.directory import Directory
from flowdeps.reconcile.work_pool.runs import Runs, RunsReader
from flowdeps.reconcile.work_pool.write_throttle import WriteThrottle
from flowdeps.state.fragments import (
    Signature,
    is_ours,
    keys_beyond,
    pool_fragment,
    signature_of,
)
from flowdeps.state.locations import Location
from flowdeps.state.store import PoolKey, PoolView, SetEntry, SetKey

log = logging.getLogger(__name__)

_SETS_FIRST = 5.0
"""Seconds that sets have at most to publish where the pool's jobs run now."""
_LOCKS_FIRST = 600.0
"""Seconds that they have at most to be locked for another image, where the worker chooses it."""
_COPIES_FIRST = 600.0
"""Seconds that they have at most to be published under names that runs don't mount yet."""
_PAUSE = 0.2
"""Seconds until it is checked again whether they have."""

_REFUSALS = {"NoImage": Reason.NO_IMAGE, "NotKubernetes": Reason.POOL_UNSUPPORTED}


@dataclass(frozen=True)
class _Offer:
    """A set that names a pool, and how."""

    entry: SetEntry
    ref: WorkPoolRef
    signature: Signature


@dataclass(frozen=True)
class _Wanted:
    """What a pool should offer: key → set, and what it says of every set."""

    offered: Mapping[str, SetKey]
    fragment: Fragment | None
    verdicts: Mapping[SetKey, Verdict]
    signatures: Mapping[SetKey, Signature]
    """The version of each set that this is about."""

    def refused(self, verdict: Verdict) -> Mapping[SetKey, Verdict]:
        """Return the verdicts where none of the sets can be offered."""
        return {key: verdict if one.synced else one for key, one in self.verdicts.items()}


class PoolReconciler:
    """Reconciles pools; remembers when each was written, and the template last found in line."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._throttles: dict[str, WriteThrottle] = {}
        self._in_line: dict[str, str] = {}
        self._held_until: dict[str, float] = {}
        self._renamed_by: dict[str, float] = {}
        self._runs = RunsReader(context)
        self.directory = Directory(context)

    async def reconcile(self, name: str) -> float | None:
        """Bring one pool in line; returns in how many seconds to do so again.

        A reconcile that ends in an error gives the pool's sets a verdict before it raises.
        """
        try:
            return await self._reconcile(name)
        except PoolsError as error:
            self.unreachable(name, error)
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {Reason.INTERNAL_ERROR.description}"
            self._judged(name, self._nothing(name, Reason.INTERNAL_ERROR, text))
            raise

    async def _reconcile(self, name: str) -> float | None:
        context = self._context
        throttle = self._throttles.setdefault(name, WriteThrottle(context.jitter))
        now = context.queue.time()

        def busy() -> bool:
            admitted = [one for one in context.store.offering(name) if self._admits(name, one)]
            return any(map(context.working_on, admitted))

        if now < self._held_until.get(name, 0.0) and busy():
            return _PAUSE
        if wait := throttle.wait(now, busy):
            return wait
        if wait := await self.directory.look_up(name):
            return wait
        pool = None if name in self.directory.absent else await context.pools.read(name)
        runs = await self._runs.read(pool, ours=self.ours(pool)) if pool else None
        if self._view(name, runs):
            # Locks are published elsewhere now, or are for another image, and others may have
            # those locations: the sets come first, then this pool again.
            for offer in self._offers(name):
                context.requeue_competitors(offer.ref.key, but=PoolKey(name))
            if pool and self.ours(pool) and busy():
                seconds = _LOCKS_FIRST if runs and runs.image else _SETS_FIRST
                self._held_until[name] = context.queue.time() + seconds
                return _PAUSE  # what the template offers stays meanwhile
        if pool is None:
            text = f'Prefect has no work pool "{name}"; create it or correct the name'
            self._settle(name, self._nothing(name, Reason.POOL_NOT_FOUND, text))
            return None
        wanted, kind = self._wanted(pool, runs), for_type(pool.type)
        if pause := self._renaming(pool, wanted):
            return pause  # its runs mount what they did before
        try:
            if wanted.fragment and kind:
                template = kind.merge(pool.template, wanted.fragment)
            else:
                template = remove(pool.template) if self.ours(pool) else dict(pool.template)
        except MergeRefusedError as refusal:
            reason = _REFUSALS.get(refusal.reason, Reason.NOT_MERGEABLE)
            verdicts = wanted.refused(Verdict(reason, str(refusal)))
            left = replace(wanted, offered=self._left(pool), fragment=None, verdicts=verdicts)
            live = find(pool.template)
            self._settle(name, left, mounts=live.pool if live else name)
            return None
        if template != pool.template:
            return await self._write(pool, template, throttle=throttle, wanted=wanted)
        again = throttle.settled(context.queue.time(), wanted.fragment)
        self._in_line[name] = _hash(pool.template)
        self._settle(name, _contended(wanted, throttle) if throttle.contended else wanted)
        return again

    def unreachable(self, name: str, error: PoolsError) -> None:
        """Let a pool say of its sets that it can't be read; the next poll requeues it."""
        self._in_line.pop(name, None)
        self.directory.forget(name)
        self._judged(name, self._nothing(name, error.reason, str(error)))

    def ours(self, pool: Pool) -> bool:
        """Return whether the fragment in a pool's template, if there is one, is ours to remove.

        What names no cluster (`flowdeps template` wrote it) is ours while our sets are concerned.
        """
        context, state = self._context, self._context.pool_states.get(pool.name)
        return is_ours(
            find(pool.template),
            owner=context.config.owner,
            cluster=context.identity,
            unnamed=bool(context.store.offering(pool.name) or (state and state.offered)),
        )

    def changed(self, pool: Pool) -> bool:
        """Return whether a poll shows another template than the one last found in line, or the
        pool's workers may have changed since."""
        return self._in_line.get(pool.name) != _hash(pool.template) or self._runs.due(pool.name)

    # Steps

    def _view(self, name: str, runs: Runs | None) -> bool:
        """Take in what a pool looks like; returns whether its jobs run elsewhere now, or in another
        image."""
        settings = self._context.config.pool(name)
        view = PoolView(name=name, job_namespaces=())
        if runs:
            found = (runs.view.location,) if runs.view.location else ()
            view = PoolView(
                name=name,
                job_namespaces=settings.job_namespaces or found,
                image=runs.view.image or settings.image or runs.image,
                pull_policy=runs.view.pull_policy,
                user=runs.view.user,
                by_worker=runs.image is not None,
            )
        return self._context.store.put_pool(view)

    def _wanted(self, pool: Pool, runs: Runs | None) -> _Wanted:
        context, live = self._context, find(pool.template)
        settings = context.config.pool(pool.name)
        ours = live is not None and live.owner == context.config.owner
        # Runs mount what this pool's copies are named, and not what an earlier version named them.
        live_keys = set(live.keys) if live and ours and live.pool == pool.name else set()
        verdicts: dict[SetKey, Verdict] = {}
        offered: dict[str, _Offer] = {}
        signatures: dict[SetKey, Signature] = {}
        for offer in self._offers(pool.name):
            verdict = self._judge(offer, pool, live_keys)
            if verdict.reason is not Reason.NOT_ADMITTED:  # then it holds for every version
                signatures[offer.entry.key] = offer.signature
            verdicts[offer.entry.key] = verdict.noting(runs.notes if runs else ())
            if verdict.synced:
                offered[offer.ref.key] = offer
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
            return _Wanted({}, None, verdicts, signatures)
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
        )
        keys = {key: offer.entry.key for key, offer in offered.items()}
        return _Wanted(keys, fragment, verdicts, signatures)

    def _admits(self, name: str, key: SetKey) -> bool:
        return any(
            ref.name == name for ref in self._context.admitted(self._context.store.sets[key])
        )

    def _judge(self, offer: _Offer, pool: Pool, live_keys: set[str]) -> Verdict:
        context, entry, ref = self._context, offer.entry, offer.ref
        settings = context.config.pool(pool.name)
        namespaces = context.store.pools[pool.name].job_namespaces
        kind = for_type(pool.type)
        if not self._admits(pool.name, entry.key) and (settings.namespaces or namespaces):
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

    def _renaming(self, pool: Pool, wanted: _Wanted) -> float | None:
        """Return for how long a template that mounts other names than ours stays as it is.

        An earlier version wrote it, or it was copied from another pool. First the copies are
        published under the new names, or no run could choose their keys. One that can't be
        published keeps the others waiting for a while only.
        """
        live, now = find(pool.template), self._context.queue.time()
        if live is None or live.pool == pool.name or not self.ours(pool):
            self._renamed_by.pop(pool.name, None)
            return None
        waiting = {k for k, one in wanted.verdicts.items() if one.reason is Reason.PENDING}
        keys = {o.ref.key for o in self._offers(pool.name) if o.entry.key in waiting}
        until = self._renamed_by.setdefault(pool.name, now + _COPIES_FIRST)
        return max(0.0, until - now) if keys & set(live.keys) else None

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
            if (view := store.config_maps.get((namespace, mounted_name(key, pool=live.pool))))
        }

    async def _write(
        self, pool: Pool, template: dict[str, Any], *, throttle: WriteThrottle, wanted: _Wanted
    ) -> float | None:
        context, now, name = self._context, self._context.queue.time(), pool.name
        if throttle.drifted(wanted.fragment):
            live = find(pool.template)
            throttle.rival = live.cluster if live and live.cluster != context.identity else ""
            if pause := throttle.wait_for_others(now):
                self._judged(name, _contended(wanted, throttle))
                return pause
            context.metrics.template_drifts.labels(name).inc()
            log.warning("work pool %s was changed by others; bringing it back in line", name)
        await context.pools.write(name, template)
        context.metrics.template_writes.labels(name).inc()
        log.info("work pool %s offers %s", name, ", ".join(wanted.offered) or "nothing")
        again = throttle.wrote(now, wanted.fragment)
        self._in_line[name] = _hash(template)
        self._settle(name, _contended(wanted, throttle) if throttle.contended else wanted)
        return again

    # What sets should know

    def _offers(self, name: str) -> list[_Offer]:
        """The sets that name a pool, oldest first."""
        store = self._context.store
        entries = [store.sets[key] for key in store.offering(name)]
        offers = [
            _Offer(entry, ref, signature_of(entry, self._context.held(entry)))
            for entry in entries
            if not entry.meta.deleting
            for ref in entry.pool_refs
            if ref.name == name
        ]
        return sorted(offers, key=lambda one: one.signature.age)

    def _nothing(self, name: str, reason: Reason, message: str) -> _Wanted:
        """Nothing is offered, and every set has the same verdict."""
        signatures = {one.entry.key: one.signature for one in self._offers(name)}
        return _Wanted({}, None, dict.fromkeys(signatures, Verdict(reason, message)), signatures)

    def _settle(self, name: str, wanted: _Wanted, *, mounts: str | None = None) -> None:
        """Keep what a pool offers by now, and what it says of its sets.

        `mounts`: the pool whose copies its runs mount, if it is another.
        """
        context, state = self._context, self._state(name)
        state.mounts = name if mounts is None else mounts
        before, state.offered, state.looked = state.offered, dict(wanted.offered), True
        waiting = context.removing.keys() & context.store.offering(name)
        context.requeue((waiting | set(before.values())) - set(wanted.offered.values()))
        self._judged(name, wanted)

    def _judged(self, name: str, wanted: _Wanted) -> None:
        """Keep the verdicts; requeue the sets for which something has changed."""
        state, before = self._state(name), replace(self._state(name))
        state.verdicts, state.merged = dict(wanted.verdicts), dict(wanted.signatures)
        self._context.requeue(
            key
            for key in self._context.store.offering(name)
            if before.verdicts.get(key) != state.verdicts.get(key)
            or before.merged.get(key) != state.merged.get(key)
        )

    def _state(self, name: str) -> PoolState:
        return self._context.pool_states.setdefault(name, PoolState())


def _contended(wanted: _Wanted, throttle: WriteThrottle) -> _Wanted:
    text = (
        "something else keeps overwriting the pool's base job template (a Helm release, Terraform,"
        " a PrefectWorkPool resource?): let it leave the template alone, or give the pool to it"
    )
    if throttle.rival:
        text = (
            f"the operator of another cluster ({throttle.rival}) offers sets to this pool too, and"
            " each overwrites the other: let one of them leave the pool alone, or give each its own"
            " `owner` in its configuration"
        )
    return replace(wanted, verdicts=wanted.refused(Verdict(Reason.CONTENDED, text)))


def _hash(template: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()
