"""What `SingleFlight` and `Poller` share: things that take long to look up, a task for each.

A caller gives its key and never waits: it gets the value, a failure, or None while nothing is known
yet, and its key is called once that has changed. A failure is remembered until it is worth trying
again: after a pause that grows with each failure in a row, or after an hour where only a change of
the thing can help. What no key wants any more is not looked up to its end.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from flowdeps.scheduling.clock import Backoff, Clock, loop_time
from flowdeps.scheduling.limiter import Limiter, Turn

RETRY_SETTLED = 3600.0
"""Seconds until something is looked up again that failed for good."""

RETRY = Backoff(first=5.0)
"""Pauses until something is looked up again that failed for now."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=Hashable)
V = TypeVar("V")
R = TypeVar("R")


@dataclass(frozen=True)
class Failure(Generic[R]):
    """Why a tracked gave no value."""

    reason: R
    """The caller's own name for it."""
    message: str
    """What went wrong, for people; empty where it is nothing to them, and nothing is known yet."""
    retry: bool = True
    """Whether the same tracked may succeed soon, with nothing changed."""
    until: float = 0.0
    """Time of the clock until which it is not worth another try; set by the tracker."""


@dataclass
class Tracked(Generic[K, V, R]):
    """A thing that is looked up."""

    value: V | None = None
    failure: Failure[R] | None = None
    """Why the last try failed; None where it did not."""
    failures: int = 0
    """How many tries in a row failed."""
    tried: float = float("-inf")
    """When the last try ended."""
    keys: set[K] = field(default_factory=set)
    """The keys to call."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to have it looked up again now."""
    task: "asyncio.Task[None] | None" = None
    """What looks it up, or will do so again."""
    looking: bool = False
    """Whether it is being looked up right now."""
    ended: bool = False
    """Whether that ends early, as no key wants it any more."""
    turn: Turn | None = None
    """The turn that looking it up waits for, or has."""

    @property
    def known(self) -> V | Failure[R] | None:
        """What is known; a failure only where no value is."""
        return self.failure if self.value is None else self.value


@dataclass(kw_only=True)
class Tracker(Generic[K, T, V, R]):
    """Things and what is known of them."""

    call: Callable[[K], None]
    """Called with each key for which something has become known."""
    to_failure: Callable[[Exception, str], Failure[R]]
    """Turns an error and what was being done into a failure."""
    limiter: Callable[[T], Limiter | None] = lambda _: None
    """Who gives the turns of looking a thing up; None: whoever looks it up takes care of that."""
    group: Callable[[K], Hashable] = lambda key: key
    """Who is behind a key, for the limiter; by default each key is by itself."""
    backoff: Backoff = RETRY
    clock: Clock = loop_time
    _tracked: dict[T, Tracked[K, V, R]] = field(default_factory=dict, init=False)
    _closed: bool = field(default=False, init=False)

    async def close(self) -> None:
        """End all lookups; nobody is called."""
        self._closed = True
        tasks = [tracked.task for tracked in self._tracked.values() if tracked.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @asynccontextmanager
    async def turn(self, thing: T) -> AsyncIterator[None]:
        """A turn at looking up something, for all who want it by then."""
        limiter, tracked = self.limiter(thing), self._tracked[thing]
        if limiter is None:
            yield
            return
        tracked.turn = limiter.turn(*self._groups(tracked))
        try:
            async with tracked.turn:
                yield
        finally:
            tracked.turn = None

    def _join(self, tracked: Tracked[K, V, R], key: K) -> None:
        """Have a key called for a thing."""
        tracked.keys.add(key)
        if tracked.turn and self.group(key) not in tracked.turn.groups:
            tracked.turn.want(self._groups(tracked))

    def _leave(self, tracked: Tracked[K, V, R], key: K) -> None:
        """Have a key called no longer. A lookup ends when no key wants it any more, unless another
        one does so in the same moment."""
        tracked.keys.discard(key)
        if tracked.turn and tracked.turn.waits:
            tracked.turn.want(self._groups(tracked))

        def end() -> None:
            if tracked.task and tracked.looking and not tracked.keys and not tracked.ended:
                tracked.ended = True
                tracked.task.cancel()

        if not tracked.keys:
            asyncio.get_running_loop().call_soon(end)

    def _groups(self, tracked: Tracked[K, V, R]) -> list[Hashable]:
        """Who wants a thing, in an order that is the same each time."""
        return sorted({self.group(key) for key in tracked.keys}, key=str)

    async def _try(
        self, tracked: Tracked[K, V, R], find: Callable[[], Awaitable[V]], *, what: str
    ) -> None:
        """Look something up once, and keep what that gives; nothing if no key wants it any more."""
        tracked.looking = True
        try:
            tracked.value = await find()
        except asyncio.CancelledError:
            if self._closed or not tracked.ended:
                raise
            if task := asyncio.current_task():
                task.uncancel()
            return
        except Exception as error:
            failure = self.to_failure(error, what)
            tracked.failures += 1
            pause = self.backoff(tracked.failures) if failure.retry else RETRY_SETTLED
            tracked.failure = replace(failure, until=self.clock() + pause)
        else:
            tracked.failure, tracked.failures = None, 0
        finally:
            tracked.looking = tracked.ended = False
        tracked.tried = self.clock()
