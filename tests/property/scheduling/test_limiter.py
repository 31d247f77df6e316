"""The limiter under random schedules: groups, lengths of work, pauses, cancellations."""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from flowdeps.scheduling.limiter import Limiter, Turn
from tests.unit.scheduling import virtual

_TENTHS = st.integers(0, 40).map(lambda tenths: tenths / 10)


@dataclass(frozen=True)
class Want:
    """After a pause, somebody of `groups` wants a turn for `seconds`, of which the middle third may
    be waiting; by `given_up` seconds after that they want it no longer."""

    after: float
    groups: tuple[str, ...]
    seconds: float
    waits: bool
    given_up: float | None
    turns: int
    """Of the loop, after which the cancellation comes."""
    later: tuple[str, ...] | None
    """The groups that want it half a second later."""


_GROUPS = st.lists(st.sampled_from("abc"), min_size=1, max_size=2, unique=True).map(tuple)
_WANTS = st.lists(
    st.builds(
        Want,
        after=_TENTHS,
        groups=_GROUPS,
        seconds=_TENTHS,
        waits=st.booleans(),
        given_up=st.none() | _TENTHS,
        turns=st.integers(0, 3),
        later=st.none() | _GROUPS,
    ),
    max_size=25,
)


class History:
    """Plays a schedule, and keeps what was seen at each beginning."""

    def __init__(self, wants: list[Want], *, at_once: int, shared: bool = True) -> None:
        self.limiter = Limiter(at_once, shared)
        self.begun = 0
        self.held: Counter[object] = Counter()
        self.working = 0
        self.most_working = 0
        self.most_held = 0
        self.wrong: list[object] = []
        virtual.run(self._main(wants))

    async def _main(self, wants: list[Want]) -> None:
        tasks = []
        for want in wants:
            await asyncio.sleep(want.after)
            tasks.append(asyncio.create_task(self._play(want)))
        await asyncio.gather(*tasks)
        # No turn is lost: all can be had again, and nothing is remembered.
        limiter = self.limiter
        assert limiter == Limiter(limiter.at_once, limiter.shared, _given=limiter._given)
        turns = [limiter.turn(number) for number in range(limiter.at_once)]
        async with asyncio.timeout(0):
            for turn in turns:
                await turn.__aenter__()

    async def _play(self, want: Want) -> None:
        turn = self.limiter.turn(*want.groups)
        task = asyncio.create_task(self._work(turn, want))
        if want.later:
            asyncio.get_running_loop().call_later(0.5, turn.want, want.later)
        if want.given_up is not None:
            await asyncio.sleep(want.given_up)
            for _ in range(want.turns):
                await asyncio.sleep(0)
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _work(self, turn: Turn, want: Want) -> None:
        async with turn:
            group = turn.group
            if group not in turn.groups:
                self.wrong.append(turn)
            self.begun += 1
            self.held[group] += 1
            self.working += 1
            self.most_working = max(self.most_working, self.working)
            self.most_held = max(self.most_held, self.held[group])
            try:
                await asyncio.sleep(want.seconds / 3)
                if want.waits:
                    turn.pause()
                    self.working -= 1
                try:
                    await asyncio.sleep(want.seconds / 3)
                finally:
                    if want.waits:
                        turn.pause(paused=False)
                        self.working += 1
                await asyncio.sleep(want.seconds / 3)
            finally:
                self.held[group] -= 1
                self.working -= 1


@given(wants=_WANTS, at_once=st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_there_are_never_more_turns_than_allowed_and_none_is_lost(
    wants: list[Want], at_once: int
) -> None:
    """Never more at once, never more than one less of one group (unless there is but one), whatever
    is cancelled when; in the end all of them can be had again."""
    never_wait = [Want(**{**vars(want), "waits": False}) for want in wants]
    history = History(never_wait, at_once=at_once)
    assert history.most_working <= at_once
    assert history.most_held <= max(1, at_once - 1)
    assert not history.wrong


@given(wants=_WANTS, at_once=st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_what_waits_in_a_turn_counts_for_its_own_group(wants: list[Want], at_once: int) -> None:
    """However many turns pause, no group has more than its share, and none is lost."""
    history = History(wants, at_once=at_once)
    assert history.most_held <= max(1, at_once - 1)


@given(count=st.integers(0, 8), at_once=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_a_group_that_is_alone_has_all_turns(count: int, at_once: int) -> None:
    """As many as there are turns, and never more."""
    want = Want(0.0, ("a",), seconds=1.0, waits=False, given_up=None, turns=0, later=None)
    history = History([want] * count, at_once=at_once, shared=False)
    assert history.most_held == min(at_once, count)


@given(wants=_WANTS, at_once=st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_whoever_does_not_give_up_gets_a_turn(wants: list[Want], at_once: int) -> None:
    """Nobody starves."""
    patient = [Want(**{**vars(want), "given_up": None}) for want in wants]
    assert History(patient, at_once=at_once).begun == len(wants)


@given(
    steps=st.lists(st.sampled_from("abcd") | st.integers(0, 5), max_size=60),
    at_once=st.integers(1, 4),
)
@settings(max_examples=300, deadline=None)
def test_groups_take_turns(steps: list[str | int], at_once: int) -> None:
    """While somebody of a group waits, and the group has less than its share, no other group has
    two turns; within a group whoever came first is first. A letter comes, a number ends a turn."""
    limiter, share = Limiter(at_once), max(1, at_once - 1)
    waiting: dict[str, list[Turn]] = {group: [] for group in "abcd"}
    running: list[Turn] = []
    held: Counter[object] = Counter()
    had: dict[str, Counter[str]] = {group: Counter() for group in "abcd"}

    def begin(group: str, turn: Turn) -> None:
        assert waiting[group].pop(0) is turn
        running.append(turn)
        held[group] += 1
        had[group].clear()
        for other, counts in had.items():
            if waiting[other] and held[other] < share:
                counts[group] += 1
                assert counts[group] == 1, f"{other} waited for two turns of {group}"
            else:
                counts.clear()

    for step in steps:
        if isinstance(step, str):
            turn = limiter.turn(step)
            turn.begin = partial(begin, step, turn)
            waiting[step].append(turn)
            limiter.enter(turn)
        elif running:
            ended = running.pop(step % len(running))
            held[ended.group] -= 1
            limiter.leave(ended)
        idle = at_once - len(running)
        assert not idle or all(held[group] == share for group in "abcd" if waiting[group])
