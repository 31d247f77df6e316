"""Which pools Prefect has, by lists: one request tells it of all pools.

Sets may name thousands of pools that do not exist. Each poll lists all pools. A name that came
after the last list is looked up in another one, which serves all names that came by then, and comes
no sooner than a pause after the last.
"""

import asyncio
from collections.abc import Mapping
from math import inf

from flowdeps.clients.prefect.client import Pool
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.reconcile.context import Context

_PAUSE = 5.0
"""Seconds between two lists that sets cause."""


class Directory:
    """The names of pools that exist, and those that sets name and that do not."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._there: frozenset[str] = frozenset()
        self._listed = -inf
        self._problem: PoolsError | None = None
        """Why the last list failed; None where it did not."""
        self._listing = asyncio.Lock()
        self.absent: frozenset[str] = frozenset()
        """The names of pools that sets name and that the last list did not have."""

    async def read_all(self) -> Mapping[str, Pool]:
        """Return all pools by name. Raises PoolsError."""
        async with self._listing:
            return await self._read_all()

    async def _read_all(self) -> Mapping[str, Pool]:
        self._listed = self._context.queue.time()
        named = self._context.store.named_pools()  # before: a later one may be made meanwhile
        try:
            pools = await self._context.pools.read_all()
        except PoolsError as error:
            self._problem = error
            raise
        self._problem = None
        self._there = frozenset(pools)
        self.absent = frozenset(named - pools.keys())
        return pools

    async def look_up(self, name: str) -> float | None:
        """See to it that a name is known to exist or not; returns in how many seconds to ask again
        where that takes another list. Raises PoolsError."""
        if self._knows(name):
            return None
        async with self._listing:
            if self._knows(name):
                return None
            if (left := self._listed + _PAUSE - self._context.queue.time()) > 0:
                if self._problem:  # no success, after which pauses would be short again
                    raise self._problem.with_traceback(None)
                return left
            await self._read_all()
            return None

    def _knows(self, name: str) -> bool:
        return name in self._there or name in self.absent

    def forget(self, name: str) -> None:
        """Have a name that was absent looked up again by the next list, as if it were new."""
        self.absent -= {name}
