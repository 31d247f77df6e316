"""An event loop in a thread of its own, for what has to go on while the main loop is busy.

    async with Apart("health") as apart:
        answer = await apart.run(ask())
        async with apart.entered(client()) as one:    # begins and ends there
            …

Python gives each thread its turn, so a computation in one loop slows the other down, and no more.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Apart:
    """The loop and its thread, called `name`; both end with the block, and what runs there too."""

    def __init__(self, name: str) -> None:
        self._begun = threading.Event()
        # A daemon: a process that must end does not wait for it.
        self._thread = threading.Thread(target=self._turn, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    async def __aenter__(self) -> Self:
        self._thread.start()
        self._begun.wait()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there; returns what it returns, or raises it.

        A cancellation cancels it there, and is over when it has ended.
        """
        here = asyncio.get_running_loop()
        done: asyncio.Future[T] = here.create_future()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            tasks.append(task := self._loop.create_task(work))
            task.add_done_callback(tell)

        def tell(task: asyncio.Task[T]) -> None:
            with suppress(RuntimeError):  # nobody is there any more
                here.call_soon_threadsafe(finish, task)

        def finish(task: asyncio.Task[T]) -> None:
            if task.cancelled():
                done.cancel()
            elif error := task.exception():
                done.set_exception(error)
            else:
                done.set_result(task.result())

        self._loop.call_soon_threadsafe(begin)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            await asyncio.wait({done})
            raise

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin a coroutine there, and leave it alone; it ends with the block at the latest."""
        self._loop.call_soon_threadsafe(lambda: self._kept.add(self._loop.create_task(work)))

    @asynccontextmanager
    async def entered(self, context: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
        """Enter a context there, and leave it there."""
        entered = await self.run(_enter(context))
        try:
            yield entered
        finally:
            await self.run(_leave(context))

    def _turn(self) -> None:
        async def wait() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            self._kept: set[asyncio.Task[None]] = set()
            self._begun.set()
            await self._stop.wait()

        asyncio.run(wait())


async def _enter(context: AbstractAsyncContextManager[T]) -> T:
    return await context.__aenter__()


async def _leave(context: AbstractAsyncContextManager[Any]) -> None:
    await context.__aexit__(None, None, None)
