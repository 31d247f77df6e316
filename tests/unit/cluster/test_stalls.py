"""What `tests.support.stalls` finds: by the processor's time of a test, not of this machine."""

import asyncio
import gc

import pytest

from tests.support.stalls import watched
from tests.unit.scheduling import virtual


class _Processor:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize(("steps", "found"), [([0.9, 0.9], []), ([0.5, 1.5, 0.1], [1.5])])
@pytest.mark.parametrize("run", [asyncio.run, virtual.run])
def test_a_turn_that_computes_for_more_than_a_second_is_found(
    run: object, steps: list[float], found: list[float]
) -> None:
    """In any loop, also in a virtual one; what has turns between is none."""
    processor = _Processor()

    async def main() -> None:
        for step in steps:
            processor.seconds += step
            await asyncio.sleep(0)

    with watched(processor) as turns:
        run(main())  # type: ignore[operator]
    assert turns == found


def test_what_is_called_back_without_a_turn_counts_together() -> None:
    """The loop stands still for all of it."""
    processor = _Processor()

    def compute() -> None:
        processor.seconds += 0.4

    async def main() -> None:
        for _ in range(4):
            asyncio.get_running_loop().call_soon(compute)
        await asyncio.sleep(0)

    with watched(processor) as turns:
        asyncio.run(main())
    assert turns == [pytest.approx(1.6)]


def test_the_collector_of_garbage_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """It walks over what other tests have left."""
    processor = _Processor()

    def collects(phase: str, _: object) -> None:
        processor.seconds += 3 if phase == "stop" else 0

    async def main() -> None:
        gc.collect()
        await asyncio.sleep(0)

    monkeypatch.setattr(gc, "callbacks", [collects])
    with watched(processor) as turns:
        asyncio.run(main())
    assert turns == []


def test_waiting_is_no_stall() -> None:
    """However long nothing happens."""
    with watched() as turns:
        virtual.run(asyncio.sleep(3600))
    assert turns == []
