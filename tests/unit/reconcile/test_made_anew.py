"""Sets that are deleted and made anew under their names: told by the simulation."""

import asyncio
from typing import Any

from tests.unit.reconcile.simulation import Body, Simulation
from tests.unit.reconcile.test_life import HOUR, play, settled


def test_a_set_made_anew_during_a_pass_is_not_told_what_was_found_of_the_old_one() -> None:
    """`kubectl replace --force`: both are of generation 1, so only the uid tells their specs
    apart."""

    async def script(sim: Simulation) -> None:
        delete_config_map, apply_status = sim.cluster.delete_config_map, sim.cluster.apply_status
        told: list[tuple[str, bool]] = []

        async def replace(**given: Any) -> bool:
            gone = await delete_config_map(**given)
            sim.cluster.delete("ml")
            sim.cluster.apply("ml", requirements=["impossible"])
            await asyncio.sleep(0.1)  # until the watch has told it
            return gone

        async def tell(**given: Any) -> Body:
            told.append((given["uid"], "lock" in given["status"]))
            return await apply_status(**given)

        sim.cluster.delete_config_map = replace  # type: ignore[method-assign]
        sim.cluster.apply_status = tell  # type: ignore[method-assign]
        sim.cluster.apply("ml", interval="1h", revisionHistoryLimit=0)
        async with sim.operator():
            await asyncio.sleep(0.5 * HOUR)
            sim.index.release = 2  # the refresh lets the first revision go
            await asyncio.sleep(HOUR)
        assert sim.ready("ml") == ("False", "Unsatisfiable")
        new = sim.cluster.sets["flows", "ml"]["metadata"]["uid"]
        assert new != "uid-1"
        assert (new, True) not in told
        await settled(sim)

    play(script)
