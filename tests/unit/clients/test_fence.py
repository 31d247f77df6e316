"""The fence: what may be written, and until when."""

import asyncio

import pytest

from flowdeps.clients.fence import Fence, FenceClosedError


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def _written(fence: Fence) -> bool:
    try:
        async with fence.write():
            return True
    except FenceClosedError:
        return False


async def test_it_is_closed_at_first_and_open_until_its_time() -> None:
    """Nothing is written before the right to write is there, nor from its end on."""
    clock = _Clock()
    fence = Fence(clock=clock)
    assert not await _written(fence)
    fence.until(begin=1010, end=1012)
    assert await _written(fence)
    clock.now = 1010
    assert not await _written(fence)
    fence.until(begin=1020, end=1022)
    assert await _written(fence)


async def test_once_closed_it_stays_closed() -> None:
    """A renewal that is answered late opens nothing again."""
    fence = Fence.open()
    assert await _written(fence)
    fence.close()
    fence.until(begin=float("inf"), end=float("inf"))
    assert not await _written(fence)


async def test_a_write_is_cut_off_at_the_end() -> None:
    """What hangs ends before another may write."""
    clock = _Clock()
    fence = Fence(clock=clock)
    fence.until(begin=1010, end=1000.05)
    with pytest.raises(TimeoutError):
        async with fence.write():
            await asyncio.Event().wait()


async def test_a_renewal_lets_what_is_under_way_go_on() -> None:
    """A slow write lasts longer than one renewal holds."""
    clock = _Clock()
    fence = Fence(clock=clock)
    fence.until(begin=1010, end=1000.05)
    async with fence.write():
        fence.until(begin=2000, end=2000)
        await asyncio.sleep(0.2)


async def test_draining_waits_for_what_is_under_way_and_lets_nothing_begin() -> None:
    """In good order: the last writes are finished, and no other is begun."""
    fence, go = Fence.open(), asyncio.Event()
    done = []

    async def write() -> None:
        async with fence.write():
            await go.wait()
            done.append("first")

    writing = asyncio.create_task(write())
    await asyncio.sleep(0)
    draining = asyncio.create_task(fence.drain(60))
    await asyncio.sleep(0)
    assert not await _written(fence)
    assert not draining.done()
    go.set()
    await draining
    assert done == ["first"]
    await writing


async def test_draining_gives_up() -> None:
    """A write that hangs does not hold up the end for ever."""
    fence = Fence.open()

    async def hang() -> None:
        async with fence.write():
            await asyncio.Event().wait()

    hanging = asyncio.create_task(hang())
    await asyncio.sleep(0)
    await fence.drain(0.05)
    assert not hanging.done()
    hanging.cancel()
