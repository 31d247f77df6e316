"""A process stands by, works while the Lease is its own, and leaves in good order."""

import asyncio
from itertools import repeat

import pytest

from flowdeps.clients.fence import Fence
from flowdeps.leadership.election import LostError
from flowdeps.leadership.lead import hold, lead
from tests.unit.leadership.leases import (
    DEADLINE,
    DURATION,
    PROMPT,
    RETRY,
    SILENCE,
    Answer,
    Candidate,
    Leases,
)
from tests.unit.scheduling import virtual


class Process:
    """A candidate with work that writes for `write` seconds at a time, and what came to pass."""

    def __init__(
        self, leases: Leases, name: str, answers: list[Answer] | None = None, *, write: float = 1.0
    ) -> None:
        self.candidate = Candidate(leases, name, answers or [])
        self.stop = self.candidate.stop
        self.happened: list[tuple[float, str]] = []
        self._leases, self._write = leases, write

    @property
    def names(self) -> list[str]:
        """What came to pass, in order."""
        return [name for _, name in self.happened]

    def note(self, name: str) -> None:
        """Note that something has come to pass."""
        self.happened.append((virtual.now(), name))

    async def work(self) -> None:
        """Write, write, and write."""
        self.note("works")
        try:
            while True:
                async with self.candidate.fence.write():
                    await asyncio.sleep(self._write)
                    self.note("wrote")
                await asyncio.sleep(0.1)
        finally:
            self.note(f"ends, {self._leases.holder or 'nobody'} holds the Lease")

    async def run(self) -> None:
        """Lead with this work."""
        one = self.candidate
        await lead(self.work, election=one.election, fence=one.fence, stop=self.stop)


def test_a_process_stands_by_and_works_once_the_lease_is_its_own() -> None:
    """Not before: there is another one."""

    async def main() -> None:
        leases = Leases()
        first = Candidate(leases, "first")
        assert await first.election.try_once()
        process = Process(leases, "second")
        running = asyncio.create_task(process.run())
        await asyncio.sleep(DURATION - 0.1)
        assert process.happened == []
        await asyncio.sleep(RETRY + 0.2)
        assert process.names == ["works"]
        assert leases.holder == "second"
        process.stop.set()
        await running

    virtual.run(main())


def test_a_stop_while_standing_by_ends_at_once_and_takes_nothing_away() -> None:
    """No work begins, and the Lease stays whose it is."""

    async def main() -> None:
        leases = Leases()
        assert await Candidate(leases, "first").election.try_once()
        process = Process(leases, "second")
        running = asyncio.create_task(process.run())
        await asyncio.sleep(5)
        process.stop.set()
        await running
        assert virtual.now() < 5.2
        assert process.happened == []
        assert leases.holder == "first"

    virtual.run(main())


def test_a_stop_just_as_the_lease_is_taken_gives_it_away() -> None:
    """It was written, and the answer is under way: nobody need wait for it to expire."""

    async def main() -> None:
        leases = Leases()
        process = Process(leases, "first", [PROMPT, Answer(back=3.0)])
        running = asyncio.create_task(process.run())
        await asyncio.sleep(1)
        assert leases.holder == "first"
        process.stop.set()
        await running
        assert leases.holder == ""
        assert process.happened == []

    virtual.run(main())


def test_a_stop_finishes_what_is_being_written_and_then_gives_the_lease_away() -> None:
    """In this order: the write, the work, the Lease. The next one takes over at once."""

    async def main() -> None:
        leases = Leases()
        process = Process(leases, "first", write=3.0)
        running = asyncio.create_task(process.run())
        await asyncio.sleep(2)
        process.stop.set()
        await running
        assert process.names == ["works", "wrote", "ends, first holds the Lease"]
        assert virtual.now() == pytest.approx(3.06, abs=0.1)
        assert leases.holder == ""
        assert await Candidate(leases, "second").election.try_once()

    virtual.run(main())


def test_a_write_that_hangs_does_not_hold_up_the_end() -> None:
    """It is cut off after five seconds, before the Lease is given away."""

    async def main() -> None:
        leases = Leases()
        process = Process(leases, "first", write=1000.0)
        running = asyncio.create_task(process.run())
        await asyncio.sleep(1)
        process.stop.set()
        await running
        assert process.names == ["works", "ends, first holds the Lease"]
        assert virtual.now() == pytest.approx(6.0, abs=0.1)
        assert leases.holder == ""

    virtual.run(main())


def test_a_lease_that_is_lost_ends_the_work_and_the_process() -> None:
    """Nothing is finished, nothing is given away, and the error says so."""

    async def main() -> None:
        leases = Leases()
        process = Process(leases, "first", [PROMPT, PROMPT, *repeat(SILENCE, 100)], write=1000.0)
        with pytest.raises(LostError):
            await process.run()
        assert process.names == ["works", "ends, first holds the Lease"]
        assert DEADLINE <= virtual.now() <= DEADLINE + RETRY
        assert not process.candidate.may_write
        assert leases.holder == "first"

    virtual.run(main())


@pytest.mark.parametrize("error", [None, ValueError("odd")])
def test_work_that_ends_by_itself_ends_the_process_and_gives_the_lease_away(
    error: Exception | None,
) -> None:
    """Its error is the process's, once the Lease is free."""

    async def main() -> None:
        leases = Leases()
        one = Candidate(leases, "first")

        async def work() -> None:
            await asyncio.sleep(3)
            if error:
                raise error

        leading = lead(work, election=one.election, fence=one.fence, stop=one.stop)
        if error:
            with pytest.raises(ValueError, match="odd"):
                await leading
        else:
            await leading
        assert leases.holder == ""
        assert not one.may_write
        assert len(asyncio.all_tasks()) == 1

    virtual.run(main())


def test_who_holds_the_lease_may_leave_in_another_way() -> None:
    """A cleanup deletes it, after the work and with the fence closed."""

    async def main() -> None:
        leases = Leases()
        process = Process(leases, "first")
        one = process.candidate
        assert await one.election.try_once()

        async def work() -> None:
            process.note("works")

        async def leave() -> None:
            process.note(f"leaves, may {'' if one.may_write else 'not '}write")
            await one.election.remove()

        await hold(work, election=one.election, fence=one.fence, stop=one.stop, leave=leave)
        assert process.names == ["works", "leaves, may not write"]
        assert leases.body is None

    virtual.run(main())


def test_without_an_election_the_work_begins_at_once_and_a_stop_drains_it() -> None:
    """One replica: there is nobody to wait for."""

    async def main() -> None:
        fence, stop, happened = Fence.open(), asyncio.Event(), list[str]()

        async def work() -> None:
            async with fence.write():
                await asyncio.sleep(2)
                happened.append("wrote")
            await asyncio.Event().wait()

        leading = asyncio.create_task(lead(work, election=None, fence=fence, stop=stop))
        await asyncio.sleep(1)
        stop.set()
        await leading
        assert happened == ["wrote"]
        assert virtual.now() == pytest.approx(2.0)

    virtual.run(main())
