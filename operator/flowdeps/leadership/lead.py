"""Work while the Lease is ours, until the work ends or the process is asked to stop.

On a stop, writes that are under way are finished first; then the Lease is given away, and the next
process need not wait for it to expire. When the Lease is lost, the fence is closed and the process
ends.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, Protocol

from flowdeps.clients.fence import Fence

_DRAIN_SECONDS = 5.0
_END_SECONDS = 10.0

Work = Callable[[], Awaitable[None]]


class Elected(Protocol):
    """An `Election`, wherever it makes its requests."""

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""

    async def keep(self) -> NoReturn:
        """Renew the Lease; raises LostError."""

    async def release(self) -> None:
        """Give the Lease away."""


async def lead(work: Work, *, election: Elected | None, fence: Fence, stop: asyncio.Event) -> None:
    """Stand by until the Lease is ours, then hold it and work. Raises LostError.

    Without an election it works at once.
    """
    if election:
        acquiring = asyncio.create_task(election.acquire())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({acquiring, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await _end(stopping)
        if stop.is_set():
            await _end(acquiring)
            await election.release()  # it may just have become ours
            return
        await acquiring
    await hold(work, election=election, fence=fence, stop=stop)


async def hold(
    work: Work,
    *,
    election: Elected | None,
    fence: Fence,
    stop: asyncio.Event,
    leave: Work | None = None,
) -> None:
    """Work and keep the Lease, which is ours, until the work ends or `stop`. Raises LostError.

    At the end the Lease is given away, or `leave` does something else with it.
    """
    stopping = asyncio.create_task(stop.wait())
    keeping = asyncio.create_task(election.keep()) if election else None
    # The last one to begin: when kopf ends, it ends the tasks that were begun after it.
    working = asyncio.ensure_future(work())
    tasks: set[asyncio.Future[Any]] = {working, stopping, *([keeping] if keeping else [])}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not (keeping and keeping.done()):
            await fence.drain(_DRAIN_SECONDS)
    finally:
        fence.close()
        await _end(working)
        await _end(stopping)
        if keeping:
            await _end(keeping)
    if keeping and keeping.done() and not keeping.cancelled():
        await keeping  # raises LostError
    if leave:
        await leave()
    elif election:
        await election.release()
    if working.done() and not working.cancelled():
        await working  # raises what ended it


async def _end(task: asyncio.Future[Any]) -> None:
    """Cancel a task and wait for its end, but not for ever."""
    task.cancel()
    await asyncio.wait({task}, timeout=_END_SECONDS)
    if task.done() and not task.cancelled():
        task.exception()  # read, so that asyncio does not log it as never retrieved
