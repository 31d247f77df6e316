"""What `SingleFlight` and `Poller` share: things that take long to look up, a task for each.

A caller gives its key and never waits: it gets the value, a failure, or None while nothing is known
yet, and its key is called once that has changed. A failure is remembered until it is worth trying
again: after a pause that grows with each failure in a row, or after an hour where only a change of
the thing can help.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from flowdeps.scheduling.clock import Backoff, Clock, loop_time

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
    backoff: Backoff = RETRY
    clock: Clock = loop_time
    _tracked: dict[T, Tracked[K, V, R]] = field(default_factory=dict, init=False)

    async def close(self) -> None:
        """End all lookups."""
        tasks = [tracked.task for tracked in self._tracked.values() if tracked.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _try(
        self, tracked: Tracked[K, V, R], find: Callable[[], Awaitable[V]], *, what: str
    ) -> None:
        """Look something up once, and keep what that gives."""
        try:
            tracked.value = await find()
        except Exception as error:
            failure = self.to_failure(error, what)
            tracked.failures += 1
            pause = self.backoff(tracked.failures) if failure.retry else RETRY_SETTLED
            tracked.failure = replace(failure, until=self.clock() + pause)
        else:
            tracked.failure, tracked.failures = None, 0
        tracked.tried = self.clock()
