"""Look something up once for all who ask, and keep the answer for a while.

Equal questions are one question: sets with the same inputs and the same pins to keep share a
resolution.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from flowdeps.scheduling.lookups import RETRY_SETTLED, Failure, K, Lookup, Lookups, R, T, V


@dataclass(kw_only=True)
class SingleFlight(Lookups[K, T, V, R]):
    """Questions and answers; whoever asked is called when the answer is there."""

    what: str
    """Names the questions in the log."""
    keep: float = 60.0
    """Seconds that an answer is kept."""
    _waiting: dict[K, T] = field(default_factory=dict, init=False)

    def ask(self, key: K, question: T, find: Callable[[], Awaitable[V]]) -> V | Failure[R] | None:
        """Return the answer to a question; None: `key` is called when it is there.

        `find` finds it, and is only called where nobody is at it already.
        """
        self.tidy()
        lookup = self._lookups.setdefault(question, Lookup())
        if lookup.value is not None:
            return lookup.value
        if lookup.failure and self.clock() < lookup.failure.until:
            return lookup.failure
        lookup.keys.add(key)
        self._waiting[key] = question
        if lookup.task is None:
            lookup.task = asyncio.create_task(self._answer(question, lookup, find))
        return None

    def waits(self, key: K) -> bool:
        """Return whether `key` waits for an answer."""
        return key in self._waiting

    def running(self) -> int:
        """Return how many questions wait for their answer."""
        return sum(lookup.task is not None for lookup in self._lookups.values())

    def tidy(self) -> None:
        """Forget answers that everybody has had; called now and then."""
        now = self.clock()
        for question, lookup in list(self._lookups.items()):
            kept = self.keep if lookup.value is not None else 2 * RETRY_SETTLED
            if lookup.task is None and now - lookup.tried > kept:
                del self._lookups[question]

    def forget(self) -> None:
        """Forget all answers, because the next would be others; failures stay, and so does what is
        under way."""
        for question in [one for one, lookup in self._lookups.items() if lookup.value is not None]:
            del self._lookups[question]

    async def _answer(
        self, question: T, lookup: Lookup[K, V, R], find: Callable[[], Awaitable[V]]
    ) -> None:
        await self._try(lookup, find, what=self.what)
        lookup.task = None
        keys, lookup.keys = lookup.keys, set()
        for key in keys:
            if self._waiting.get(key) == question:  # else it has asked something else since
                del self._waiting[key]
            self.call(key)
