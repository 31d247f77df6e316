"""A process that takes turns: it works while it holds the Lease, until it is told to stop.

Stopping in good order, what is being written is finished first; then the Lease is given away, and
the next one need not wait for it to expire. When the Lease is lost there is nothing to finish: the
fence is closed, and the process ends.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from flowdeps.clients.fence import Fence
from flowdeps.leadership.election import Election

_FINISH_SECONDS = 5.0
_END_SECONDS = 10.0

Work = Callable[[], Awaitable[None]]


async def lead(work: Work, *, election: Election | None, fence: Fence, stop: asyncio.Event) -> None:
    """Stand by, then work, until `stop` or the work's own end. Raises LostError."""
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
    election: Election | None,
    fence: Fence,
    stop: asyncio.Event,
    leave: Work | None = None,
) -> None:
    """The same once the Lease is ours; `leave` may do something else than give it away."""
    stopping = asyncio.create_task(stop.wait())
    keeping = asyncio.create_task(election.keep()) if election else None
    # After the others: when kopf ends, it ends what was begun after it.
    working = asyncio.ensure_future(work())
    tasks: set[asyncio.Future[Any]] = {working, stopping, *([keeping] if keeping else [])}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not (keeping and keeping.done()):
            await fence.drain(_FINISH_SECONDS)
    finally:
        fence.close()
        await _end(working)
        await _end(stopping)
        if keeping:
            await _end(keeping)
    if keeping and keeping.done() and not keeping.cancelled():
        await keeping  # it raises
    if leave:
        await leave()
    elif election:
        await election.release()
    if working.done() and not working.cancelled():
        await working


async def _end(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=_END_SECONDS)
    if task.done() and not task.cancelled():
        task.exception()  # looked at, so that asyncio does not complain
