"""Processes that want one Lease, whose requests are late, refused and lost at random.

Whatever happens: no write begins or is under way past the end of the writer's Lease, with the
margin that is left for what was sent to arrive; and once the faults are over, somebody writes.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, cycle
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flowdeps.leadership.election import LostError
from flowdeps.leadership.lead import lead
from tests.unit.leadership.leases import (
    DEADLINE,
    DURATION,
    MARGIN,
    PROMPT,
    RETRY,
    Answer,
    Candidate,
    Leases,
    Span,
    write_on,
)
from tests.unit.scheduling import virtual

_LONG = 120.0

_SECONDS = st.sampled_from([0.01, 0.5, 2.0, 4.9, 5.1, 9.0, 12.0])
_ANSWERS = st.lists(
    st.just(PROMPT)
    | st.builds(
        Answer,
        there=_SECONDS,
        back=_SECONDS,
        arrives=st.booleans(),
        answered=st.booleans(),
        error=st.sampled_from([None, None, None, 0, 500]),
    ),
    max_size=25,
)
_WRITES = st.lists(st.sampled_from([0.1, 1.0, 7.0, 1000.0]), min_size=1, max_size=6)


@dataclass
class Play:
    """A run of several processes; each is started anew when it has lost the Lease."""

    answers: list[list[Answer]]
    """What becomes of the requests of each process, from the start on."""
    writes: list[float]
    """How long its writes would take, over and over."""
    stops: list[float] = field(default_factory=list)
    """When each process is asked to stop; it is started anew then too."""
    spans: list[Span] = field(default_factory=list)
    leases: Leases = field(default_factory=Leases)

    def __post_init__(self) -> None:
        virtual.run(self._main())

    async def _main(self) -> None:
        runs = [
            asyncio.create_task(self._process(f"{number}", answers))
            for number, answers in enumerate(self.answers)
        ]
        await asyncio.sleep(_LONG)
        for run in runs:
            run.cancel()
        await asyncio.wait(runs)

    async def _process(self, name: str, answers: list[Answer]) -> None:
        rest = chain(answers)
        for start in range(100):
            one = Candidate(self.leases, f"{name}.{start}", rest)
            for time in self.stops:
                if time > virtual.now():
                    asyncio.get_running_loop().call_at(time, one.stop.set)
            write = partial(write_on, one, self.spans, cycle(self.writes), pause=1.0)
            with suppress(LostError):
                if self.stops:
                    await lead(write, election=one.election, fence=one.fence, stop=one.stop)
                else:
                    await self._lead_beside(write, one)
            await asyncio.sleep(1)

    async def _lead_beside(
        self, write: Callable[[], Coroutine[Any, Any, None]], one: Candidate
    ) -> None:
        """Lead, with writes that nobody ends but the fence."""
        writing = asyncio.create_task(write())

        async def work() -> None:
            await asyncio.Event().wait()

        try:
            await lead(work, election=one.election, fence=one.fence, stop=one.stop)
        finally:
            asyncio.get_running_loop().call_later(DURATION, writing.cancel)

    def holds(self, who: str, *, until: float) -> float:
        """The end of a Lease, by the last renewal that the server saw before `until`."""
        times = [time for time, holder in self.leases.renewals if holder == who and time <= until]
        return max(times, default=float("-inf")) + DURATION


def check(play: Play) -> None:
    """Nobody wrote past the end of its Lease, nor while another did."""
    for one in play.spans:
        end = play.holds(one.who, until=one.end)
        assert one.begin <= end - (DURATION - DEADLINE) + 1e-6, f"{one} began too late"
        assert one.end <= end - MARGIN + 1e-6, f"{one} is past the end of its Lease"
    spans = sorted(play.spans, key=lambda span: span.begin)
    for number, one in enumerate(spans):
        for other in spans[number + 1 :]:
            if other.begin >= one.end:
                break
            assert other.who == one.who, f"{one} and {other}"


@given(answers=st.lists(_ANSWERS, min_size=2, max_size=3), writes=_WRITES)
@settings(max_examples=60, deadline=None)
def test_no_write_begins_or_is_under_way_past_the_end_of_the_lease(
    answers: list[list[Answer]], writes: list[float]
) -> None:
    """By the fence alone, whatever the network does to renewals."""
    check(Play(answers, writes))


@given(
    answers=st.lists(_ANSWERS, min_size=2, max_size=3),
    writes=_WRITES,
    stops=st.lists(st.floats(1, 100), min_size=1, max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_processes_that_stop_hand_over_without_writing_at_once(
    answers: list[list[Answer]], writes: list[float], stops: list[float]
) -> None:
    """A Lease that is given away is free at once, so what was being written has ended by then."""
    check(Play(answers, writes, stops))


@given(answers=st.lists(_ANSWERS, min_size=2, max_size=3))
@settings(max_examples=40, deadline=None)
def test_somebody_writes_again_once_the_faults_are_over(answers: list[list[Answer]]) -> None:
    """No series of faults leaves the processes waiting for each other."""
    short = [[one for one in part if one.answered][:5] for part in answers]
    play = Play(short, [0.1])
    assert max(span.end for span in play.spans) > _LONG - RETRY - 1
