"""An election in a thread of its own, so that a busy loop does not lose the Lease.

A loop that is busy can't cut its own writes off either. So when the Lease is lost, this thread
waits until writes have to be over, and ends the process if one is still under way then.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from flowdeps.clients.fence import Fence
from flowdeps.leadership.election import Election, LostError
from flowdeps.scheduling.own_thread import Apart

log = logging.getLogger(__name__)

_LATE_SECONDS = 0.1
"""How long the work's loop has to cut writes off itself."""


@dataclass
class ElectionApart:
    """Runs an election whose client belongs to the loop of `apart`."""

    election: Election
    apart: Apart
    fence: Fence
    end: Callable[[int], object] = os._exit
    """Ends the process at once, with an exit status."""

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        await self.apart.run(self.election.acquire())

    async def keep(self) -> NoReturn:
        """Renew the Lease as long as that works, then raise LostError."""
        await self.apart.run(self._keep())
        raise AssertionError("an election is kept until it is lost")

    async def release(self) -> None:
        """Close the fence and, if the Lease is ours, give it away."""
        await self.apart.run(self.election.release())

    async def _keep(self) -> None:
        try:
            await self.election.keep()
        except LostError as error:
            # Here, since the work's loop may be busy. It is no mistake.
            log.error("not active any more: %s", error)  # noqa: TRY400
            self.apart.begin(self._cut_off())
            raise

    async def _cut_off(self) -> None:
        await asyncio.sleep(max(0.0, self.fence.left) + _LATE_SECONDS)
        if self.fence.is_writing:
            log.critical("a write is under way that nobody cuts off: the process ends")
            self.end(1)
