import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest

from flowdeps.scheduling.clock import Backoff
from flowdeps.scheduling.queue import Queue
from tests.unit.scheduling import virtual

Handle = Callable[[str], Awaitable[float | None]]


class Log:
    """A handler that notes when it is called with what, and works `seconds`."""

    def __init__(self, *, seconds: float = 0.0, after: float | None = None) -> None:
        self.calls: list[tuple[float, str]] = []
        self.seconds = seconds
        self.after = after

    async def __call__(self, key: str) -> float | None:
        self.calls.append((virtual.now(), key))
        await asyncio.sleep(self.seconds)
        return self.after

    @property
    def keys(self) -> list[str]:
        return [key for _, key in self.calls]

    def times(self, key: str) -> list[float]:
        return [time for time, called in self.calls if called == key]


def play(
    queue: Queue[str], script: Callable[[], Coroutine[Any, Any, None]], *, until: float = 3600
) -> None:
    """Run the queue and a script that adds to it; end both at the time `until`."""

    async def main() -> None:
        running = asyncio.create_task(queue.run())
        await script()
        await asyncio.sleep(until - virtual.now())
        assert not running.done(), "the queue ended by itself"
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    virtual.run(main())


def test_a_key_stands_in_the_queue_at_most_once() -> None:
    """Added three times before a worker comes to it, a key is handled once."""
    log = Log()
    queue = Queue(log)

    async def script() -> None:
        for _ in range(3):
            queue.add("a")

    play(queue, script)
    assert log.keys == ["a"]


@pytest.mark.parametrize("delays", [(9.0, 5.0), (5.0, 9.0), (9.0, 5.0, 7.0), (5.0, 5.0)])
def test_adding_a_key_again_can_only_make_it_earlier(delays: tuple[float, ...]) -> None:
    """Of several due times the earliest wins, in whatever order they come."""
    log = Log()
    queue = Queue(log)

    async def script() -> None:
        for delay in delays:
            queue.add("a", after=delay)

    play(queue, script)
    assert log.times("a") == [pytest.approx(5.0)]


def test_a_key_is_handled_by_one_worker_at_a_time() -> None:
    """Added while it is handled, a key waits for the end of that, and is handled once more."""
    log = Log(seconds=10.0)
    queue = Queue(log, workers=4)

    async def script() -> None:
        queue.add("a")
        for _ in range(5):
            await asyncio.sleep(1)
            queue.add("a")

    play(queue, script)
    assert log.times("a") == [0.0, pytest.approx(10.0)]


def test_a_delay_given_while_a_key_is_handled_counts_from_then() -> None:
    """What is added for later while the key is handled is due when it was asked for, not sooner."""
    log = Log(seconds=10.0)
    queue = Queue(log)

    async def script() -> None:
        queue.add("a")
        await asyncio.sleep(4)
        queue.add("a", after=30.0)

    play(queue, script)
    assert log.times("a") == [0.0, pytest.approx(34.0)]


def test_keys_are_handled_in_the_order_in_which_they_are_due() -> None:
    """One worker takes the key that has waited longest, equal ones as they were added."""
    log = Log(seconds=1.0)
    queue = Queue(log, workers=1)

    async def script() -> None:
        for key, after in (("c", 0.2), ("a", 0.0), ("b", 0.0), ("d", 0.1)):
            queue.add(key, after=after)

    play(queue, script)
    assert log.keys == ["a", "b", "d", "c"]


def test_no_more_keys_are_handled_at_once_than_there_are_workers() -> None:
    """With three workers and ten keys of one second each, the work takes four seconds."""
    log = Log(seconds=1.0)
    queue = Queue(log, workers=3)

    async def script() -> None:
        for number in range(10):
            queue.add(str(number))

    play(queue, script)
    assert [time for time, _ in log.calls] == pytest.approx([0] * 3 + [1] * 3 + [2] * 3 + [3])


def test_a_returned_delay_brings_the_key_back_after_it() -> None:
    """A handler that returns seconds is called again when they have passed since its end."""
    log = Log(seconds=2.0, after=8.0)
    queue = Queue(log)

    async def script() -> None:
        queue.add("a")

    play(queue, script, until=35)
    assert log.times("a") == pytest.approx([0, 10, 20, 30])


def test_none_brings_the_key_back_only_when_it_is_added() -> None:
    """A handler that returns None is not called again by itself."""
    log = Log()
    queue = Queue(log)

    async def script() -> None:
        queue.add("a")
        await asyncio.sleep(1000)
        queue.add("a")

    play(queue, script)
    assert log.times("a") == pytest.approx([0, 1000])


def test_an_add_while_handled_comes_before_a_returned_delay() -> None:
    """Of the handler's own wish and an add meanwhile, the earlier counts, and the other is met
    by it."""
    log = Log(seconds=1.0, after=100.0)
    queue = Queue(log)

    async def script() -> None:
        queue.add("a")
        await asyncio.sleep(0.5)
        queue.add("a")

    play(queue, script, until=150)
    assert log.times("a") == pytest.approx([0, 1, 102])


def test_a_failing_key_comes_back_after_pauses_that_double() -> None:
    """Failures in a row: about 1, 2, 4, 8, … seconds, ± 20 %, five minutes at most."""
    times: list[float] = []
    failed: list[tuple[str, str]] = []

    async def handle(_key: str) -> float | None:
        times.append(virtual.now())
        raise ConnectionError("no answer")

    queue = Queue(handle, on_error=lambda key, error: failed.append((key, str(error))))

    async def script() -> None:
        queue.add("a")

    play(queue, script, until=4000)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    for number, pause in enumerate(pauses):
        assert 0.8 <= pause / min(Backoff().first * 2**number, Backoff().longest) <= 1.2
    assert len(pauses) > 10
    assert failed == [("a", "no answer")] * len(times)


def test_one_success_forgets_the_failures_before_it() -> None:
    """After a success the next failure's pause is the first again."""
    answers: list[float | Exception] = [ValueError(), ValueError(), ValueError(), 50.0]
    times: list[float] = []

    async def handle(_key: str) -> float | None:
        times.append(virtual.now())
        answer = answers[(len(times) - 1) % len(answers)]
        if isinstance(answer, Exception):
            raise answer
        return answer

    queue = Queue(handle)

    async def script() -> None:
        queue.add("a")

    play(queue, script, until=70)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[3] == pytest.approx(50.0)
    assert 0.8 <= pauses[4] <= 1.2


def test_an_add_brings_a_failing_key_back_before_its_pause_ends() -> None:
    """Waiting out a failure never delays a change: an add is handled at once."""
    times: list[float] = []

    async def handle(_key: str) -> float | None:
        times.append(virtual.now())
        if len(times) < 8:
            raise ValueError
        return None

    queue = Queue(handle)

    async def script() -> None:
        queue.add("a")
        await asyncio.sleep(40)
        queue.add("a")

    play(queue, script)
    assert 40.0 in times


def test_one_failing_key_holds_up_no_other() -> None:
    """Other keys are handled while one is failing."""
    log = Log()

    async def handle(key: str) -> float | None:
        await log(key)
        if key == "bad":
            raise ValueError
        return None

    queue = Queue(handle, workers=1)

    async def script() -> None:
        queue.add("bad")
        for second in range(50):
            queue.add("good")
            await asyncio.sleep(1)
            assert len(log.times("good")) == second + 1

    play(queue, script)


@pytest.mark.parametrize("failures", [1, 2, 64, 65, 2000, 10**9])
def test_the_pause_has_an_upper_end_however_long_an_outage(failures: int) -> None:
    """Any number of failures in a row gives a pause, at most a fifth above the longest."""
    assert 0 < Backoff()(failures) <= Backoff().longest * 1.2
    assert Backoff(longest=30.0)(failures) <= 36.0


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("waiting", [None, 500.0])
def test_a_cancellation_ends_the_queue_even_as_a_key_comes(
    turns: int, waiting: float | None
) -> None:
    """Cancelled at any turn of the loop after an add, the queue ends, idle or waiting."""

    async def main() -> None:
        queue = Queue(Log(seconds=1000))
        running = asyncio.create_task(queue.run())
        if waiting:
            queue.add("later", after=waiting)
        await asyncio.sleep(1)
        queue.add("now", after=waiting / 2 if waiting else 0.0)
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        ended, _ = await asyncio.wait({running}, timeout=10)
        assert ended, "the cancellation was lost"
        assert running.cancelled()

    virtual.run(main())


def test_a_cancellation_ends_what_is_being_handled() -> None:
    """Handlers are cancelled with the queue, and have ended when it has."""
    ended: list[str] = []

    async def handle(key: str) -> float | None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.5)
            ended.append(key)
        return None

    queue = Queue(handle)

    async def script() -> None:
        queue.add("a")
        queue.add("b")

    play(queue, script, until=10)
    assert sorted(ended) == ["a", "b"]


def test_busy_says_that_a_key_is_due_or_being_handled() -> None:
    """A key is busy from when it is due until it has been handled; one for later is not."""
    queue = Queue(Log(seconds=10.0), workers=1)

    async def script() -> None:
        queue.add("a")
        queue.add("b")
        queue.add("c", after=15.0)
        assert [queue.busy(key) for key in "abcd"] == [True, True, False, False]
        await asyncio.sleep(5)
        assert [queue.busy(key) for key in "abcd"] == [True, True, False, False]
        await asyncio.sleep(13)
        assert [queue.busy(key) for key in "abcd"] == [False, True, True, False]
        await asyncio.sleep(20)
        assert [queue.busy(key) for key in "abcd"] == [False] * 4

    play(queue, script)


def test_health_tells_how_long_keys_wait_and_passes_run() -> None:
    """Counts and ages follow the queue, and are zero where there is nothing."""
    queue = Queue(Log(seconds=100.0), workers=1)

    async def script() -> None:
        empty = queue.health()
        assert (empty.ready, empty.delayed, empty.running) == (0, 0, 0)
        assert (empty.oldest_ready, empty.longest_running) == (0.0, 0.0)
        queue.add("a")
        await asyncio.sleep(1)
        queue.add("b")
        queue.add("c", after=50)
        await asyncio.sleep(20)
        health = queue.health()
        assert (health.ready, health.delayed, health.running) == (1, 1, 1)
        assert health.oldest_ready == pytest.approx(20)
        assert health.longest_running == pytest.approx(21)

    play(queue, script)
