"""A loop in a thread of its own."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from flowdeps.scheduling.own_thread import Apart


async def _thread() -> int:
    return threading.get_ident()


async def test_what_runs_apart_runs_in_another_thread_and_brings_its_result() -> None:
    """Or its error, as if it had run here."""

    async def fail() -> None:
        raise ValueError("odd")

    async with Apart("x") as apart:
        assert await apart.run(_thread()) == await apart.run(_thread()) != threading.get_ident()
        with pytest.raises(ValueError, match="odd"):
            await apart.run(fail())


async def test_it_goes_on_while_this_loop_stands_still() -> None:
    """Which is what it is for: here nothing is awaited until it is done."""
    asked, answered = threading.Event(), threading.Event()

    async def answer() -> None:
        while not asked.is_set():  # noqa: ASYNC110 - of another thread
            await asyncio.sleep(0.001)
        answered.set()

    async with Apart("x") as apart:
        apart.begin(answer())
        asked.set()
        assert answered.wait(30)


async def test_a_cancellation_is_over_when_it_has_ended_there() -> None:
    """What is cleaned up there is clean before anything else is done here."""
    happened: list[str] = []

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            happened.append("cleaned up")

    begun = threading.Event()
    async with Apart("x") as apart:
        task = asyncio.create_task(apart.run(work()))
        while not begun.is_set():  # noqa: ASYNC110 - of another thread
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert happened == ["cleaned up"]
        early = asyncio.create_task(apart.run(work()))
        await asyncio.sleep(0)
        early.cancel()
        with pytest.raises(asyncio.CancelledError):
            await early


async def test_a_context_begins_and_ends_there() -> None:
    """Also where the block ends in an error."""
    threads: list[int] = []

    @asynccontextmanager
    async def context() -> AsyncIterator[str]:
        threads.append(threading.get_ident())
        yield "entered"
        threads.append(threading.get_ident())

    async def fail(apart: Apart) -> None:
        async with apart.entered(context()) as entered:
            assert entered == "entered"
            raise ValueError("odd")

    async with Apart("x") as apart:
        with pytest.raises(ValueError, match="odd"):
            await fail(apart)
        assert threads == [await apart.run(_thread())] * 2


async def test_its_thread_ends_with_it() -> None:
    """And so does what was left to run there."""
    ended = threading.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    before = threading.active_count()
    async with Apart("x") as apart:
        apart.begin(work())
    assert ended.is_set()
    assert threading.active_count() <= before + 1  # the one that waited for its end
