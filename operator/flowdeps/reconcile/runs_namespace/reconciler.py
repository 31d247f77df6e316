"""Brings one namespace of runs in line: the ConfigMap `flowdeps-runs.environments`, by which an
admission policy gives runs their environments.

It is written from the lines of all sets whose runs are there, and by nobody else: sets write
nothing that several of them share. A reconcile with nothing to do writes nothing, and one that is
killed is made up for by the next, which begins with what is there.
"""

import asyncio
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
    environments_map,
    fitting,
    is_written_by,
)
from flowdeps.reconcile.runs_namespace.offering import namespaces_known, offer_lines
from flowdeps.reconcile.runs_namespace.pulls import Pulls
from flowdeps.state.store import Body, RunsKey, SetKey

_REFUSED_AGAIN = 300.0


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
                context.requeue(_without_environment(context))

    async def __aenter__(self) -> Self:
        """Begin; at the end all watches end."""
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pulls.close()

    def see(self, body: Body, *, gone: bool = False) -> None:
        """Take in that an operator's ConfigMap is there, or no longer; requeue its namespace where
        no reconcile has left it so."""
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

    async def reconcile(self, namespace: str) -> float | None:
        """Bring one namespace in line; returns in how many seconds to do so again."""
        context, key = self._context, RunsKey(namespace)
        try:
            there = await context.cluster.get_config_map(namespace, names.ENVIRONMENTS)
        except ClusterError as error:
            if error.is_passing:
                raise
            judging = Judging(context, key, {}, self._pulls.scope(namespace))
            judging.kept(await self._lines(namespace))
            return self._refused(judging, f"{names.ENVIRONMENTS} can't be read: {error}", None)
        ours = there is not None and is_written_by(context.config.owner, there)
        lines = await self._lines(namespace)
        standing: Mapping[str, str] = (there or {}).get("data") or {} if ours else {}
        if lines and (standing or context.deliveries.admission == ""):
            self._pulls.begin(namespace)
        judging = Judging(context, key, standing, self._pulls.scope(namespace))
        kept = judging.kept(lines)
        if there is not None and not ours:
            if not lines:  # nothing of ours, and nothing to do
                self._settle(namespace, None, judging)
                return None
            text = (
                f"ConfigMap {namespace}/{names.ENVIRONMENTS} is not this operator's, so it tells no"
                " run of its environment: delete it, or have its owner give it up"
            )
            return self._refused(judging, text, there)
        fit = list(fitting(kept))
        if len(fit) < len(kept):
            text = (
                f"ConfigMap {namespace}/{names.ENVIRONMENTS} is full ({MOST_BYTES // 1000} kB): the"
                " newest locks come first; let pools run in namespaces of their own"
            )
            for line in set(kept) - set(fit):
                judging.why[line.set, line.choice] = text
        data = {line.choice: line.text for line in fit}
        try:
            there = await self._write(namespace, data, there)
        except ClusterError as error:
            if error.is_passing or error.status == 409:  # changed meanwhile: begin anew
                raise
            return self._refused(judging, f"{names.ENVIRONMENTS} can't be written: {error}", there)
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
        self, namespace: str, data: Mapping[str, str], there: Body | None
    ) -> Body | None:
        """Make our ConfigMap say this, and nothing else; returns it as it is then."""
        cluster, owner = self._context.cluster, self._context.config.owner
        if there and (there.get("data") or {}) == data and data:
            return there
        if there and (not data or there.get("immutable")):
            await self._delete(there)
            there = None
        if not data:
            return None
        body = environments_map(namespace, data, owner=owner, instead_of=there)
        made = await cluster.apply_config_map(body)
        if made.get("data") != data:  # others' lines, which no apply of ours takes out
            await self._delete(made)
            made = await cluster.apply_config_map(environments_map(namespace, data, owner=owner))
        return made

    async def _delete(self, body: Body) -> None:
        meta = body["metadata"]
        gone = await self._context.cluster.delete_config_map(
            namespace=meta["namespace"],
            name=meta["name"],
            uid=meta["uid"],
            resource_version=meta["resourceVersion"],
        )
        if not gone:
            raise ClusterError(409, "Conflict", f"{names.ENVIRONMENTS} was changed meanwhile")

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
        texts: Mapping[str, str] = (there or {}).get("data") or {} if ours else {}
        holders = {choice: key for choice, (key, _) in before.served.items()}
        holders |= {choice: key for key, choice in judging.why}
        state = RunsState(
            there=_version(there) if there else None,
            served={one: (holders[one], text) for one, text in texts.items() if one in holders},
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
