"""Locks that are being made, so that a pass never waits for one.

A pass asks; the answer is a lock, a failure, or None while a resolver works. When
the answer is there, every set that asked is called again. Equal questions are one
question: sets with the same inputs and the same pins to keep share a resolution.

A failure is remembered until it is worth asking again (an outage: soon, with
growing pauses; requirements that can't be met: an hour), so the many reasons for
another pass never become many resolutions.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from flowdeps.engine import backoff
from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.resolver import ResolveError, ResolverError
from flowdeps.store import SetKey

log = logging.getLogger(__name__)

RETRY_UNSATISFIABLE = 3600.0
_FIRST_RETRY = 5.0
_KEEP_ANSWER = 60.0

Resolve = Callable[[LockRequest, Lock | None], Awaitable[Lock]]


@dataclass(frozen=True)
class Question:
    """What is asked: inputs, the digest of the lock whose pins to keep, and why again.

    `stamp` sets questions apart that would else be equal: a refresh that
    somebody asked for by hand is not answered from memory.
    """

    inputs: str
    previous: str
    stamp: str


@dataclass(frozen=True)
class Failure:
    """Why there is no lock; `until` (loop time) it is not worth asking again."""

    error: ResolveError
    until: float


@dataclass
class _Answer:
    task: "asyncio.Task[None] | None" = None
    lock: Lock | None = None
    failure: Failure | None = None
    failures: int = 0
    since: float = 0.0
    waiting: set[SetKey] = field(default_factory=set)


class Resolutions:
    """Questions and answers; `call` is told each set whose answer has come."""

    def __init__(self, resolve: Resolve, call: Callable[[SetKey], None]) -> None:
        self._resolve = resolve
        self._call = call
        self._answers: dict[Question, _Answer] = {}
        self._waiting: dict[SetKey, Question] = {}

    def ask(
        self,
        key: SetKey,
        question: Question,
        *,
        request: LockRequest,
        previous: Callable[[], Awaitable[Lock | None]],
    ) -> Lock | Failure | None:
        """The answer to `question`; None: `key` is called when it is there.

        `previous` fetches the lock whose pins to keep, only when one is needed.
        """
        now = asyncio.get_running_loop().time()
        self.tidy()
        answer = self._answers.setdefault(question, _Answer())
        if answer.lock:
            return answer.lock
        if answer.failure and now < answer.failure.until:
            return answer.failure
        answer.waiting.add(key)
        self._waiting[key] = question
        if answer.task is None:
            answer.task = asyncio.create_task(self._run(question, answer, request, previous))
        return None

    def resolving(self, key: SetKey) -> bool:
        """Whether `key` waits for an answer."""
        return key in self._waiting

    def tidy(self) -> None:
        """Forget answers that everybody has had; called now and then."""
        now = asyncio.get_running_loop().time()
        for question, answer in list(self._answers.items()):
            kept = _KEEP_ANSWER if answer.lock else 2 * RETRY_UNSATISFIABLE
            if answer.task is None and answer.since and now - answer.since > kept:
                del self._answers[question]

    def running(self) -> int:
        """How many questions wait for their answer."""
        return sum(answer.task is not None for answer in self._answers.values())

    async def close(self) -> None:
        """End what is under way."""
        tasks = [answer.task for answer in self._answers.values() if answer.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(
        self,
        question: Question,
        answer: _Answer,
        request: LockRequest,
        previous: Callable[[], Awaitable[Lock | None]],
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            answer.lock = await self._resolve(request, await previous())
            answer.failure = None
        except Exception as error:
            known = error if isinstance(error, ResolveError) else ResolverError(str(error))
            if known is not error:
                log.warning("no lock could be made", exc_info=error)
            answer.failures += 1
            pause = (
                backoff(answer.failures, first=_FIRST_RETRY) if known.retry else RETRY_UNSATISFIABLE
            )
            answer.failure = Failure(known, loop.time() + pause)
        answer.since = loop.time()
        answer.task = None
        waiting, answer.waiting = answer.waiting, set()
        for key in waiting:
            if self._waiting.get(key) == question:  # else its spec has changed: it asked again
                del self._waiting[key]
            self._call(key)
