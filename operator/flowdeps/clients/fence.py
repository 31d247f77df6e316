"""Lets writes through only while this process may write.

    fence.until(begin=…, end=…)     each time that the right to write is renewed
    async with fence.write(): …     around each request that changes something

A write begins only before `begin`, and is cut off at `end`, by a clock that also runs while the
machine sleeps: a process that wakes too late writes nothing. A renewal moves the end of writes that
are under way.

Writes are made in one event loop. All else may be called in another thread, as the Lease has one of
its own; a loop that stands still can't cut anything off, so whoever closes the fence has to look
whether something `is_writing` at its end.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self


def elapsed() -> float:
    """Return seconds by a clock that runs while the machine sleeps and that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class FenceClosedError(Exception):
    """This process may not write, or no longer."""

    def __init__(self) -> None:
        super().__init__("this process is not the active one, so it writes nothing")


class Fence:
    """Closed until the first `until`, and for good after `close`."""

    def __init__(self, *, clock: Callable[[], float] = elapsed) -> None:
        self._clock = clock
        self._begin = self._end = -math.inf
        self._closed = False
        self._under_way: set[asyncio.Timeout] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop: asyncio.AbstractEventLoop | None = None  # that of the writes

    @property
    def is_writing(self) -> bool:
        """Whether a write is under way."""
        return bool(self._under_way)

    @property
    def left(self) -> float:
        """The seconds until writes that are under way have to be over."""
        return self._end - self._clock()

    @classmethod
    def open(cls) -> Self:
        """Return one that lets everything through, until it is closed."""
        fence = cls()
        fence.until(begin=math.inf, end=math.inf)
        return fence

    def until(self, *, begin: float, end: float) -> None:
        """Let writes begin and go on until these moments of the clock."""
        self._begin, self._end = begin, end
        if self._loop:
            with suppress(RuntimeError):  # it is closed
                # Before what is due there by now: also in a loop that is late.
                self._loop.call_soon_threadsafe(self._move)

    def close(self) -> None:
        """Let no more write begin; those under way keep their end."""
        self._closed = True

    def check(self) -> None:
        """Raise FenceClosedError where no write may begin now."""
        if self._closed or self._clock() >= self._begin:
            raise FenceClosedError

    @asynccontextmanager
    async def write(self) -> AsyncIterator[None]:
        """Around a write. Raises FenceClosedError, and TimeoutError where it is cut off."""
        self.check()
        self._loop = asyncio.get_running_loop()
        async with asyncio.timeout_at(self._deadline()) as timeout:
            self._under_way.add(timeout)
            self._idle.clear()
            try:
                yield
            finally:
                self._under_way.discard(timeout)
                if not self._under_way:
                    self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Close, and wait up to so many seconds for the writes that are under way."""
        self.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    def _move(self) -> None:
        for one in self._under_way:
            if not one.expired():
                one.reschedule(self._deadline())

    def _deadline(self) -> float | None:
        """The end, in the time of the event loop."""
        left = self._end - self._clock()
        return None if math.isinf(left) else asyncio.get_running_loop().time() + left
