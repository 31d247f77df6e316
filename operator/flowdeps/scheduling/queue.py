"""A keyed queue: what to handle, and when.

- A key is in the queue at most once. Adding it again can make it due earlier, never later.
- Keys that are due take turns by group (see `limiter`): no group keeps the others waiting.
- A key is handled by one worker at a time. If it is added meanwhile, it is handled once more
  afterwards: no change is lost, and none is handled twice at once.
- A handler that returns a number is called again after that many seconds; one that raises, after a
  pause that grows with each failure in a row.

Nothing is kept across a restart: whatever starts the queue adds every key.
"""

import asyncio
import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from flowdeps.scheduling.clock import Backoff, Clock, loop_time
from flowdeps.scheduling.limiter import Limiter, Turn

K = TypeVar("K", bound=Hashable)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueueHealth:
    """How many keys are in which state; ages in seconds, 0.0 where there are none."""

    ready: int
    delayed: int
    running: int
    oldest_ready: float
    longest_running: float


@dataclass
class Queue(Generic[K]):
    """Keys with due times, handled by at most `workers` tasks at once, one less of one group."""

    handle: Callable[[K], Awaitable[float | None]]
    workers: int = 16
    group: Callable[[K], Hashable] = lambda key: key
    """Who is behind a key; by default each key is by itself."""
    on_error: Callable[[K, Exception], None] = lambda _key, _error: None
    backoff: Backoff = field(default_factory=Backoff)
    clock: Clock = loop_time

    _due: dict[K, float] = field(default_factory=dict)
    _heap: list[tuple[float, int, K]] = field(default_factory=list)
    _order: "itertools.count[int]" = field(default_factory=itertools.count)
    _running: dict[K, float] = field(default_factory=dict)
    _again: dict[K, float] = field(default_factory=dict)
    _turns: dict[K, Turn] = field(default_factory=dict)
    """Those of keys that are due, or being handled."""
    _failures: dict[K, int] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, key: K, *, after: float = 0.0) -> None:
        """Handle `key` once more, `after` seconds from now at the latest."""
        due = self.time() + after
        if key in self._running:
            self._again[key] = min(due, self._again.get(key, due))
            return
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))
        self._wake.set()

    def time(self) -> float:
        """Return the time by the clock of due times, in seconds."""
        return self.clock()

    def busy(self, key: K) -> bool:
        """Return whether `key` is being handled, or would be if a worker were free."""
        now = self.time()
        return key in self._running or self._due.get(key, float("inf")) <= now

    def health(self) -> QueueHealth:
        """Return the queue's state; cheap enough for each scrape of the metrics."""
        now = self.time()
        ready = [due for due in self._due.values() if due <= now]
        return QueueHealth(
            ready=len(ready),
            delayed=len(self._due) - len(ready),
            running=len(self._running),
            oldest_ready=now - min(ready, default=now),
            longest_running=now - min(self._running.values(), default=now),
        )

    async def run(self) -> None:
        """Handle keys until cancelled; cancels what is being handled with it."""
        async with asyncio.TaskGroup() as tasks:
            limiter = Limiter(self.workers)
            try:
                while True:
                    key = await self._next()
                    turn = self._turns[key] = limiter.turn(self.group(key))
                    turn.begin = partial(self._begin, key, tasks)
                    limiter.enter(turn)
            finally:
                limiter.at_once = 0  # what ends from now on lets nothing begin

    def _begin(self, key: K, tasks: asyncio.TaskGroup) -> None:
        del self._due[key]
        self._running[key] = self.time()
        tasks.create_task(self._handle(key))

    async def _next(self) -> K:
        """Return the next key that is due."""
        while True:
            self._wake.clear()
            wait: float | None = None
            while self._heap:
                due, _, key = self._heap[0]
                if self._due.get(key) != due:
                    heapq.heappop(self._heap)  # made earlier meanwhile
                elif due <= self.time():
                    heapq.heappop(self._heap)
                    return key
                else:
                    wait = due - self.time()
                    break
            # Not wait_for: before Python 3.12 it loses a cancellation that comes with an add.
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    async def _handle(self, key: K) -> None:
        after: float | None
        try:
            after = await self.handle(key)
            self._failures.pop(key, None)
        except Exception as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            after = self.backoff(failures)
            log.warning("%s failed %d times, next try in %.0f s: %s", key, failures, after, error)
            self.on_error(key, error)
        finally:
            del self._running[key]
            turn = self._turns.pop(key)
            turn.limiter.leave(turn)
        again = self._again.pop(key, None)
        if after is not None:
            self.add(key, after=after)
        if again is not None:
            self.add(key, after=max(0.0, again - self.time()))
