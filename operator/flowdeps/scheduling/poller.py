"""Things outside that sets depend on: read when first needed, read again now and then.

Each thing has one task, which reads it, waits, and reads it again as long as anybody needs it.
Who needs it is called when it has become known, and when it differs from what was known. What
can't be read for now (an outage) stays what it was: a failure is only shown where nothing is
known yet. That a thing is gone is no outage; a reader returns that as a value.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from flowdeps.scheduling.queue import backoff
from flowdeps.scheduling.single_flight import Explain, Failure, foreseen
from flowdeps.state.store import SetKey
from flowdeps.telemetry import logs

log = logging.getLogger(__name__)

_FIRST_RETRY = 5.0
_LONGEST_RETRY = 300.0

T = TypeVar("T", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True)
class Reading(Generic[V]):
    """What a thing is, and in how many seconds to look again."""

    value: V
    again: float


@dataclass
class _State(Generic[V]):
    needed_by: set[SetKey] = field(default_factory=set)
    value: V | None = None
    failure: Failure | None = None
    looked_at: float = float("-inf")
    look: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None


class Poller(Generic[T, V]):
    """Things and what they are; `call` is told each set whose things changed."""

    def __init__(
        self,
        read: Callable[[T, V | None], Awaitable[Reading[V]]],
        call: Callable[[SetKey], None],
        *,
        explain: Explain,
        at_once: int = 8,
    ) -> None:
        """`read` gets the thing and what it was; at most `at_once` reads run at a time."""
        self._read = read
        self._call = call
        self._explain = explain
        self._turn = asyncio.Semaphore(at_once)
        self._states: dict[T, _State[V]] = {}
        self._needs: dict[SetKey, frozenset[T]] = {}

    def need(self, key: SetKey, things: frozenset[T]) -> None:
        """Say all that a set needs; what it needed before and no more is let go."""
        for thing in self._needs.get(key, frozenset()) - things:
            if state := self._states.get(thing):
                state.needed_by.discard(key)
                if not state.needed_by:
                    state.look.set()
        if things:
            self._needs[key] = things
        else:
            self._needs.pop(key, None)
        for thing in things:
            state = self._states.setdefault(thing, _State())
            state.needed_by.add(key)
            if state.task is None:
                state.task = asyncio.create_task(self._follow(thing, state))

    def get(self, thing: T) -> V | Failure | None:
        """What a needed thing is; None: not known yet, who needs it is called."""
        state = self._states[thing]
        return state.failure if state.value is None else state.value

    def look(self, key: SetKey) -> None:
        """Read now what a set needs."""
        for thing in self._needs.get(key, ()):
            self._states[thing].look.set()

    def look_at(self, thing: T, *, older_than: float = 0.0) -> None:
        """Read a needed thing now if the last look at it is so many seconds old."""
        state = self._states[thing]
        if asyncio.get_running_loop().time() - state.looked_at >= older_than:
            state.look.set()

    def waits(self, key: SetKey) -> bool:
        """Whether something that a set needs is being read for the first time."""
        return any(self.get(thing) is None for thing in self._needs.get(key, ()))

    def followed(self) -> frozenset[T]:
        """All that somebody needs."""
        return frozenset(thing for thing, state in self._states.items() if state.needed_by)

    async def close(self) -> None:
        """End all reading."""
        tasks = [state.task for state in self._states.values() if state.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, thing: T, state: _State[V]) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while state.needed_by:
            state.look.clear()
            before = state.failure if state.value is None else state.value
            try:
                async with self._turn:
                    reading = await self._read(thing, state.value)
            except Exception as error:
                failures += 1
                why = foreseen(error, self._explain, what=f"reading {thing}")
                pause = backoff(failures, first=_FIRST_RETRY, longest=_LONGEST_RETRY)
                state.failure = Failure(why.reason, why.message, loop.time() + pause)
                known = isinstance(before, Failure) and before.message == why.message
                changed = state.value is None and not known
            else:
                failures, pause, state.failure = 0, reading.again, None
                changed = reading.value != before
                state.value = reading.value
            state.looked_at = loop.time()
            if changed:
                for key in state.needed_by:
                    self._call(key)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await state.look.wait()
            logs.enter()  # from now on it is read for all who need it, by no pass
        del self._states[thing]
