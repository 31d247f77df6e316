"""One fault at any point of a life's steps, and random mixes of them: each ends as without it."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.faults import Fault, at_requests, at_write
from tests.support.night import NIGHT, examples
from tests.unit.reconcile.lives import STEPS, WATCHES, Faults, play

# A cleanup that is killed has steps that never began.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine 'Cleanup.*' was never awaited")
STEP = pytest.mark.parametrize("step", STEPS)
EVERY = 1 if NIGHT else 101
"""Each how manyth point of all requests is tried; of all answers that are lost, each fifth."""


def check(step: str, faults: Faults, what: object) -> None:
    """A step with faults ends as it does without."""
    assert play(step, faults).state == play(step).state, f"{step}: {what}"


@STEP
def test_a_kill_at_any_write_ends_in_the_same_state(
    step: str, measured: Callable[[str], None]
) -> None:
    """Before the first write, and after each: what is there after one is there before the next."""
    writes = play(step).writes
    points = [(1, Fault.KILLED_BEFORE)]
    points += [(number, Fault.KILLED_AFTER) for number in range(1, writes + 1)]
    for number, fault in points:
        check(step, Faults(at_write(number, fault)), f"{fault} at write {number} of {writes}")
    assert len(points) > 4
    measured(f"{len(points)} kills")


@STEP
def test_an_answer_lost_after_any_write_ends_in_the_same_state(step: str) -> None:
    """The write is done, and nobody knows."""
    for number in range(1, play(step).writes + 1, 1 if NIGHT else 5):
        check(step, Faults(at_write(number, Fault.LOST)), f"lost at write {number}")


@STEP
def test_a_fault_of_any_request_ends_in_the_same_state(
    step: str, measured: Callable[[str], None]
) -> None:
    """Once, and of this and the two requests after it, reads as well as writes."""
    number = range(1, play(step).requests + 1)
    points = [*itertools.product(number, Fault, (1, 3))][::EVERY]
    for first, fault, times in points:
        plan = at_requests(dict.fromkeys(range(first, first + times), fault))
        check(step, Faults(plan), f"{fault} of {times} requests from number {first}")
    measured(f"{len(points)} faults of {len(number)} requests")


@STEP
def test_a_watch_that_is_late_or_loses_events_ends_in_the_same_state(step: str) -> None:
    """A list now and then finds what the watch did not bring."""
    first = 0 if NIGHT else [*STEPS].index(step) % 5
    for name, watch in [*WATCHES.items()][first :: 1 if NIGHT else 5]:
        check(step, Faults(watch=watch), f"the watch {name}")


@given(
    step=st.sampled_from([*STEPS]),
    faults=st.dictionaries(st.integers(1, 120), st.sampled_from(Fault), max_size=12),
    watch=st.sampled_from([*WATCHES]),
    delays=st.integers(0, 1000),
)
@settings(max_examples=examples(80), suppress_health_check=list(HealthCheck))
def test_any_mix_of_faults_ends_in_the_same_state(
    step: str, faults: dict[int, Fault], watch: str, delays: int
) -> None:
    """Several faults, by the numbers of the requests, with a watch that is at fault as well, and
    requests that take their time before and after they are done."""
    check(step, Faults(at_requests(faults), WATCHES[watch], delays), (faults, watch, delays))
