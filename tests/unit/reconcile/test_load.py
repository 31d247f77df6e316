"""Many teams' sets beside a namespace that does its worst: how long they take, in simulated time.

What the operator computes takes no time here; tests/bench measures that against a real API server.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from flowdeps.api.resource import parse_spec
from tests.support import load
from tests.support.load import FULL, HOSTILE, SMALL, TEXTS, Size
from tests.support.night import NIGHT
from tests.unit.reconcile.simulation import MemoryImage, Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, play
from tests.unit.scheduling import virtual
from tests.unit.state.bodies import set_body

_IMAGE = "registry.example.com/good:1"


def times_to_ready(size: Size, *, hostile: bool) -> list[float]:
    """How long each set of a team takes from `kubectl apply` to Ready."""
    found: list[float] = []

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces |= {HOSTILE, *size.teams}
        sim.cluster.pods.images[_IMAGE] = MemoryImage()
        for number, pool in enumerate(size.pool_names()):
            sim.prefect.make(pool, namespace=size.teams[number % size.namespaces])
        async with sim.operator():
            under_way = asyncio.create_task(_be_hostile(sim, size)) if hostile else None
            await asyncio.sleep(MINUTE)
            waiting: dict[tuple[str, str], float] = {}
            for number, one in enumerate(load.sets_of_teams(size)):
                # A third is tried in its image.
                python: dict[str, Any] = {} if number % 3 else {"python": {"image": _IMAGE}}
                sim.cluster.apply(**one, **python)
                waiting[one["namespace"], one["name"]] = virtual.now()
                found.extend(await _ready(sim, waiting, seconds=size.apart))
            found.extend(await _ready(sim, waiting, seconds=HOUR))
            assert not waiting, f"never Ready: {sorted(waiting)[:5]}"
            if under_way:
                under_way.cancel()

    play(script)
    assert len(found) == size.sets
    return found


async def _be_hostile(sim: Simulation, size: Size) -> None:
    sim.cluster.put_foreign_map(HOSTILE, TEXTS, load.long_texts())
    for number in range(size.forged):
        data = {"requirements.txt": "evil==1.0\n" * 1000, "lock.json": "{}"}
        sim.cluster.put_foreign_map(HOSTILE, f"forged-{number}", data, labels=load.FORGED)
    for number in range(size.hanging):
        image = f"registry.example.com/hangs:{number}"
        sim.cluster.pods.images[image] = MemoryImage(hangs=True)
    for one in load.hostile_sets(size):
        sim.cluster.apply(**one)
    while True:
        for one in load.hostile_edits(size):
            sim.cluster.apply(**one)
            await asyncio.sleep(1)


async def _ready(
    sim: Simulation, waiting: dict[tuple[str, str], float], *, seconds: float
) -> list[float]:
    """Wait so long, or until none waits any more; returns the times of those that are Ready."""
    found: list[float] = []
    end = virtual.now() + seconds
    while virtual.now() < end:
        await asyncio.sleep(0.25)
        for (namespace, name), since in list(waiting.items()):
            if sim.ready(name, namespace=namespace) == ("True", "Ready"):
                found.append(virtual.now() - since)
                del waiting[namespace, name]
        if not waiting and seconds == HOUR:
            break
    return found


def test_sets_take_no_more_than_twice_as_long_beside_a_hostile_namespace(
    measured: Callable[[str], None],
) -> None:
    """Half of them, nearly all, and the slowest."""
    size = FULL if NIGHT else SMALL
    before = times_to_ready(size, hostile=False)
    beside = times_to_ready(size, hostile=True)
    measured(load.report(before, beside))
    for one, two in zip(load.quantiles(before), load.quantiles(beside), strict=True):
        assert two <= 2 * one


def test_what_the_hostile_namespace_asks_for_is_allowed() -> None:
    """Sets that are refused at once would keep no operator busy."""
    asked = [*load.hostile_sets(SMALL), *load.hostile_edits(SMALL)]
    assert len({one["name"].partition("-")[0] for one in asked}) == 5
    for one in asked:
        parse_spec(set_body(**one))
