"""Questions that take long to answer, so that a pass never waits for one.

A pass asks; the answer is what was found, a failure, or None while it is being found
out. When the answer is there, every set that asked is called again. Equal questions are
one question: sets with the same inputs and the same pins to keep share a resolution.

A failure is remembered until it is worth asking again (an outage: soon, with growing
pauses; what only a change can mend: an hour), so the many reasons for another pass never
become many answers.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from flowdeps.api.reasons import Reason
from flowdeps.scheduling.queue import backoff
from flowdeps.state.store import SetKey

log = logging.getLogger(__name__)

RETRY_SETTLED = 3600.0
"""Seconds until a question whose answer only a change of the question can mend is asked again."""
_FIRST_RETRY = 5.0


class FindingError(Exception):
    """What was asked can't be found out.

    `reason` is a condition's, `message` is for people; `retry`: the same question may get
    another answer soon.
    """

    reason: Reason = Reason.INTERNAL_ERROR

    def __init__(self, message: str, *, reason: Reason | None = None, retry: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.retry = retry
        if reason:
            self.reason = reason


@dataclass(frozen=True)
class Failure:
    """Why there is no answer; `until` (loop time) it is not worth asking again."""

    reason: Reason
    message: str
    until: float


Explain = Callable[[Exception], FindingError | None]
"""Turns an error that was foreseen into words; None for all others."""

Q = TypeVar("Q", bound=Hashable)
A = TypeVar("A")


def foreseen(error: Exception, explain: Explain, *, what: str) -> FindingError:
    """The error in words; one that nobody foresaw is in the log with its place."""
    if isinstance(error, FindingError):
        return error
    known = explain(error)
    if known is None:
        log.warning("%s failed", what, exc_info=error)
        known = FindingError(str(error) or type(error).__name__)
    return known


@dataclass
class _Answer(Generic[A]):
    task: "asyncio.Task[None] | None" = None
    found: A | None = None
    failure: Failure | None = None
    failures: int = 0
    since: float = 0.0
    waiting: set[SetKey] = field(default_factory=set)


class SingleFlight(Generic[Q, A]):
    """Questions and answers; `call` is told each set whose answer has come."""

    def __init__(
        self,
        call: Callable[[SetKey], None],
        *,
        what: str,
        explain: Explain,
        keep: float = 60.0,
    ) -> None:
        """`what` names the questions in the log; `explain` turns a foreseen error into words;
        an answer is kept for `keep` seconds."""
        self._keep = keep
        self._call = call
        self._what = what
        self._explain = explain
        self._answers: dict[Q, _Answer[A]] = {}
        self._waiting: dict[SetKey, Q] = {}

    def ask(self, key: SetKey, question: Q, find: Callable[[], Awaitable[A]]) -> A | Failure | None:
        """The answer to `question`; None: `key` is called when it is there.

        `find` finds it, and is only called where nobody does already.
        """
        now = asyncio.get_running_loop().time()
        self.tidy()
        answer = self._answers.setdefault(question, _Answer())
        if answer.found is not None:
            return answer.found
        if answer.failure and now < answer.failure.until:
            return answer.failure
        answer.waiting.add(key)
        self._waiting[key] = question
        if answer.task is None:
            answer.task = asyncio.create_task(self._run(question, answer, find))
        return None

    def waits(self, key: SetKey) -> bool:
        """Whether `key` waits for an answer."""
        return key in self._waiting

    def tidy(self) -> None:
        """Forget answers that everybody has had; called now and then."""
        now = asyncio.get_running_loop().time()
        for question, answer in list(self._answers.items()):
            kept = self._keep if answer.found is not None else 2 * RETRY_SETTLED
            if answer.task is None and answer.since and now - answer.since > kept:
                del self._answers[question]

    def forget(self) -> None:
        """Forget all that was found: it would be found otherwise by now. Failures stay, and what is
        being found out."""
        self._answers = {
            question: answer for question, answer in self._answers.items() if answer.found is None
        }

    def running(self) -> int:
        """How many questions wait for their answer."""
        return sum(answer.task is not None for answer in self._answers.values())

    async def close(self) -> None:
        """End what is under way."""
        tasks = [answer.task for answer in self._answers.values() if answer.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, question: Q, answer: _Answer[A], find: Callable[[], Awaitable[A]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            answer.found = await find()
            answer.failure = None
        except Exception as error:
            known = foreseen(error, self._explain, what=self._what)
            answer.failures += 1
            pause = backoff(answer.failures, first=_FIRST_RETRY) if known.retry else RETRY_SETTLED
            answer.failure = Failure(known.reason, known.message, loop.time() + pause)
        answer.since = loop.time()
        answer.task = None
        waiting, answer.waiting = answer.waiting, set()
        for key in waiting:
            if self._waiting.get(key) == question:  # else its spec has changed: it asked again
                del self._waiting[key]
            self._call(key)
