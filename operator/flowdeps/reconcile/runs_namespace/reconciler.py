"""Brings one namespace of runs in line: the RunEnvironments `flowdeps-runs`, by which an admission
policy gives runs their environments.

They are written from the lines of all sets whose runs are there, and by nobody else: sets write
nothing that several of them share. A reconcile with nothing to do writes nothing, and one that is
killed is made up for by the next, which begins with what is there.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Self

from flowdeps.api import names
from flowdeps.api.conditions import ConditionType, find_condition
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.runs_namespace.capability import admission_problem, nodes_problem
from flowdeps.reconcile.runs_namespace.deliveries import RunsState
from flowdeps.reconcile.runs_namespace.judging import Judging
from flowdeps.reconcile.runs_namespace.lines import (
    MOST_BYTES,
    Line,
    Told,
    environments,
    fitting,
    is_written_by,
    told_by,
)
from flowdeps.reconcile.runs_namespace.offering import namespaces_known, offer_lines
from flowdeps.reconcile.runs_namespace.pulls import Pulls
from flowdeps.state.store import Body, PoolKey, RunsKey, SetKey

log = logging.getLogger(__name__)

_REFUSED_AGAIN = 300.0
_WHAT = f"{names.ENVIRONMENTS_KIND} {names.ENVIRONMENTS}"


class RunsReconciler:
    """Reconciles namespaces of runs, and finds out what lets runs mount anything."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pulls = Pulls(context)

    async def look(self) -> None:
        """Find out whether the cluster gives runs their environments; what is not answered for now
        stays as it was known. Raises ClusterError."""
        context, deliveries = self._context, self._context.deliveries
        before = deliveries.admission, deliveries.nodes
        try:
            deliveries.admission = await admission_problem(
                context.cluster, context.config.environments
            )
            if not deliveries.admission:  # else nobody grants the right to list nodes
                deliveries.nodes = await nodes_problem(context.cluster)
        finally:
            if (deliveries.admission, deliveries.nodes) != before:
                context.requeue(namespaces_known(context))
                for name in sorted(context.store.named_pools()):
                    if context.config.pool(name).claim:  # which it may be given now, or no longer
                        context.requeue({PoolKey(name), *context.store.offering(name)})
                context.requeue(_without_environment(context))

    async def __aenter__(self) -> Self:
        """Begin; at the end all watches end."""
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pulls.close()

    def see(self, body: Body, *, gone: bool = False) -> None:
        """Take in that RunEnvironments are there, or no longer; requeue their namespace where no
        reconcile has left it so."""
        deliveries, namespace = self._context.deliveries, body["metadata"]["namespace"]
        (deliveries.seen.discard if gone else deliveries.seen.add)(namespace)
        state = deliveries.states.get(namespace)
        if (None if gone else _version(body)) != (state.there if state else None):
            self._context.queue.add(RunsKey(namespace))

    def see_all(self, bodies: Sequence[Body]) -> None:
        """Take in all that there are."""
        found = {body["metadata"]["namespace"]: body for body in bodies}
        for body in found.values():
            self.see(body)
        for namespace in self._context.deliveries.seen - found.keys():
            self.see({"metadata": {"namespace": namespace}}, gone=True)

    async def retire(self, bodies: Sequence[Body]) -> None:
        """Delete the ConfigMaps by which earlier versions told runs of their environments."""
        for meta in (body["metadata"] for body in bodies):
            where = {name: meta[name] for name in ("namespace", "name", "uid")}
            try:
                await self._context.cluster.delete_config_map(**where)
            except ClusterError as error:
                log.warning("a ConfigMap of an earlier version can't be deleted: %s", error)

    async def reconcile(self, namespace: str) -> float | None:
        """Bring one namespace in line; returns in how many seconds to do so again."""
        context, key = self._context, RunsKey(namespace)
        try:
            there = await context.cluster.get_environments(namespace)
        except ClusterError as error:
            if error.is_passing:
                raise
            judging = Judging(context, key, {}, self._pulls.scope(namespace))
            judging.kept(await self._lines(namespace))
            return self._refused(judging, f"{_WHAT} can't be read: {error}", None)
        ours = there is not None and is_written_by(context.config.owner, there)
        lines = await self._lines(namespace)
        standing = told_by(there) if there and ours else {}
        if lines and (standing or context.deliveries.admission == ""):
            self._pulls.begin(namespace)
        judging = Judging(context, key, standing, self._pulls.scope(namespace))
        kept = judging.kept(lines)
        if there is not None and not ours:
            if not lines:  # nothing of ours, and nothing to do
                self._settle(namespace, None, judging)
                return None
            text = (
                f"{names.ENVIRONMENTS_KIND} {namespace}/{names.ENVIRONMENTS} are not this"
                " operator's, so they tell no run of its environment: delete them, or have their"
                " owner give them up"
            )
            return self._refused(judging, text, there)
        fit = list(fitting(kept))
        if len(fit) < len(kept):
            text = (
                f"{names.ENVIRONMENTS_KIND} {namespace}/{names.ENVIRONMENTS} are full"
                f" ({MOST_BYTES // 1000} kB): the newest locks come first; let pools run in"
                " namespaces of their own"
            )
            for line in set(kept) - set(fit):
                judging.why[line.set, line.choice] = text
        told = {line.choice: line.told for line in fit}
        try:
            there = await self._write(namespace, told, there)
        except ClusterError as error:
            if error.is_passing or error.status == 409:  # changed meanwhile: begin anew
                raise
            return self._refused(judging, f"{_WHAT} can't be written: {error}", there)
        if not lines:
            self._pulls.end(namespace)
        self._settle(namespace, there, judging)
        return judging.again

    async def _lines(self, namespace: str) -> list[Line]:
        """The lines of all sets; those that were not reconciled since the start offer theirs."""
        context, deliveries = self._context, self._context.deliveries
        for key in context.store.holders_in(namespace):
            if key in context.store.sets and key not in deliveries.reconciled:
                offer_lines(context, key)
                await asyncio.sleep(0)  # after a start it may be thousands of sets
        return [
            line
            for _, found in sorted(deliveries.lines.get(namespace, {}).items())
            for line in found
        ]

    async def _write(
        self, namespace: str, told: Mapping[str, Told], there: Body | None
    ) -> Body | None:
        """Make ours tell this, and nothing else; returns them as they are then."""
        if there and not told:
            await self._delete(there)
        if not told:
            return None
        if there and told_by(there) == told:
            return there
        owner = self._context.config.owner
        body = environments(namespace, told, owner=owner, instead_of=there)
        return await self._context.cluster.apply_environments(body)

    async def _delete(self, body: Body) -> None:
        meta = body["metadata"]
        gone = await self._context.cluster.delete_environments(
            namespace=meta["namespace"],
            name=meta["name"],
            uid=meta["uid"],
            resource_version=meta["resourceVersion"],
        )
        if not gone:
            raise ClusterError(409, "Conflict", f"{_WHAT} were changed meanwhile")

    def _refused(self, judging: Judging, text: str, there: Body | None) -> float:
        """Keep why nothing can be written; returns in how many seconds to try again."""
        judging.why.update(dict.fromkeys(judging.why, text))
        self._settle(judging.key.namespace, there, judging)
        return _REFUSED_AGAIN

    def _settle(self, namespace: str, there: Body | None, judging: Judging) -> None:
        """Keep what was found; requeue the sets for which it is news."""
        deliveries = self._context.deliveries
        before = deliveries.states.get(namespace, RunsState())
        ours = there is not None and is_written_by(self._context.config.owner, there)
        told = told_by(there) if there and ours else {}
        holders = {choice: key for choice, (key, _) in before.served.items()}
        holders |= {choice: key for key, choice in judging.why}
        state = RunsState(
            there=_version(there) if there else None,
            served={one: (holders[one], line) for one, line in told.items() if one in holders},
            why=judging.why,
            failed=judging.failed,
        )
        deliveries.states[namespace] = state
        (deliveries.seen.add if ours else deliveries.seen.discard)(namespace)
        if not there and not judging.why:
            del deliveries.states[namespace]
        pairs = before.why.keys() | state.why.keys()
        changed = {one[0] for one in pairs if before.why.get(one) != state.why.get(one)}
        sets = before.failed.keys() | state.failed.keys()
        changed |= {key for key in sets if before.failed.get(key) != state.failed.get(key)}
        self._context.requeue(changed & self._context.store.sets.keys())


def _without_environment(context: Context) -> list[SetKey]:
    """The sets of which one may be made now, or not any more."""
    sets = context.store.sets.items()
    conditions = ((k, find_condition(s.status.conditions, ConditionType.BUILT)) for k, s in sets)
    return [key for key, built in conditions if not built or built.status != "True"]


def _version(body: Body) -> tuple[str, str]:
    return body["metadata"]["uid"], body["metadata"]["resourceVersion"]
