"""Candidates for one Lease, against a server that is slow, refuses, or loses answers."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import repeat

import pytest

from flowdeps.leadership.election import LostError
from tests.unit.leadership.leases import (
    DEADLINE,
    DURATION,
    LOST,
    MARGIN,
    NO_SERVER,
    PROMPT,
    RETRY,
    SILENCE,
    Answer,
    Candidate,
    Leases,
    Span,
    write_on,
)
from tests.unit.scheduling import virtual


def test_a_write_goes_on_half_way_to_the_end_of_the_lease_and_is_cut_off_there() -> None:
    """It may begin until the renew deadline. The other half is for what was sent to arrive: the
    next one may write as soon as the Lease has ended."""
    spans: list[Span] = []

    async def main() -> None:
        one = Candidate(Leases(), "one", [PROMPT, PROMPT, *repeat(SILENCE, 100)])
        assert await one.election.try_once()  # reads, then writes at 0.02
        await asyncio.sleep(DEADLINE - 0.03)
        await write_on(one, spans, [1000.0])
        assert not one.may_write

    virtual.run(main())
    [span] = spans
    assert span.begin == pytest.approx(DEADLINE + 0.01)
    assert span.end == pytest.approx(0.02 + DURATION - MARGIN)


def test_the_time_of_a_renewal_counts_from_before_it_was_sent() -> None:
    """However long it took to arrive: others count from when it has."""

    async def main() -> None:
        one = Candidate(Leases(), "one", [PROMPT, Answer(there=1.0, back=3.0)])
        assert await one.election.try_once()
        assert virtual.now() == pytest.approx(4.02)
        await asyncio.sleep(DEADLINE + 0.01 - virtual.now())
        assert one.may_write
        await asyncio.sleep(0.02)
        assert not one.may_write

    virtual.run(main())


def test_a_renewal_moves_the_end_of_a_write_that_is_under_way() -> None:
    """A template that takes half a minute to write is written."""
    spans: list[Span] = []

    async def main() -> None:
        one = Candidate(Leases(), "one")
        assert await one.election.try_once()
        keeping = asyncio.create_task(one.election.keep())
        await write_on(one, spans, [30.0])
        keeping.cancel()
        await asyncio.wait({keeping})

    virtual.run(main())
    assert spans[0].end - spans[0].begin == pytest.approx(30.0)


def test_a_candidate_takes_a_lease_that_was_not_renewed_and_not_sooner() -> None:
    """As long as it lasts since it saw the last change, plus the time to the next try."""

    async def main() -> None:
        leases = Leases()
        one, other = Candidate(leases, "one"), Candidate(leases, "other")
        assert await one.election.try_once()
        seen = virtual.now()
        await other.election.acquire()
        assert DURATION <= virtual.now() - seen <= DURATION + RETRY + 0.1
        assert other.may_write
        assert not one.may_write

    virtual.run(main())


def test_a_candidate_that_stands_by_says_who_is_active() -> None:
    """And what keeps it from reading the Lease, once there is something."""

    async def main() -> None:
        leases = Leases()
        one = Candidate(leases, "one")
        other = Candidate(leases, "other", [PROMPT, NO_SERVER])
        problems = [other.election.problem]
        assert await one.election.try_once()
        for _ in range(2):
            assert not await other.election.try_once()
            problems.append(other.election.problem)
        assert problems == [
            "the Lease flowdeps/flowdeps was not read yet",
            None,
            "the server did not answer well",
        ]
        assert other.election.standby() == "standby: the Lease flowdeps/flowdeps is held by one"
        assert not other.election.active

    virtual.run(main())


@pytest.mark.parametrize("fault", [NO_SERVER, SILENCE, LOST, Answer(error=500)])
def test_a_fault_that_ends_in_time_loses_nothing(fault: Answer) -> None:
    """Also one in which the renewal was made, and only its answer was lost: the next one finds
    another version than it knew, looks, and goes on."""

    async def main() -> None:
        leases = Leases()
        one = Candidate(leases, "one", [*repeat(PROMPT, 4), fault])
        assert await one.election.try_once()
        keeping = asyncio.create_task(one.election.keep())
        for _ in range(300):
            await asyncio.sleep(0.1)
            assert one.may_write
        assert not keeping.done()
        assert leases.holder == "one"
        keeping.cancel()
        await asyncio.wait({keeping})

    virtual.run(main())


@pytest.mark.parametrize("fault", [NO_SERVER, SILENCE, Answer(arrives=False, error=503)])
def test_a_lease_that_can_not_be_renewed_is_lost_at_the_deadline(fault: Answer) -> None:
    """Nothing begins from then on; the error says why."""

    async def main() -> None:
        one = Candidate(Leases(), "one", [PROMPT, PROMPT, *repeat(fault, 100)])
        assert await one.election.try_once()
        with pytest.raises(LostError, match=r"could not be renewed for 10 s: the .* did not"):
            await one.election.keep()
        assert DEADLINE <= virtual.now() <= DEADLINE + RETRY + 0.1
        assert one.election.lost
        assert not one.may_write

    virtual.run(main())


@pytest.mark.parametrize("answers", [[], [LOST], [SILENCE]])
def test_a_lease_that_another_has_is_lost_for_good(answers: list[Answer]) -> None:
    """It is seen at the next renewal that is answered, and nothing opens the fence again."""

    async def main() -> None:
        leases = Leases()
        one = Candidate(leases, "one", [PROMPT, PROMPT, *answers])
        assert await one.election.try_once()
        assert leases.body
        taken = {**leases.body["spec"], "holderIdentity": "other"}
        leases.write({**leases.body, "spec": taken}, over="1")
        with pytest.raises(LostError, match="is other's"):
            await one.election.keep()
        one.fence.until(begin=1e9, end=1e9)
        assert not one.may_write

    virtual.run(main())


def test_a_lease_that_is_given_away_is_free_at_once() -> None:
    """Also where the answer to the last renewal was lost: it is read again first."""

    async def main() -> None:
        leases = Leases()
        one = Candidate(leases, "one", [PROMPT, LOST])
        assert not await one.election.try_once()
        assert leases.holder == "one"
        await one.election.release()
        assert leases.holder == ""
        other = Candidate(leases, "other")
        assert await other.election.try_once()

    virtual.run(main())


@pytest.mark.parametrize("end", ["release", "remove"])
def test_a_lease_of_another_is_neither_given_away_nor_deleted(end: str) -> None:
    """Whoever never had it may end too."""

    async def main() -> None:
        leases = Leases()
        one, other = Candidate(leases, "one"), Candidate(leases, "other")
        assert await one.election.try_once()
        assert not await other.election.try_once()
        leave: Callable[[], Awaitable[None]] = getattr(other.election, end)
        await leave()
        assert leases.holder == "one"

    virtual.run(main())


def test_a_release_gives_up_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """A process must end: where no server answers, the others wait for the Lease to expire."""

    async def main() -> None:
        one = Candidate(Leases(), "one", [PROMPT, PROMPT, SILENCE])
        assert await one.election.try_once()
        begin = virtual.now()
        await one.election.release()
        assert virtual.now() - begin == pytest.approx(5.0)
        assert not one.may_write

    virtual.run(main())
    assert "was not given away: the API server did not answer within 5 s" in caplog.text
