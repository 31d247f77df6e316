"""An API server that has too much to do: it refuses, or carries out what it does not answer."""

import asyncio
import random
from typing import Any, cast

import pytest

from flowdeps.api.names import REFRESH_REQUESTED_ANNOTATION
from flowdeps.clients.kubernetes.errors import ClusterError
from tests.unit.reconcile.simulation import MemoryImage, Simulation
from tests.unit.scheduling import virtual

_IMAGE = "registry.example.com/flows:1"
_STATUSES = (429, 500, 503, 504, 0)
_WRITES = ("apply_config_map", "apply_finalizers", "apply_secret", "apply_status", "create_event")


class _Overload:
    """Stands before a simulation's cluster; `share` of all requests fail while it lasts, half of
    the writes among them once they are carried out."""

    def __init__(self, sim: Simulation, status: int, *, share: float) -> None:
        self.cluster, self.share, self.lasts = sim.cluster, share, False
        self.refused = 0
        self.unanswered = 0
        """How many statuses were written, and nobody heard of it."""
        self.reported: list[tuple[str, str]] = []
        """Ready's status and the messages of all conditions, of each status that was written."""
        self._error = ClusterError(status, "X", f"overload {status}")
        self._chance = random.Random(status)
        turn = sim.cluster._turn

        async def before(write: str = "") -> None:
            await turn(write)
            if self._fails() and not (write in _WRITES and self._chance.random() < 0.5):
                self.refused += 1
                raise self._error

        cast("Any", sim.cluster)._turn = before
        for name in _WRITES:
            setattr(sim.cluster, name, self._around(getattr(sim.cluster, name)))

    def _fails(self) -> bool:
        return self.lasts and self._chance.random() < self.share

    def _around(self, write: Any) -> Any:
        async def after(*args: Any, **more: Any) -> Any:
            answer = await write(*args, **more)
            if "status" in more:
                conditions = more["status"]["conditions"]
                ready = next(one["status"] for one in conditions if one["type"] == "Ready")
                self.reported.append((ready, "; ".join(one["message"] for one in conditions)))
            if self._fails():  # done, and the answer is lost
                self.refused += 1
                self.unanswered += "status" in more
                raise self._error
            return answer

        return after


@pytest.mark.parametrize(
    ("status", "share"), [*((status, 0.3) for status in _STATUSES), (429, 1.0), (0, 1.0)]
)
def test_an_overload_is_no_news_of_any_set(status: int, share: float) -> None:
    """Sets that are well stay Ready, through refreshes and a restart, none says that the API
    server had too much to do, and the writes are as many as without an overload: only what was
    carried out without an answer is repeated. When it ends all is done, and nothing is written."""
    written: dict[bool, int] = {}

    async def main(*, overloaded: bool) -> None:
        pools = [{"name": "*", "image": _IMAGE, "namespaces": ["*"]}]
        sim = Simulation(images={"recheck": "168h"}, workPools=pools)
        sim.cluster.pods.images[_IMAGE] = MemoryImage()
        sim.prefect.make("k", namespace="team")
        overload = _Overload(sim, status, share=share)

        def apply(**more: Any) -> None:
            for name in "abc":
                sim.cluster.apply(name, pools=["k"], requirements=["alpha"], python={}, **more)

        async with sim.operator():
            apply()
            await asyncio.sleep(300)
            assert {sim.ready(name)[0] for name in "abc"} == {"True"}
            overload.reported.clear()
            overload.lasts = overloaded
            sim.index.release = 2
            apply(metadata={"annotations": {REFRESH_REQUESTED_ANNOTATION: "now"}})
            await asyncio.sleep(200)
        overload.lasts = False  # until all is listed
        async with sim.operator() as service:
            while not service.health.listed:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            overload.lasts = overloaded
            await asyncio.sleep(200)
            overload.lasts = False
            await asyncio.sleep(3600)
            assert {sim.pins(name) for name in "abc"} == {"alpha==2.0"}
            assert {sim.pins(name, namespace="team", pool="k") for name in "abc"} == {"alpha==2.0"}
            writes = sim.writes()
            await asyncio.sleep(900)
            assert sim.writes() == writes
        assert overload.refused > 10 or not overloaded
        assert {ready for ready, _ in overload.reported} == {"True"}
        assert not [text for _, text in overload.reported if "overload" in text]
        written[overloaded] = len(overload.reported) - overload.unanswered

    virtual.run(main(overloaded=False))
    virtual.run(main(overloaded=True))
    assert written[True] <= written[False]


@pytest.mark.parametrize("status", [429, 500])
def test_a_new_set_says_nothing_of_an_overload_either(status: int) -> None:
    """It is under way until it can be made; nothing but that is written of it."""

    async def main() -> None:
        sim = Simulation()
        sim.cluster.pods.images[_IMAGE] = MemoryImage()
        sim.cluster.put_foreign_map("flows", "source", {"txt": "alpha"})
        overload = _Overload(sim, status, share=0.7)
        async with sim.operator():
            await asyncio.sleep(1)
            overload.lasts = True
            source = {"configMapKeyRef": {"name": "source", "key": "txt"}}
            python = {"image": _IMAGE}
            sim.cluster.apply("a", requirements=None, requirementsFrom=[source], python=python)
            await asyncio.sleep(600)
            overload.lasts = False
            await asyncio.sleep(900)
            assert sim.ready("a")[0] == "True", sim.cluster.sets["flows", "a"]["status"]
        assert overload.refused > 10
        assert not [text for _, text in overload.reported if "overload" in text]

    virtual.run(main())


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (500, 'Internal error occurred: failed calling webhook "odd.example.com": no endpoints'),
        (500, 'admission webhook "odd.example.com" denied the request: no owner'),
        (429, 'admission webhook "odd.example.com" denied the request: not now'),
    ],
)
def test_a_webhook_that_does_not_answer_or_refuses_is_told(status: int, refusal: str) -> None:
    """The API server answers like this for it, until somebody does something: that is no overload.
    The same where a set can't be deleted: it goes in the end."""

    async def main() -> None:
        sim = Simulation()
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("k", namespace="jobs")

        async def refuse(*_: Any, **__: Any) -> Any:
            raise ClusterError(status, "InternalError", refusal)

        cluster = cast("Any", sim.cluster)
        cluster.apply_config_map = refuse
        async with sim.operator():
            sim.cluster.apply("a", requirements=["alpha"], pools=["k"])
            await asyncio.sleep(300)
            assert sim.ready("a") == ("False", "Publishing")
            assert refusal in str(sim.cluster.sets["flows", "a"]["status"])
            del cluster.apply_config_map
            await asyncio.sleep(600)
            assert sim.ready("a")[0] == "True"
            cluster.delete_config_map = refuse
            sim.cluster.delete("a")
            await asyncio.sleep(1200)
            assert not sim.cluster.sets

    virtual.run(main())
