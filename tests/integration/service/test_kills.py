"""A kill between any two writes, in each step of a life, of a real API server and Prefect.

`make faults` tries every one, `make test` of each step others. tests/unit/reconcile/test_faults.py
tries every one on simulated servers.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flowdeps.api.config import Config, parse_config
from flowdeps.api.names import API_VERSION, PLURAL, REFRESH_REQUESTED_ANNOTATION
from flowdeps.app.service import Service
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect import PrefectServer
from tests.cluster.prefect_api import PrefectApi
from tests.support.accounts import Accounts
from tests.support.faults import Fault, Gate, Plan, at_write, no_fault, running
from tests.support.night import NIGHT
from tests.support.sets import Body, apply, condition, get_set, names, read, set_body

_TIMES = {
    "resolvedAt",
    "createdAt",
    "servedSince",
    "proposedAt",
    "nextRefreshAt",
    "lastTransitionTime",
    "observedGeneration",
}
EVERY = 1 if NIGHT else 3
_POOL = "kills"
_NAME = "survivor"
_RESTS = 3
"""After each how many kills it is seen that a settled state is not written again; the simulated
cluster does so after each."""


@dataclass(frozen=True)
class Step:
    """One step of a set's life: what was applied before it, one after the other, and after it; the
    least number of writes that it takes."""

    before: tuple[Body, ...]
    after: Body | None
    writes: int = 7


def _set(*requirements: str, asked: str = "", **spec: Any) -> Body:
    body = set_body(_NAME, requirements, pools=[{"name": _POOL, "default": True}], **spec)
    body["metadata"]["annotations"] = {REFRESH_REQUESTED_ANNOTATION: asked} if asked else {}
    return body


STEPS = {
    "applied": Step((), _set("alpha")),
    "changed": Step((_set("alpha"),), _set("alpha", "beta")),
    "deleted": Step((_set("alpha"),), None),
    # Without its bound gamma keeps its pin, until somebody asks for a refresh.
    "refreshed": Step(
        (_set("gamma<2", updates="Manual"), _set("gamma", updates="Manual")),
        _set("gamma", updates="Manual", asked="now"),
        writes=4,
    ),
}


@pytest.fixture
def config(
    prefect_server: PrefectServer,
    index: Index,
    accounts: Accounts,
    monkeypatch: pytest.MonkeyPatch,
) -> Config:
    index.add("alpha", "1.0")
    index.add("beta", "2.0", requires=["alpha"])
    index.add("gamma", "1.0")
    index.add("gamma", "2.0")
    monkeypatch.setenv("KUBECONFIG", str(accounts.kubeconfig({})))
    return parse_config(
        {
            "prefect": {"apiUrl": prefect_server.url, "pollInterval": "1s"},
            "index": {"url": index.url},
            "workPools": [
                {
                    "name": "*",
                    "image": "example.com/flows:1",
                    "defaultNamespaces": ["default"],
                    "jobNamespaces": ["default", "jobs"],
                }
            ],
        }
    )


@pytest.mark.parametrize("name", STEPS)
async def test_a_kill_at_any_write_ends_in_the_same_state(
    name: str,
    config: Config,
    cluster: ControlPlane,
    prefect_api: PrefectApi,
    tmp_path: Path,
) -> None:
    """Whichever write a kill comes before or after, a restart ends where no kill would have."""
    step = STEPS[name]
    context = _World(config, cluster, prefect_api, tmp_path / "uv")
    context.prepare()
    whole = Gate()
    expected = await context.run(step, no_fault, whole)
    assert len(whole.writes) >= step.writes, "the step made too few writes to be the real one"
    # Stopped before the first write, then after each: the state after one write is the state
    # before the next.
    points = itertools.chain(
        [at_write(1, Fault.KILLED_BEFORE)],
        (at_write(number, Fault.KILLED_AFTER) for number in itertools.count(1)),
    )
    kills = 0
    for plan in itertools.islice(points, [*STEPS].index(name) % EVERY, None, EVERY):
        gate = Gate()
        found = await context.run(step, plan, gate, rests=kills % _RESTS == 0)
        assert found == expected, f"killed at {gate.writes}"
        if not gate.killed.is_set():
            break
        kills += 1
    assert kills >= step.writes // EVERY


class _World:
    def __init__(
        self, config: Config, cluster: ControlPlane, prefect: PrefectApi, cache: Path
    ) -> None:
        self._config, self._cluster, self._prefect, self._cache = config, cluster, prefect, cache

    def prepare(self) -> None:
        with contextlib.suppress(RuntimeError):  # made by another step
            self._prefect.create_pool(_POOL, image="")
        if "jobs" not in names(self._cluster, "ns"):
            self._cluster.kubectl("create", "namespace", "jobs")

    async def run(self, step: Step, plan: Plan, gate: Gate, *, rests: bool = True) -> Any:
        """Bring the step about with that plan, restart, and return where it ended; `rests`: it must
        stay there over one more restart."""
        async with running(self._config, cache=self._cache, gate=gate) as service:
            for body in step.before:
                await self._bring_about(body)
                await self._until(partial(self._settled, body))
            await _at_rest(service)
            gate.arm(plan)
            await self._bring_about(step.after)
            killed = asyncio.create_task(gate.killed.wait())
            settled = asyncio.create_task(self._until(lambda: self._settled(step.after)))
            _, pending = await asyncio.wait(
                {killed, settled}, return_when=asyncio.FIRST_COMPLETED, timeout=60
            )
            for task in pending:
                task.cancel()
        async with running(self._config, cache=self._cache) as service:
            await self._until(lambda: self._settled(step.after))
            if not rests:
                await _at_rest(service)
                state = await asyncio.to_thread(self._state)
                await self._clear(step)
                return state
        state = await asyncio.to_thread(self._state)
        idle = Gate()
        async with running(self._config, cache=self._cache, gate=idle) as service:
            await self._until(lambda: service.health.ready() is None)
            await asyncio.sleep(0.5)
            assert idle.writes == [], f"a settled state was written again, killed at {gate.writes}"
            assert await asyncio.to_thread(self._state) == state
            await self._clear(step)
        return state

    async def _clear(self, step: Step) -> None:
        if step.after:
            await self._bring_about(None)
            await self._until(lambda: self._settled(None))

    async def _bring_about(self, after: Body | None) -> None:
        if after:
            await asyncio.to_thread(self._apply, after)
        else:
            await asyncio.to_thread(self._cluster.kubectl, *_DELETE)

    def _apply(self, body: Body) -> None:
        apply(self._cluster, body)

    async def _until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(done):  # noqa: ASYNC110 - it is the cluster's state
                await asyncio.sleep(0.05)

    def _settled(self, wanted: Body | None) -> bool:
        try:
            body = get_set(self._cluster, _NAME)
        except LookupError:
            return wanted is None
        if wanted is None:
            return False
        ready = condition(body, "Ready")
        return (
            ready.get("status") == "True"
            and ready["observedGeneration"] == body["metadata"]["generation"]
            and body["spec"]["requirements"] == wanted["spec"]["requirements"]
            and body["status"].get("lastHandledRefreshAt")
            == wanted["metadata"]["annotations"].get(REFRESH_REQUESTED_ANNOTATION)
        )

    def _state(self) -> Any:
        """Sets, ConfigMaps and the template, without times and uids."""
        listed = []
        for kind, path in _KINDS.items():
            found = read(self._cluster, path) or {}
            listed += [{"kind": kind, **item} for item in found["items"]]
        ours = [o for o in listed if o["metadata"]["name"].startswith(("flowdeps-", _NAME))]
        objects = {
            (o["kind"], o["metadata"]["namespace"], o["metadata"]["name"]): _timeless(
                {
                    "labels": o["metadata"].get("labels"),
                    "finalizers": o["metadata"].get("finalizers"),
                    "owners": len(o["metadata"].get("ownerReferences", [])),
                    "data": o.get("data"),
                    "status": o.get("status"),
                }
            )
            for o in ours
        }
        return objects, self._prefect.template(_POOL)


async def _at_rest(service: Service) -> None:
    async with asyncio.timeout(60):
        while (health := service.context.queue.health()).ready or health.running:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


_KINDS = {"set": f"/apis/{API_VERSION}/{PLURAL}", "ConfigMap": "/api/v1/configmaps"}
_DELETE = ("delete", "fds", _NAME, "--wait=false")


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in _TIMES}
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    return value
