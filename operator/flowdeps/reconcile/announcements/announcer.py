"""Brings Prefect in line with what sets have reported, one page or event at a time.

Each step is at least a second after the one before, so that Prefect has time for all else;
namespaces take turns. No set waits for it. `pages.py` and `events.py` say which steps are due.
"""

import asyncio
import itertools
import logging
from contextlib import suppress
from math import inf

from flowdeps.api.reasons import Reason
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.reconcile.announcements.board import Step
from flowdeps.reconcile.announcements.events import Events
from flowdeps.reconcile.announcements.pages import Pages
from flowdeps.reconcile.context import Context
from flowdeps.scheduling.clock import Backoff

log = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds between two steps."""
_REST = 300.0
"""Seconds until it is tried again what Prefect's credentials have no right to."""


class Announcer:
    """Tells Prefect of locks."""

    def __init__(self, context: Context) -> None:
        self._context = context
        prefect = context.config.prefect
        self._pages = Pages(context) if prefect.artifacts else None
        self._events = Events(context) if prefect.events else None
        self._turns: dict[str, int] = {}
        self._count = itertools.count(1)
        self._rests: dict[Events | Pages, float] = {}
        """Until when there is no right to what a part does, in queue time."""
        self._problems: set[str] = set()
        """Those that were logged."""

    @property
    def wanted(self) -> bool:
        """Whether there is anything to do, by the configuration."""
        return bool(self._pages or self._events)

    async def run(self) -> None:
        """Run without end."""
        context, failures = self._context, 0
        backoff = Backoff(first=5.0, jitter=context.jitter)
        if self._pages:
            self._pages.begin()
        while True:
            context.board.changed.clear()
            try:
                left = await self._step()
            except PoolsError as error:
                failures += 1
                self._warn(str(error))
                await asyncio.sleep(max(_PAUSE, backoff(failures)))
                continue
            failures = 0
            if not self._rests:
                self._problems.clear()
            await asyncio.sleep(_PAUSE)
            if left > _PAUSE:
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if left == inf else left - _PAUSE):
                        await context.board.changed.wait()

    async def _step(self) -> float:
        """Take the next step; returns in how many seconds another one is due."""
        now, pages = self._context.queue.time(), self._pages
        parts = [one for one in (self._events, pages) if one and self._rests.get(one, 0.0) <= now]
        due = [(namespace, step, part) for part in parts for namespace, step in part.due()]
        if due:
            namespace, step, part = min(due, key=lambda one: self._turns.get(one[0], 0))
            self._turns[namespace] = next(self._count)
            await self._take(step, part=part, what=namespace or "an artifact")
            return 0.0
        if pages and pages in parts and pages.search_is_due:
            await self._take(pages.search, part=pages, what="a search for artifacts")
            return 0.0
        times = [pages.next_due()] if pages and pages in parts else []
        times += [until - now for until in self._rests.values() if until > now]
        return min(times, default=inf)

    async def _take(self, step: Step, *, part: Events | Pages, what: str) -> None:
        """Take a step. Raises PoolsError where nothing else would succeed now either."""
        try:
            await step()
            self._rests.pop(part, None)
        except PoolsError as error:
            if error.reason is not Reason.PREFECT_UNAUTHORIZED:
                raise
            self._rests[part] = self._context.queue.time() + _REST
            self._warn(str(error))
        except Exception:  # of one set, which must not keep the others waiting
            log.exception("%s: a mistake in flowdeps", what)

    def _warn(self, problem: str) -> None:
        if problem not in self._problems:
            log.warning("Prefect is not told of locks, but will be: %s", problem)
        self._problems.add(problem)
