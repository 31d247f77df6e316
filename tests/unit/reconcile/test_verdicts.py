"""What pools say of sets while one or the other changes or fails: told by the simulation."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.reconcile.simulation import Simulation
from tests.unit.reconcile.test_life import play, settled
from tests.unit.reconcile.test_locks import conditions


def test_a_set_that_changes_while_its_template_is_written_is_not_ready_before_the_next_write() -> (
    None
):
    """The write that is under way has its old key: a deployment with the new one would be
    refused."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=[{"name": "k", "key": "old"}])
        sim.cluster.apply("other", pools=["k"])
        await settled(sim)
        write = sim.prefect.write

        async def slow(name: str, template: Mapping[str, Any]) -> None:
            sim.prefect.write = write  # type: ignore[method-assign]
            sim.cluster.apply("ml", pools=[{"name": "k", "key": "new"}])
            await asyncio.sleep(1)
            await write(name, template)

        sim.prefect.write = slow  # type: ignore[method-assign]
        async with sim.operator():
            sim.cluster.apply("other", pools=[{"name": "k", "key": "another"}])
            await asyncio.sleep(0.5)
            for _ in range(600):
                await asyncio.sleep(0.1)
                if sim.ready("ml") == ("True", "Ready"):
                    assert "new" in sim.prefect.keys("k")
            assert sim.ready("ml") == sim.ready("other") == ("True", "Ready")
            assert sim.prefect.keys("k") == ["another", "new"]
        await settled(sim)

    play(script)


@pytest.mark.parametrize("younger", [False, True])
def test_a_set_that_never_could_be_read_is_told_its_mistake_and_of_no_rival(younger: bool) -> None:
    """It claims no key, so there is no older set in its way: it waits for a lock, whether a
    younger one serves the key meanwhile or nobody does."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", requirements=["no good"], pools=["k"])
        await settled(sim)
        if younger:
            sim.cluster.apply("other", pools=[{"name": "k", "key": "ml"}])
            await settled(sim)
            assert sim.ready("other") == ("True", "Ready")
        assert sim.ready("ml") == ("False", "InvalidSpec")
        assert conditions(sim)["PoolsSynced"] == ("False", "Pending", "waits for a lock")

    play(script)
