"""Look something up once for all who ask, and keep the answer for a while.

Equal questions are one question: sets with the same inputs and the same pins to keep share a
resolution.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic

from flowdeps.scheduling.clock import Backoff, Clock, loop_time
from flowdeps.scheduling.lookups import (
    RETRY,
    RETRY_SETTLED,
    Failure,
    K,
    Lookup,
    Lookups,
    R,
    T,
    ToFailure,
    V,
)


class SingleFlight(Lookups[K, T, V, R], Generic[K, T, V, R]):
    """Questions and answers; whoever asked is called when the answer is there."""

    def __init__(
        self,
        call: Callable[[K], None],
        *,
        what: str,
        to_failure: ToFailure[R],
        keep: float = 60.0,
        backoff: Backoff = RETRY,
        clock: Clock = loop_time,
    ) -> None:
        """`what` names the questions in the log; an answer is kept for `keep` seconds."""
        super().__init__(call, to_failure=to_failure, backoff=backoff, clock=clock)
        self._what = what
        self._keep = keep
        self._waiting: dict[K, T] = {}

    def ask(self, key: K, question: T, find: Callable[[], Awaitable[V]]) -> V | Failure[R] | None:
        """Return the answer to a question; None: `key` is called when it is there.

        `find` finds it, and is only called where nobody is at it already.
        """
        self.tidy()
        lookup = self._lookups.setdefault(question, Lookup())
        if lookup.value is not None:
            return lookup.value
        if lookup.failure and self._clock() < lookup.failure.until:
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
        now = self._clock()
        for question, lookup in list(self._lookups.items()):
            kept = self._keep if lookup.value is not None else 2 * RETRY_SETTLED
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
        await self._try(lookup, find, what=self._what)
        lookup.task = None
        keys, lookup.keys = lookup.keys, set()
        for key in keys:
            if self._waiting.get(key) == question:  # else it has asked something else since
                del self._waiting[key]
            self._call(key)
