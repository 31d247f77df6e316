"""The Lease is kept in a thread of its own, while the work's loop is busy, and not for ever."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from flowdeps.clients.fence import Fence, FenceClosedError
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.leadership.apart import _LATE_SECONDS, ElectionApart
from flowdeps.leadership.election import Election, LostError
from flowdeps.scheduling.heartbeat import HUNG_SECONDS
from flowdeps.scheduling.own_thread import Apart
from tests.unit.leadership.leases import (
    DURATION,
    MARGIN,
    SETTINGS,
    SILENCE,
    Answer,
    Candidate,
    Leases,
)
from tests.unit.scheduling import virtual

# By the real clock, since two loops can't share a virtual one.
_SHORT = replace(
    SETTINGS,
    lease_duration=timedelta(seconds=3),
    renew_deadline=timedelta(seconds=2),
    retry_period=timedelta(seconds=0.02),
)


class _Work:
    """An election apart, of a Lease that is ours, and what came to pass."""

    def __init__(self, apart: Apart, answers: Iterable[Answer]) -> None:
        self.leases, self.ended = Leases(), threading.Event()
        self.standing_still = 0.0
        self.fence = Fence()
        self.election = Election(
            cast("Cluster", self.leases.client(answers)),
            _SHORT,
            identity="one",
            fence=self.fence,
            still=lambda: self.standing_still,
        )
        self.apart = ElectionApart(self.election, apart, self.fence, end=lambda _: self.ended.set())

    @classmethod
    @asynccontextmanager
    async def begun(cls, answers: Iterable[Answer] = ()) -> AsyncIterator["_Work"]:
        async with Apart("lease") as apart:
            work = cls(apart, answers)
            await work.apart.acquire()
            yield work

    def renewed(self, times: int) -> bool:
        """Whether the Lease is renewed so often again, while this loop stands still."""
        before, tick = len(self.leases.renewals), threading.Event()
        for _ in range(3000):
            if len(self.leases.renewals) >= before + times:
                return True
            tick.wait(0.01)
        return False


async def test_a_busy_loop_keeps_the_lease() -> None:
    """It is renewed again and again while the work's loop has no turn, and what is under way then
    goes on: its end has moved when the loop turns again."""
    async with _Work.begun() as work:
        keeping = asyncio.create_task(work.apart.keep())
        async with work.fence.write():
            await asyncio.sleep(0)  # it begins to keep
            assert work.renewed(30)
            await asyncio.sleep(0.01)
        work.fence.check()
        assert not keeping.done()
        keeping.cancel()
        await asyncio.wait({keeping})


def test_a_loop_that_hangs_gets_no_other_renewal() -> None:
    """Another may take it after its time; nothing begins here until then, or when it turns."""

    async def main() -> None:
        leases = Leases()
        one, other = Candidate(leases, "one"), Candidate(leases, "other")
        still = 0.0
        one.election._still = lambda: still
        assert await one.election.try_once()
        keeping = asyncio.create_task(one.election.keep())
        await asyncio.sleep(100)
        still = HUNG_SECONDS
        await asyncio.sleep(2 * DURATION)
        assert not keeping.done()
        still = HUNG_SECONDS + 1
        with pytest.raises(LostError, match="the event loop has stood still for 61 s"):
            await keeping
        assert one.election.lost
        still = 0.0
        with pytest.raises(FenceClosedError):
            one.fence.check()
        await other.election.acquire()
        assert leases.holder == "other"

    virtual.run(main())


async def test_the_process_ends_where_nobody_cuts_off_a_write_in_time() -> None:
    """The work's loop stands still with a write under way, and the Lease is lost: before another
    may hold it, the process is gone."""
    async with _Work.begun() as work:
        keeping = asyncio.create_task(work.apart.keep())
        async with work.fence.write():
            await asyncio.sleep(0)
            assert work.renewed(2)
            work.standing_still = 1000.0
            assert work.ended.wait(30)  # without a turn of this loop
            assert work.fence.left <= 0  # not sooner than it has to
        with pytest.raises(LostError):
            await keeping


def test_the_process_ends_before_another_may_hold_the_lease() -> None:
    """With the shortest times that the configuration has by default."""
    assert _LATE_SECONDS < MARGIN / 4


async def test_the_process_is_left_alone_where_nothing_is_under_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It ends by itself, in good order; the log says why at once, whatever the work's loop does."""
    async with _Work.begun([*[Answer(0, 0)] * 2, *[SILENCE] * 1000]) as work:
        with pytest.raises(LostError, match="could not be renewed"):
            await work.apart.keep()
        assert "not active any more: the Lease" in caplog.text
        await asyncio.sleep(max(0.0, work.fence.left) + 0.3)
        assert not work.ended.is_set()
