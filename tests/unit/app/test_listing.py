"""How a list of all sets is taken in."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from flowdeps.app.service import RESYNC_SECONDS
from flowdeps.clients.kubernetes.errors import ClusterError
from tests.unit.reconcile.simulation import Simulation
from tests.unit.scheduling import virtual


def test_sets_are_parsed_as_they_come() -> None:
    """Ten thousand at once would hold up the event loop for seconds."""

    async def main() -> None:
        sim = Simulation()
        for number in range(5):
            sim.cluster.apply(f"s{number}", requirements=["alpha"])
        known: list[int] = []
        each = sim.cluster.each_set

        async def noted(*given: Any) -> AsyncIterator[Any]:
            async for body in each(*given):
                known.append(len(service.context.store.sets))
                yield body

        cast("Any", sim.cluster).each_set = noted
        async with sim.operator() as service:
            await asyncio.sleep(60)
        assert known[:5] == [0, 1, 2, 3, 4]

    virtual.run(main())


def test_the_loop_turns_after_each_set_of_a_page() -> None:
    """A page comes as one, and parsing one set of it takes up to a sixth of a second."""

    async def main() -> None:
        sim = Simulation()
        for number in range(5):
            sim.cluster.apply(f"s{number}", requirements=["alpha"])
        bodies = [body async for body in sim.cluster.each_set()]
        turns = 0
        seen: list[int] = []

        async def tick() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async def page(*_: Any) -> AsyncIterator[Any]:
            ticking = asyncio.create_task(tick())
            for body in bodies:
                seen.append(turns)
                yield body
            ticking.cancel()

        cast("Any", sim.cluster).each_set = page
        async with sim.operator():
            await asyncio.sleep(60)
        assert len(set(seen[:5])) == 5

    virtual.run(main())


def test_what_a_list_brought_before_it_failed_is_not_forgotten() -> None:
    """The set is known, so no later list reports it as new: it is reconciled at once."""

    async def main() -> None:
        sim = Simulation()
        each = sim.cluster.each_set

        async def failing(*given: Any) -> AsyncIterator[Any]:
            async for body in each(*given):
                yield body
            raise ClusterError(503, "X", "overload")

        async with sim.operator():
            await asyncio.sleep(60)
            sim.cluster.watch.connect(None)  # it brings nothing
            sim.cluster.apply("a", requirements=["alpha"])
            cast("Any", sim.cluster).each_set = failing
            await asyncio.sleep(RESYNC_SECONDS + 120)
            assert sim.passes["flows/a"]

    virtual.run(main())
