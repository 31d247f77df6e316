"""When a template may be written: bursts, drifts, and their ends. All by given times."""

from collections.abc import Callable
from typing import cast

import pytest

from flowdeps.delivery.kinds.kind import Fragment
from flowdeps.reconcile.work_pool.write_throttle import WriteThrottle

FRAGMENT, OTHER = cast("Fragment", "fragment"), cast("Fragment", "other")
PAUSES = [2, 6, 15, 30, 60]
"""Least seconds between a write and the next, by how many there were in the burst."""
HOLDS = [30, 60, 75, 90, 120]
"""Most seconds that a write waits for sets that are being worked on; from the third on, the end of
the burst ends the wait."""


def throttle(jitter: float = 0.5) -> WriteThrottle:
    """One without a write yet; at a jitter of 0.5 pauses are neither shortened nor made longer."""
    return WriteThrottle(jitter=lambda: jitter)


def idle() -> bool:
    """No set is being worked on."""
    return False


def busy() -> bool:
    """Some set always is."""
    return True


def first_write(
    one: WriteThrottle, start: float, working: Callable[[], bool], *, step: float = 0.1
) -> float:
    """How long after `start` a template that is asked about from then on is written."""
    now = start
    while (pause := one.wait(now, working)) is not None:
        assert pause > 0
        now += min(pause, step)
        assert now < start + 1000, "it is never written"
    return now - start


def after_writes(number: int) -> tuple[WriteThrottle, float]:
    """One with so many writes in a burst, each as soon as possible; and when the last one was."""
    one, now = throttle(), 1000.0
    for _ in range(number):
        now += first_write(one, now, idle)
        one.wrote(now, FRAGMENT)
    return one, now


def test_the_first_write_is_made_at_once() -> None:
    """However much its sets are being worked on."""
    assert throttle().wait(0.0, busy) is None


@pytest.mark.parametrize("writes", range(1, 8))
def test_the_next_write_comes_after_a_pause_that_grows(writes: int) -> None:
    """From two seconds to a minute, while no set is being worked on."""
    one, last = after_writes(writes)
    pause = PAUSES[min(writes, len(PAUSES)) - 1]
    assert one.wait(last + pause - 0.01, idle) == pytest.approx(0.01)
    assert one.wait(last + pause, idle) is None


@pytest.mark.parametrize("writes", range(1, 8))
def test_a_write_waits_for_its_sets_no_longer_than_a_hold_that_grows(writes: int) -> None:
    """From half a minute to two minutes, then it is made."""
    one, last = after_writes(writes)
    hold = HOLDS[min(writes, len(HOLDS)) - 1]
    assert first_write(one, last, busy) == pytest.approx(hold, abs=0.2)


def test_a_write_is_made_as_soon_as_its_sets_are_done() -> None:
    """It asks again several times a second."""
    one, last = after_writes(1)
    left = [True] * 20
    waited = first_write(one, last, lambda: bool(left) and left.pop(), step=1)
    assert waited == pytest.approx(2 + 20 * 0.2)


def test_a_hold_is_counted_from_when_a_write_was_first_wanted() -> None:
    """Not from each question; a write that was made begins it anew."""
    one, last = after_writes(1)
    assert one.wait(last + 20, busy) is not None
    assert one.wait(last + 49, busy) is not None
    assert one.wait(last + 50, busy) is None
    one.wrote(last + 50, FRAGMENT)
    assert one.wait(last + 52, busy) is not None
    assert one.wait(last + 111, busy) is not None
    assert one.wait(last + 112, busy) is None


@pytest.mark.parametrize("writes", range(1, 8))
def test_a_burst_ends_with_a_calm_that_grows_with_its_pauses(writes: int) -> None:
    """A minute beyond the pause: a write right after the longest pause must not end the burst."""
    calm = 60 + PAUSES[min(writes, len(PAUSES)) - 1]
    one, last = after_writes(writes)
    assert one.wait(last + calm, busy) is not None
    assert one.writes == writes
    one, last = after_writes(writes)
    assert one.wait(last + calm + 0.01, busy) is None
    assert one.writes == 0


def test_writes_a_minute_apart_stay_one_burst() -> None:
    """A set that changes every minute or so, for ever, is held as in the middle of a burst."""
    one, now = after_writes(5)
    for _ in range(50):
        now += 65
        assert one.wait(now, busy) is not None
        one.wrote(now, FRAGMENT)


def test_a_template_that_was_as_we_want_it_and_is_not_has_drifted() -> None:
    """Where we want something else ourselves, or never saw it so, nobody else has changed it."""
    one = throttle()
    assert not one.drifted(FRAGMENT)
    one.settled(0.0, FRAGMENT)
    assert one.drifted(FRAGMENT)
    assert not one.drifted(OTHER)
    one.wrote(1.0, OTHER)
    assert one.drifted(OTHER)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_drifts_are_written_over_at_once_and_from_the_third_on_after_growing_pauses(
    jitter: float,
) -> None:
    """A quarter of a minute, a half, one, two, five: a fifth more or less, by chance."""
    one, now, pauses = throttle(jitter), 1000.0, list[float]()
    for _ in range(7):
        start = now
        while (pause := one.wait_for_others(now)) is not None:
            now += pause
        pauses.append(now - start)
    share = 0.8 + 0.4 * jitter
    assert pauses[:3] == [0, 0, 0]
    assert pauses[3:7] == pytest.approx([15 * share, 30 * share, 60 * share, 120 * share])
    assert one.contended


def test_drifts_that_are_ten_minutes_old_are_forgotten() -> None:
    """A pool is contended until the first of three drifts is; settling says when to check."""
    one = throttle()
    for now in (0.0, 100.0, 200.0):
        assert one.wait_for_others(now) is None
        assert one.settled(now, FRAGMENT) == (400.0 if now == 200.0 else None)
    assert one.contended
    assert one.settled(599.0, FRAGMENT) == 1.0
    assert one.settled(600.0, FRAGMENT) is None
    assert [one.contended, one.wait_for_others(650.0), one.contended] == [False, None, True]


def test_a_drift_that_is_left_alone_is_not_counted_again() -> None:
    """Only what was written over is: asking costs nothing."""
    one = throttle()
    for _ in range(3):
        one.wait_for_others(0.0)
    for now in range(1, 15):
        assert one.wait_for_others(float(now)) == pytest.approx(15 - now)
    assert len(one.drifts) == 3
