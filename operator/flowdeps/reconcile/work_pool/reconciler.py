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
from dataclasses import replace
from typing import Any

from flowdeps.api.names import mounted_name
from flowdeps.api.reasons import Reason
from flowdeps.clients.prefect.client import Pool
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.delivery.choice import find
from flowdeps.delivery.kinds import for_type, remove
from flowdeps.delivery.kinds.kind import MergeRefusedError
from flowdeps.delivery.methods.volume import mounts_claim
from flowdeps.reconcile.context import Context, PoolState, Verdict
from flowdeps.reconcile.work_pool.caches import cache_problem
from flowdeps.reconcile.work_pool.directory import Directory
from flowdeps.reconcile.work_pool.judging import Wanted, admits, judge, nothing, offers_of
from flowdeps.reconcile.work_pool.runs import Runs, RunsReader
from flowdeps.reconcile.work_pool.write_throttle import WriteThrottle
from flowdeps.state.fragments import is_ours
from flowdeps.state.store import PoolKey, PoolView, SetKey

log = logging.getLogger(__name__)

_SETS_FIRST = 5.0
"""Seconds that sets have at most to publish where the pool's jobs run now."""
_LOCKS_FIRST = 600.0
"""Seconds that they have at most to be locked for another image, where the worker chooses it."""
_COPIES_FIRST = 600.0
"""Seconds that they have at most to be published under names that runs don't mount yet."""
_CACHE_AGAIN = 60.0
"""Seconds until it is checked again whether runs can mount a cache."""
_PAUSE = 0.2
"""Seconds until it is checked again whether they have."""

_REFUSALS = {"NoImage": Reason.NO_IMAGE, "NotKubernetes": Reason.POOL_UNSUPPORTED}


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
            self._judged(name, nothing(self._context, name, Reason.INTERNAL_ERROR, text))
            raise

    async def _reconcile(self, name: str) -> float | None:
        context = self._context
        throttle = self._throttles.setdefault(name, WriteThrottle(context.jitter))
        now = context.queue.time()

        def busy() -> bool:
            admitted = [
                one
                for one in context.store.offering(name)
                if admits(context, name, context.store.sets[one])
            ]
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
            for offer in offers_of(context, name):
                context.requeue_competitors(offer.ref.key, but=PoolKey(name))
            if pool and self.ours(pool) and busy():
                seconds = _LOCKS_FIRST if runs and runs.image else _SETS_FIRST
                self._held_until[name] = context.queue.time() + seconds
                return _PAUSE  # what the template offers stays meanwhile
        if pool is None:
            text = f'Prefect has no work pool "{name}"; create it or correct the name'
            self._settle(name, nothing(context, name, Reason.POOL_NOT_FOUND, text))
            return None
        problem = await cache_problem(context, name)
        cached = context.config.pool(name).delivery == "Cache"
        wanted, kind = judge(context, pool, runs), for_type(pool.type)
        if pause := self._renaming(pool, wanted):
            return pause  # its runs mount what they did before
        if wanted.fragment and problem:
            self._refuse(pool, wanted, Verdict(Reason.CACHE_UNAVAILABLE, problem))
            return _CACHE_AGAIN
        try:
            if wanted.fragment and kind:
                template = kind.merge(pool.template, wanted.fragment)
            else:
                template = remove(pool.template) if self.ours(pool) else dict(pool.template)
        except MergeRefusedError as refusal:
            reason = _REFUSALS.get(refusal.reason, Reason.NOT_MERGEABLE)
            self._refuse(pool, wanted, Verdict(reason, str(refusal)))
            return None
        if template != pool.template:
            again = await self._write(pool, template, throttle=throttle, wanted=wanted)
            return _look_again(again, cached=cached)
        again = throttle.settled(context.queue.time(), wanted.fragment)
        self._in_line[name] = _hash(pool.template)
        self._settle(name, _contended(wanted, throttle) if throttle.contended else wanted)
        return _look_again(again, cached=cached)

    def unreachable(self, name: str, error: PoolsError) -> None:
        """Let a pool say of its sets that it can't be read; the next poll requeues it."""
        self._in_line.pop(name, None)
        self.directory.forget(name)
        self._judged(name, nothing(self._context, name, error.reason, str(error)))

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
                pull_secrets=runs.view.pull_secrets,
                by_worker=runs.image is not None,
            )
        return self._context.store.put_pool(view)

    def _renaming(self, pool: Pool, wanted: Wanted) -> float | None:
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
        offers = offers_of(self._context, pool.name)
        keys = {one.ref.key for one in offers if one.entry.key in waiting}
        until = self._renamed_by.setdefault(pool.name, now + _COPIES_FIRST)
        return max(0.0, until - now) if keys & set(live.keys) else None

    def _refuse(self, pool: Pool, wanted: Wanted, verdict: Verdict) -> None:
        """Leave a template as it is, and say why to all sets that could be offered."""
        live = find(pool.template)
        left = replace(
            wanted,
            offered=self._left(pool),
            fragment=None,
            verdicts=wanted.refused(verdict),
            by_claim=bool(live and mounts_claim(live)),
        )
        self._settle(pool.name, left, mounts=live.pool if live else pool.name)

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
        self, pool: Pool, template: dict[str, Any], *, throttle: WriteThrottle, wanted: Wanted
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

    def _settle(self, name: str, wanted: Wanted, *, mounts: str | None = None) -> None:
        """Keep what a pool offers by now, and what it says of its sets.

        `mounts`: the pool whose copies its runs mount, if it is another.
        """
        context, state = self._context, self._state(name)
        state.mounts = name if mounts is None else mounts
        before, state.offered, state.looked = state.offered, dict(wanted.offered), True
        if state.by_claim != wanted.by_claim:
            state.by_claim = wanted.by_claim
            context.requeue(context.store.offering(name))
        waiting = context.removing.keys() & context.store.offering(name)
        context.requeue((waiting | set(before.values())) - set(wanted.offered.values()))
        self._judged(name, wanted)

    def _judged(self, name: str, wanted: Wanted) -> None:
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


def _contended(wanted: Wanted, throttle: WriteThrottle) -> Wanted:
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


def _look_again(again: float | None, *, cached: bool) -> float | None:
    """Return in how many seconds to reconcile: a claim may go, and nothing tells us of it."""
    return min(again or _CACHE_AGAIN, _CACHE_AGAIN) if cached else again


def _hash(template: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()
