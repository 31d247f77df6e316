"""Whether a loop turns, on clocks of the test."""

import asyncio

from flowdeps.scheduling.heartbeat import STALL_SECONDS, Heartbeat
from tests.unit.scheduling import virtual


class _Thread:
    """What a thread has computed."""

    computed = 0.0

    def __call__(self) -> float:
        return self.computed


def test_a_loop_that_computes_for_long_without_a_turn_is_told() -> None:
    """Once for each time, with how long it was. What it computes by and by is no stall, and
    neither is waiting, however long a beat comes late."""
    found: list[float] = []

    async def main() -> None:
        thread = _Thread()
        heart = Heartbeat(clock=virtual.now, on_stall=found.append, computed=thread)
        beating = asyncio.create_task(heart.beat())
        for _ in range(100):  # busy, but it turns
            thread.computed += 0.09
            await asyncio.sleep(0.09)
        await asyncio.sleep(3600)
        assert found == []
        thread.computed += STALL_SECONDS + 1
        await asyncio.sleep(5)
        assert found == [STALL_SECONDS + 1]
        beating.cancel()

    virtual.run(main())


def test_others_see_how_long_it_has_stood_still() -> None:
    """Since its last beat, and not at all while it beats."""
    now = 1000.0

    async def main() -> None:
        nonlocal now
        heart = Heartbeat(clock=lambda: now)
        beating = asyncio.create_task(heart.beat())
        await asyncio.sleep(1)
        now += 30
        assert heart.still() == 30
        await asyncio.sleep(1)
        assert heart.still() == 0
        beating.cancel()

    virtual.run(main())
