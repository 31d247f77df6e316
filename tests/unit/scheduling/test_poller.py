"""Things that are read again now and then, on a virtual clock."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from itertools import pairwise
from typing import Any

import pytest

from flowdeps.scheduling.clock import Backoff
from flowdeps.scheduling.limiter import Limiter
from flowdeps.scheduling.poller import Poller
from flowdeps.scheduling.tracking import Failure
from tests.unit.scheduling import virtual

EVERY = 30.0
AWAY = OSError("away")


class Things:
    """Things that a poller reads in a second each, every half minute; keeps what it did."""

    def __init__(self, *, at_once: int = 8) -> None:
        self.now: dict[str, str | Exception] = {}
        self.reads: list[tuple[float, str]] = []
        self.was: list[str | None] = []
        self.called: list[tuple[float, str]] = []
        self.reading = self.most_at_once = 0
        limiter = Limiter(at_once)
        self.poller: Poller[str, str, str, str] = Poller(
            read=self._read,
            call=lambda key: self.called.append((virtual.now(), key)),
            to_failure=lambda error, what: Failure(type(error).__name__, f"{what}: {error}"),
            limiter=lambda _: limiter,
            backoff=Backoff(first=5.0, jitter=lambda: 0.5),
        )

    async def _read(self, thing: str, was: str | None) -> tuple[str, float]:
        self.reads.append((virtual.now(), thing))
        self.was.append(was)
        self.reading += 1
        self.most_at_once = max(self.most_at_once, self.reading)
        await asyncio.sleep(1)
        self.reading -= 1
        value = self.now.get(thing, "first")
        if isinstance(value, Exception):
            raise value
        return value, EVERY

    def need(self, key: str, *names: str) -> None:
        self.poller.need(key, frozenset(names))

    def times(self, thing: str = "x") -> list[float]:
        return [time for time, read in self.reads if read == thing]


def play(script: Callable[[Things], Coroutine[Any, Any, None]], **options: int) -> Things:
    """Run a script, then end the poller; nothing of it may be left."""

    async def main() -> Things:
        things = Things(**options)
        await script(things)
        await things.poller.close()
        assert len(asyncio.all_tasks()) == 1
        return things

    return virtual.run(main())


def test_whoever_needs_a_thing_is_called_once_it_is_known() -> None:
    """Until then nothing is known of it, and whoever needs it waits."""

    async def script(things: Things) -> None:
        things.need("a", "x")
        things.need("b", "x")
        assert things.poller.get("x") is None
        assert things.poller.waits("a")
        await asyncio.sleep(2)
        assert things.poller.get("x") == "first"
        assert not things.poller.waits("a")

    things = play(script)
    assert sorted(things.called) == [(1, "a"), (1, "b")]
    assert things.times() == [0]


def test_a_thing_is_read_again_as_often_as_its_reader_says_and_gets_what_it_was() -> None:
    """Each pause begins when a read has ended; without a change nobody is called."""

    async def script(things: Things) -> None:
        things.need("a", "x")
        await asyncio.sleep(100)

    things = play(script)
    assert things.times() == [0, 31, 62, 93]
    assert things.was == [None, "first", "first", "first"]
    assert things.called == [(1, "a")]


def test_whoever_needs_a_thing_is_called_when_it_has_changed() -> None:
    """Also one that came later; nobody else is."""

    async def script(things: Things) -> None:
        things.need("a", "x")
        things.need("other", "y")
        await asyncio.sleep(10)
        things.need("b", "x")
        things.now["x"] = "second"
        await asyncio.sleep(60)
        assert things.poller.get("x") == "second"

    things = play(script)
    assert sorted(things.called) == [(1, "a"), (1, "other"), (32, "a"), (32, "b")]


def test_what_cannot_be_read_for_now_stays_what_it_was() -> None:
    """An outage is no change, neither when it begins nor when it ends."""

    async def script(things: Things) -> None:
        things.need("a", "x")
        await asyncio.sleep(10)
        things.now["x"] = AWAY
        await asyncio.sleep(300)
        assert things.poller.get("x") == "first"
        del things.now["x"]
        await asyncio.sleep(600)
        assert things.poller.get("x") == "first"

    things = play(script)
    assert things.called == [(1, "a")]
    assert things.times()[-1] > 310


def test_a_failure_is_shown_where_nothing_is_known_and_tried_again_ever_more_rarely() -> None:
    """Whoever needs the thing is called for the first failure, for another one, and for the end."""

    async def script(things: Things) -> None:
        things.now["x"] = AWAY
        things.need("a", "x")
        await asyncio.sleep(100)
        failure = things.poller.get("x")
        assert isinstance(failure, Failure)
        assert (failure.reason, failure.message) == ("OSError", "reading x: away")
        assert failure.until > virtual.now()
        assert not things.poller.waits("a")
        things.now["x"] = ValueError("odd")
        await asyncio.sleep(100)
        del things.now["x"]
        await asyncio.sleep(400)
        assert things.poller.get("x") == "first"

    things = play(script)
    assert [b - a - 1 for a, b in pairwise(things.times())][:5] == [5, 10, 20, 40, 80]
    assert [time for time, _ in things.called] == [1, 161, 322]


def test_a_success_forgets_the_failures_before_it() -> None:
    """The next outage begins with the shortest pause again."""

    async def script(things: Things) -> None:
        things.now["x"] = AWAY
        things.need("a", "x")
        await asyncio.sleep(10)
        del things.now["x"]
        await asyncio.sleep(10)
        things.now["x"] = AWAY
        await asyncio.sleep(50)

    things = play(script)
    assert things.times() == [0, 6, 17, 48, 54, 65]


def test_a_thing_that_nobody_needs_any_more_is_not_read_and_is_forgotten() -> None:
    """One that somebody still needs is; whoever comes back has it read anew."""

    async def script(things: Things) -> None:
        things.need("a", "x", "y")
        things.need("b", "y")
        await asyncio.sleep(10)
        things.need("a")
        assert things.poller.needed() == {"y"}
        await asyncio.sleep(90)
        things.need("a", "x")
        assert things.poller.get("x") is None
        await asyncio.sleep(2)
        assert things.poller.get("x") == "first"

    things = play(script)
    assert things.times() == [0, 100]
    assert things.times("y") == [0, 31, 62, 93]


def test_what_is_let_go_and_needed_again_at_once_stays_known() -> None:
    """A reconcile may let go first and say what it needs later."""

    async def script(things: Things) -> None:
        things.need("a", "x")
        await asyncio.sleep(10)
        things.need("a")
        things.need("a", "x")
        assert things.poller.get("x") == "first"
        await asyncio.sleep(10)
        assert things.poller.get("x") == "first"

    assert play(script).called == [(1, "a")]


def test_what_is_let_go_before_it_was_read_is_never_read() -> None:
    """Of an image this would be a pod."""

    async def script(things: Things) -> None:
        things.need("a", "x")
        things.need("a")
        await asyncio.sleep(100)
        assert things.poller.needed() == frozenset()

    assert play(script).reads == []


def test_a_read_that_nobody_needs_any_more_ends() -> None:
    """A pod would hang for an hour. Whoever needs the thing while it ends has it read anew, once
    that is over."""

    async def main() -> None:
        spans: list[list[float]] = []
        called: list[tuple[float, str]] = []

        async def read(_thing: str, _was: str | None) -> tuple[str, float]:
            spans.append([virtual.now()])
            try:
                await asyncio.sleep(10)
            finally:
                await asyncio.sleep(2)
                spans[-1].append(virtual.now())
            return "value", EVERY

        limiter = Limiter(1)
        poller: Poller[str, str, str, str] = Poller(
            read=read,
            call=lambda key: called.append((virtual.now(), key)),
            to_failure=lambda *_: Failure("", ""),
            limiter=lambda _: limiter,
        )
        poller.need("a", frozenset({"x", "y"}))
        await asyncio.sleep(5)
        poller.need("a", frozenset())
        await asyncio.sleep(1)
        assert poller.needed() == frozenset()
        poller.need("b", frozenset({"x"}))
        await asyncio.sleep(20)
        assert spans == [[0, 7], [7, 19]], "of y nothing was ever read"
        assert called == [(19, "b")]
        poller.need("b", frozenset())
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks()) == 1

    virtual.run(main())


def test_a_thing_can_be_read_before_its_time() -> None:
    """All that a key needs, or one thing if what is known is old enough."""

    async def script(things: Things) -> None:
        things.need("a", "x", "y")
        await asyncio.sleep(10)
        things.poller.poll("a")
        await asyncio.sleep(10)
        things.poller.poll_thing("x", older_than=9.5)
        things.poller.poll_thing("x", older_than=8.5)
        things.poller.poll_thing("y", older_than=9.5)
        await asyncio.sleep(5)

    things = play(script)
    assert things.times() == [0, 10, 20]
    assert things.times("y") == [0, 10]


def test_a_look_while_a_thing_is_being_read_has_it_read_once_more() -> None:
    """What changes in the middle of a read may have been missed by it."""

    async def script(things: Things) -> None:
        things.need("a", "x")
        await asyncio.sleep(0.5)
        things.poller.poll("a")
        await asyncio.sleep(10)

    assert play(script).times() == [0, 2]


def test_a_thing_is_read_once_a_second_at_most_however_often_somebody_looks() -> None:
    """Whoever edits a set in a hot loop has its sources read no more often."""

    async def script(things: Things) -> None:
        things.need("a", "x")
        for _ in range(100):
            await asyncio.sleep(0.1)
            things.poller.poll("a")
        await asyncio.sleep(10)

    assert play(script).times() == pytest.approx([0, 2, 4, 6, 8, 10])


@pytest.mark.parametrize("at_once", [1, 3])
def test_only_so_many_reads_run_at_a_time(at_once: int) -> None:
    """The others wait for their turn, and all get one."""

    async def script(things: Things) -> None:
        for key, names in (("a", "uvw"), ("b", "xyz")):
            things.need(key, *names)
        await asyncio.sleep(10)
        assert not any(map(things.poller.waits, "ab"))

    assert play(script, at_once=at_once).most_at_once == at_once


def test_the_first_read_is_of_whoever_asks_and_the_others_of_nobody() -> None:
    """Context variables, such as what log lines are about, are the first asker's only once."""
    about: ContextVar[str] = ContextVar("about", default="nobody")
    seen: list[str] = []

    async def read(_thing: str, _was: str | None) -> tuple[str, float]:
        seen.append(about.get())
        await asyncio.sleep(0)
        return "value", EVERY

    async def main() -> None:
        poller: Poller[str, str, str, str] = Poller(
            read=read, call=lambda _: None, to_failure=lambda *_: Failure("", "")
        )
        about.set("a")
        poller.need("a", frozenset({"x"}))
        await asyncio.sleep(40)
        await poller.close()

    virtual.run(main())
    assert seen == ["a", "nobody"]
