"""What nobody foresaw, from a tenant or within: one thing suffers from it, all others go on."""

import asyncio
from typing import Any

import pytest

from flowdeps.api.names import MANAGED_BY, MANAGED_BY_LABEL, SET_LABEL
from tests.unit.reconcile.simulation import Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, play


@pytest.mark.parametrize("when", ["before the start", "later"])
def test_no_config_map_of_a_tenant_ends_the_operator(when: str) -> None:
    """A ConfigMap with our labels and a manifest that is nested without end is damaged like any
    other: the sets of all others are served, also by an operator that finds it at its start."""

    def bomb(sim: Simulation) -> None:
        sim.cluster.put_foreign_map("team", "flowdeps-x", {"lock.json": "[" * 200_000})
        labels = {MANAGED_BY_LABEL: MANAGED_BY, SET_LABEL: "x"}
        sim.cluster.maps["team", "flowdeps-x"]["metadata"]["labels"] = labels

    async def script(sim: Simulation) -> None:
        if when == "before the start":
            bomb(sim)
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            if when == "later":
                bomb(sim)
            await asyncio.sleep(HOUR)
            sim.cluster.apply("ml")
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("True", "Ready")

    play(script)


@pytest.mark.parametrize("what", ["each_set", "read_all"])
def test_a_mistake_in_one_loop_ends_no_other(what: str, caplog: pytest.LogCaptureFixture) -> None:
    """What the lists or the poll did not foresee is logged and passes: afterwards a template that
    drifts is mended, and a set that no watch brings is found, as ever."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        original = sim.prefect.pools["k"].template
        async with sim.operator():
            sim.cluster.apply("ml", pools=["k"])
            await asyncio.sleep(MINUTE)
            client: Any = sim.cluster if what == "each_set" else sim.prefect
            method = getattr(client, what)

            def broken(*_: Any, **__: Any) -> Any:
                setattr(client, what, method)
                raise RuntimeError("nobody thought of this")

            setattr(client, what, broken)
            await asyncio.sleep(HOUR)
            sim.prefect.edit("k", **original)
            sim.cluster.watch.missed = lambda _event: True
            sim.cluster.apply("new", requirements=["alpha"], pools=["k"])
            await asyncio.sleep(15 * MINUTE)
            assert sim.prefect.keys("k") == ["ml", "new"]

    play(script)
    assert [one.message for one in caplog.records if one.exc_info] == [
        "a mistake in flowdeps; what it ended begins anew in a minute"
    ]
