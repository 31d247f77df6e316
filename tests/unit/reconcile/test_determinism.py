"""The simulation is the same each time, so a failure that it finds once can be found again."""

import asyncio
import os
import subprocess
import sys

from tests.unit.reconcile.simulation import MemoryImage, Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, OUTAGE, play


def trace() -> list[tuple[float, str]]:
    """What is reconciled and when, in a history with rivals, faults, pauses and a kill."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("k", namespace="jobs")
        sim.prefect.make("l", namespace="jobs")
        sim.cluster.pods.images["registry.example.com/flows:1"] = MemoryImage()
        async with sim.operator():
            for name in ("a", "b", "c", "d"):
                pools = [{"name": "k", "key": "x" if name in "ab" else name}, {"name": "l"}]
                sim.cluster.apply(name, pools=pools, python={}, interval="1h")
            await asyncio.sleep(10 * MINUTE)
            sim.prefect.outage = OUTAGE
            sim.index.away = True
            sim.cluster.apply("a", pools=["l"], requirements=["alpha", "impossible"])
            await asyncio.sleep(HOUR)
        sim.cluster.away = True
        async with sim.operator():
            await asyncio.sleep(HOUR)
            sim.cluster.away = sim.index.away = False
            sim.prefect.outage = None
            sim.cluster.delete("b")
            await asyncio.sleep(HOUR)

    return play(script).trace


def test_two_simulations_of_one_history_give_the_same_trace() -> None:
    """In one process, and in another that orders its sets differently."""
    first = trace()
    assert len(first) > 100
    assert trace() == first
    program = f"from {__name__} import trace; print(trace())"
    other = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert other.stdout == f"{first}\n"
