"""Read things when they are first needed, and again now and then as long as a key needs them.

The keys that need a thing are called when it has become known and when it has changed. What can't
be read for now (an outage) stays what it was: a failure is only shown where nothing is known yet. A
thing that is gone is no outage; its reader returns that as a value.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from flowdeps.scheduling.tracking import Failure, K, R, T, Tracked, Tracker, V


@dataclass(kw_only=True)
class Poller(Tracker[K, T, V, R]):
    """Things and what they are."""

    read: Callable[[T, V | None], Awaitable[tuple[V, float]]]
    """Gets a thing and what it was, returns what it is and in how many seconds to read it again."""
    least: float = 1.0
    """Seconds between two reads of a thing, however often it is asked for."""
    _needs: dict[K, frozenset[T]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._context = contextvars.copy_context()

    def need(self, key: K, things: frozenset[T]) -> None:
        """Name all things that `key` needs; others that it needed before are let go."""
        for thing in sorted(self._needs.pop(key, frozenset()) - things, key=str):
            tracked = self._tracked[thing]
            self._leave(tracked, key)
            if not tracked.keys:
                tracked.wake.set()
        if things:
            self._needs[key] = things
        for thing in sorted(things, key=str):
            tracked = self._tracked.setdefault(thing, Tracked())
            self._join(tracked, key)
            if tracked.task is None:
                tracked.task = asyncio.create_task(self._begin(thing, tracked))

    def tracks(self, thing: T) -> bool:
        """Return whether something is needed already, or was a moment ago."""
        return thing in self._tracked

    def needs(self, key: K) -> frozenset[T]:
        """Return all things that `key` needs."""
        return self._needs.get(key, frozenset())

    def wanted_by(self, thing: T) -> frozenset[K]:
        """Return the keys that need a thing."""
        tracked = self._tracked.get(thing)
        return frozenset(tracked.keys if tracked else ())

    def get(self, thing: T) -> V | Failure[R] | None:
        """Return what a needed thing is; None: not known yet, its keys are called when it is."""
        return self._tracked[thing].known

    def poll(self, key: K) -> None:
        """Read now what `key` needs."""
        for thing in self._needs.get(key, ()):
            self._tracked[thing].wake.set()

    def poll_thing(self, thing: T, *, older_than: float = 0.0) -> None:
        """Read a needed thing now if it was read at least so many seconds ago."""
        tracked = self._tracked[thing]
        if self.clock() - tracked.tried >= older_than:
            tracked.wake.set()

    def waits(self, key: K) -> bool:
        """Return whether something that `key` needs is being read for the first time."""
        return any(self.get(thing) is None for thing in self._needs.get(key, ()))

    def needed(self) -> frozenset[T]:
        """Return all things that a key needs."""
        return frozenset(thing for thing, tracked in self._tracked.items() if tracked.keys)

    async def _begin(self, thing: T, tracked: Tracked[K, V, R]) -> None:
        pause = await self._read_once(thing, tracked) if tracked.keys else 0.0
        # What follows is done for all who need the thing, in the context of none of them.
        tracked.task = asyncio.create_task(
            self._go_on(thing, tracked, pause), context=self._context.copy()
        )

    async def _go_on(self, thing: T, tracked: Tracked[K, V, R], pause: float) -> None:
        while tracked.keys:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await tracked.wake.wait()
            await asyncio.sleep(max(0.0, tracked.tried + self.least - self.clock()))
            if tracked.keys:
                pause = await self._read_once(thing, tracked)
        del self._tracked[thing]

    async def _read_once(self, thing: T, tracked: Tracked[K, V, R]) -> float:
        """Read a thing, call whom that concerns, and return how long to wait."""
        before, pause = tracked.known, 0.0
        tracked.wake.clear()

        async def find() -> V:
            nonlocal pause
            async with self.turn(thing):
                value, pause = await self.read(thing, tracked.value)
            return value

        await self._try(tracked, find, what=f"reading {thing}")
        if _differs(before, tracked.known):
            for key in sorted(tracked.keys, key=str):
                self.call(key)
        return tracked.failure.until - tracked.tried if tracked.failure else pause


def _differs(before: object, now: object) -> bool:
    """Return whether something has changed; a failure only by its message."""
    if isinstance(before, Failure) and isinstance(now, Failure):
        return before.message != now.message
    return before != now
