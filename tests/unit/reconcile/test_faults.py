"""One fault at any point of a life's steps, and random mixes of them: each ends as without it."""

import itertools
import random
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.faults import Fault, Plan, at_requests, at_write
from tests.support.night import NIGHT, examples
from tests.unit.reconcile.lives import STEPS, UNINSTALLED, Faults, play
from tests.unit.reconcile.simulation import MemoryWatch

STEP = pytest.mark.parametrize("step", STEPS)
EVERY = 1 if NIGHT else 13
"""Each how manyth point of all requests is tried."""


def check(step: str, faults: Faults, what: object) -> None:
    """A step with faults ends as it does without."""
    assert play(step, faults).state == play(step).state, f"{step}: {what}"


def said(capsys: pytest.CaptureFixture[str], step: str, points: int, what: str) -> None:
    """Print how much was tried."""
    with capsys.disabled():
        print(f"\n{step}: {points} {what}", end="")


@STEP
def test_a_kill_at_any_write_ends_in_the_same_state(
    step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first write, and after each: what is there after one is there before the next."""
    writes = play(step).writes
    points = [(1, Fault.KILLED_BEFORE)]
    points += [(number, Fault.KILLED_AFTER) for number in range(1, writes + 1)]
    for number, fault in points:
        check(step, Faults(at_write(number, fault)), f"{fault} at write {number} of {writes}")
    assert len(points) > 4
    said(capsys, step, len(points), "kills")


@STEP
def test_an_answer_lost_after_any_write_ends_in_the_same_state(step: str) -> None:
    """The write is done, and nobody knows."""
    for number in range(1, play(step).writes + 1):
        check(step, Faults(at_write(number, Fault.LOST)), f"lost at write {number}")


@STEP
def test_a_fault_of_any_request_ends_in_the_same_state(
    step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, and of this and the two requests after it, reads as well as writes."""
    number = range(1, play(step).requests + 1)
    points = [*itertools.product(number, Fault, (1, 3))][::EVERY]
    for first, fault, times in points:
        plan = at_requests(dict.fromkeys(range(first, first + times), fault))
        check(step, Faults(plan), f"{fault} of {times} requests from number {first}")
    said(capsys, step, len(points), "faults of requests")


def _shuffled(seed: int) -> object:
    def shuffle(watch: MemoryWatch) -> None:
        chance = random.Random(seed)
        lags: dict[str, float] = {}
        watch.lag = lambda uid: lags.setdefault(uid, chance.choice((0.0, 0.01, 1.0, 5.0, 60.0)))

    return shuffle


def _behind(events: int) -> object:
    def delay(watch: MemoryWatch) -> None:
        watch.behind = events

    return delay


def _missing(*events: str) -> object:
    def lose(watch: MemoryWatch) -> None:
        watch.missed = lambda event: event in events

    return lose


WATCHES = {
    "prompt": lambda _: None,
    **{f"behind by {events}": _behind(events) for events in (1, 2, 3, 5, 10)},
    "misses deletes": _missing("DELETED"),
    "misses new objects": _missing("ADDED"),
    "misses changes": _missing("MODIFIED"),
    "misses all": _missing("ADDED", "MODIFIED", "DELETED"),
    **{f"in another order, {seed}": _shuffled(seed) for seed in range(20 if NIGHT else 3)},
}
