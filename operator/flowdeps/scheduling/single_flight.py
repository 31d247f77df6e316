"""Look something up once for all keys that ask, and keep the answer for a while.

Equal questions are one question, whichever keys ask them. A key waits for one answer at a time: if
it asks something else, or nothing any more, it has withdrawn its question.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flowdeps.scheduling.tracking import RETRY_SETTLED, Failure, K, R, T, Tracked, Tracker, V

_UNASKED = 60.0
"""Seconds that an answer is kept at most that nobody has asked for last: others may still."""


@dataclass(kw_only=True)
class SingleFlight(Tracker[K, T, V, R]):
    """Questions and answers; each key that asked is called when the answer is there."""

    what: str
    """Names the questions in the log."""
    keep: float = 60.0
    """Seconds that an answer is kept, if whoever asked for it has asked nothing else since."""
    _waiting: dict[K, T] = field(default_factory=dict, init=False)
    _asked: dict[K, T] = field(default_factory=dict, init=False)
    """What each key has asked last."""
    _askers: dict[T, set[K]] = field(default_factory=lambda: defaultdict(set), init=False)
    """The keys that have asked a question last."""

    def ask(self, key: K, question: T, find: Callable[[], Awaitable[V]]) -> V | Failure[R] | None:
        """Return the answer to a question; None: `key` is called when it is there.

        `find` finds it, and is only called where no earlier call of it is under way.
        """
        self.tidy()
        if self._asked.get(key) != question:
            self.withdraw(key)
            self._asked[key] = question
            self._askers[question].add(key)
        tracked = self._tracked.setdefault(question, Tracked())
        if tracked.value is not None:
            return tracked.value
        if tracked.failure and self.clock() < tracked.failure.until:
            return tracked.failure
        self._join(tracked, key)
        self._waiting[key] = question
        if tracked.task is None:
            tracked.task = asyncio.create_task(self._answer(question, tracked, find))
        return None

    @contextmanager
    def asking(self, key: K) -> Iterator[None]:
        """Withdraw what `key` waits for and does not ask again in here."""
        waited, asked = self._waiting.pop(key, None), self._asked.pop(key, None)
        if asked is not None:
            self._askers[asked].discard(key)
        try:
            yield
        finally:
            if waited is not None and self._waiting.get(key) != waited:
                self._leave(self._tracked[waited], key)
            if asked is not None and not self._askers[asked]:
                del self._askers[asked]

    def withdraw(self, key: K) -> None:
        """Withdraw what `key` waits for."""
        with self.asking(key):
            pass

    def waits(self, key: K) -> bool:
        """Return whether `key` waits for an answer."""
        return key in self._waiting

    def running(self) -> int:
        """Return how many questions wait for their answer."""
        return sum(tracked.task is not None for tracked in self._tracked.values())

    def tidy(self) -> None:
        """Forget answers that are old; to be called now and then."""
        now = self.clock()
        for question, tracked in list(self._tracked.items()):
            kept = self.keep if question in self._askers else min(self.keep, _UNASKED)
            kept = kept if tracked.value is not None else 2 * RETRY_SETTLED
            if tracked.task is None and now - tracked.tried > kept:
                del self._tracked[question]

    def forget(self) -> None:
        """Forget all answers; failures stay, and so does what is under way."""
        kept = {one: tracked for one, tracked in self._tracked.items() if tracked.value is None}
        self._tracked = kept

    async def _answer(
        self, question: T, tracked: Tracked[K, V, R], find: Callable[[], Awaitable[V]]
    ) -> None:
        await self._try(tracked, find, what=self.what)
        tracked.task = None
        keys, tracked.keys = tracked.keys, set()
        for key in sorted(keys, key=str):
            if self._waiting.get(key) == question:  # else it has asked something else since
                del self._waiting[key]
            self.call(key)
