import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from flowdeps.api.reasons import Reason
from flowdeps.app.assembly import to_failure
from flowdeps.locks.lock import Lock
from flowdeps.resolver.errors import IndexUnavailableError, ResolveError, UnsatisfiableError
from flowdeps.scheduling.limiter import Limiter
from flowdeps.scheduling.single_flight import SingleFlight
from flowdeps.scheduling.tracking import RETRY_SETTLED, Failure
from flowdeps.state.store import SetKey
from tests.unit.locks.builders import lock, pin
from tests.unit.scheduling import virtual

A, B, C = (SetKey("flows", name) for name in "abc")
LOCK = lock(pin("pandas", "2.3.3"))
OUTAGE = IndexUnavailableError("the index did not answer")
IMPOSSIBLE = UnsatisfiableError("a and b do not fit together")


class Desk:
    """Questions that take ten seconds and find `answers` in turn, the last one for ever; keeps who
    was called and what was looked for when."""

    def __init__(self, *answers: Lock | Exception) -> None:
        self.called: list[tuple[float, SetKey]] = []
        self.resolved: list[tuple[float, Lock | None]] = []
        self.cancelled = 0
        self._answers = list(answers)
        self.resolutions: SingleFlight[SetKey, Any, Lock, Reason] = SingleFlight(
            call=self._call, what="a resolution", to_failure=to_failure
        )

    def ask(
        self,
        key: SetKey,
        inputs: str = "i",
        *,
        previous: Lock | None = None,
        stamp: str = "",
        fetch: Callable[[], Coroutine[Any, Any, Lock | None]] | None = None,
    ) -> Lock | Failure[Reason] | None:
        async def find() -> Lock:
            return await self._resolve(await fetch() if fetch else previous)

        return self.resolutions.ask(key, (inputs, previous, stamp), find)

    def _call(self, key: SetKey) -> None:
        self.called.append((virtual.now(), key))

    async def _resolve(self, previous: Lock | None) -> Lock:
        self.resolved.append((virtual.now(), previous))
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_set_that_asks_is_called_when_the_answer_is_there() -> None:
    """The first question gets None and a resolver; the set is called, asks again, and has it."""

    async def main() -> None:
        desk = Desk(LOCK)
        assert desk.ask(A) is None
        assert desk.resolutions.waits(A)
        assert desk.resolutions.running() == 1
        await asyncio.sleep(11)
        assert desk.called == [(10, A)]
        assert desk.ask(A) is LOCK
        assert not desk.resolutions.waits(A)
        assert desk.resolutions.running() == 0

    virtual.run(main())


def test_equal_questions_are_resolved_once_and_all_who_asked_are_called() -> None:
    """Sets with the same inputs and the same pins to keep share one resolution."""

    async def main() -> None:
        desk = Desk(LOCK)
        assert [desk.ask(key) for key in (A, B, C)] == [None] * 3
        await asyncio.sleep(5)
        assert desk.ask(A) is None
        await asyncio.sleep(6)
        assert len(desk.resolved) == 1
        assert sorted(key for _, key in desk.called) == [A, B, C]
        assert desk.ask(B) is LOCK

    virtual.run(main())


@pytest.mark.parametrize(
    "different", [{"inputs": "other"}, {"previous": lock()}, {"stamp": "again"}]
)
def test_questions_that_differ_in_anything_are_resolved_apart(different: dict[str, Any]) -> None:
    """Other inputs, other pins to keep, or a refresh that somebody asked for: another question."""

    async def main() -> None:
        desk = Desk(LOCK)
        desk.ask(A)
        desk.ask(B, **different)
        assert desk.resolutions.running() == 2
        await asyncio.sleep(11)
        assert len(desk.resolved) == 2

    virtual.run(main())


def test_the_lock_to_keep_is_fetched_only_for_a_resolution() -> None:
    """Asking for an answer that is there reads nothing from the cluster."""

    async def main() -> None:
        desk = Desk(LOCK)
        fetched = []

        async def fetch() -> Lock | None:
            fetched.append(virtual.now())
            return LOCK

        for _ in range(3):
            desk.ask(A, fetch=fetch)
            await asyncio.sleep(6)
        assert len(fetched) == 1
        assert desk.resolved == [(0, LOCK)]

    virtual.run(main())


def test_an_answer_is_forgotten_once_everybody_had_it() -> None:
    """A minute later the same question is asked of the resolver again: the index may have more."""

    async def main() -> None:
        other = lock(pin("pandas", "2.4.0"))
        desk = Desk(LOCK, other)
        desk.ask(A)
        await asyncio.sleep(60)
        assert desk.ask(A) is LOCK
        await asyncio.sleep(60)
        assert desk.ask(A) is None
        await asyncio.sleep(11)
        assert desk.ask(A) is other

    virtual.run(main())


@pytest.mark.parametrize(
    ("error", "least", "most"),
    [(OUTAGE, 4, 6), (ResolveError("odd"), 4, 6), (IMPOSSIBLE, RETRY_SETTLED, 3601)],
)
def test_a_failure_is_remembered_until_its_time(
    error: ResolveError, least: float, most: float
) -> None:
    """An outage is asked again in seconds, what can't be met in an hour; until then every pass
    gets the failure at once, with the time to come back."""

    async def main() -> None:
        desk = Desk(error)
        desk.ask(A)
        await asyncio.sleep(11)
        assert desk.called == [(10, A)]
        failure = desk.ask(A)
        assert isinstance(failure, Failure)
        assert (failure.reason, failure.message) == (error.reason, error.message)
        assert least <= failure.until - 10 <= most
        assert desk.ask(B) == failure
        await asyncio.sleep(failure.until - virtual.now() - 0.1)
        assert desk.ask(A) == failure
        assert len(desk.resolved) == 1
        await asyncio.sleep(0.2)
        assert desk.ask(A) is None
        assert len(desk.resolved) == 1 or desk.resolutions.running() == 1

    virtual.run(main())


def test_pauses_grow_with_each_failure_and_end_with_a_success() -> None:
    """An outage is asked about ever more rarely, at most every five minutes or so."""

    async def main() -> None:
        desk = Desk(*[OUTAGE] * 12, LOCK)
        pauses = []
        while not isinstance(answer := desk.ask(A), Lock):
            if answer is None:
                await asyncio.sleep(11)
                continue
            pauses.append(answer.until - virtual.now())
            await asyncio.sleep(answer.until - virtual.now() + 0.1)
        assert len(pauses) == 12
        for number, pause in enumerate(pauses):
            assert 0.8 * min(5 * 2**number, 300) - 1.5 <= pause <= 1.2 * min(5 * 2**number, 300)
        assert not desk.resolutions.waits(A)

    virtual.run(main())


def test_a_failure_nobody_foresaw_is_an_answer_too(caplog: pytest.LogCaptureFixture) -> None:
    """An error that is no ResolveError, also of fetching the previous lock, ends the waiting, is
    tried again, and is in the log with its place."""

    async def main() -> None:
        desk = Desk(ZeroDivisionError("odd"))

        async def fetch() -> Lock | None:
            raise ConnectionError("the API server is away")

        desk.ask(A)
        await asyncio.sleep(9)
        desk.ask(B, "other", fetch=fetch)
        await asyncio.sleep(2)
        assert [key for _, key in desk.called] == [B, A]
        first, second = desk.ask(A), desk.ask(B, "other", fetch=fetch)
        assert isinstance(first, Failure)
        assert isinstance(second, Failure)
        assert (first.reason, first.message) == ("InternalError", "odd")
        assert 4 <= first.until - 10 <= 6
        assert "the API server is away" in second.message

    virtual.run(main())
    assert "ZeroDivisionError: odd" in caplog.text


def test_a_refresh_by_hand_is_not_answered_by_a_remembered_failure() -> None:
    """Who asks for a refresh after an outage gets a new try at once, not in an hour."""

    async def main() -> None:
        desk = Desk(IMPOSSIBLE, LOCK)
        desk.ask(A)
        await asyncio.sleep(11)
        assert isinstance(desk.ask(A), Failure)
        assert desk.ask(A, stamp="now") is None
        await asyncio.sleep(11)
        assert desk.ask(A, stamp="now") is LOCK

    virtual.run(main())


def test_what_is_forgotten_is_found_anew_and_what_is_under_way_goes_on() -> None:
    """Answers go; failures keep their pauses, and whoever waits needs no second resolver."""

    async def main() -> None:
        desk = Desk(LOCK, IMPOSSIBLE, LOCK)
        desk.ask(A, "found")
        await asyncio.sleep(11)
        desk.ask(B, "failed")
        await asyncio.sleep(11)
        desk.ask(C, "under way")
        await asyncio.sleep(5)
        desk.resolutions.forget()
        assert desk.ask(A, "found") is None
        assert isinstance(desk.ask(B, "failed"), Failure)
        assert desk.ask(C, "under way") is None
        await asyncio.sleep(6)
        assert desk.ask(C, "under way") is LOCK
        assert len(desk.resolved) == 4

    virtual.run(main())


def test_a_set_that_asks_something_else_meanwhile_is_called_for_that_alone() -> None:
    """A changed spec is a new question: the old one, which nobody waits for, is not answered."""

    async def main() -> None:
        desk = Desk(LOCK)
        desk.ask(A, "old")
        await asyncio.sleep(5)
        desk.ask(A, "new")
        await asyncio.sleep(6)
        assert desk.resolutions.waits(A)
        assert (desk.cancelled, desk.resolutions.running()) == (1, 1)
        await asyncio.sleep(5)
        assert not desk.resolutions.waits(A)
        assert desk.called == [(15, A)]

    virtual.run(main())


def test_a_question_of_several_ends_with_the_last_who_withdraws_it() -> None:
    """Whoever still waits gets the answer; whoever has withdrawn is not called."""

    async def main() -> None:
        desk = Desk(LOCK)
        for key in (A, B, C):
            desk.ask(key)
        desk.resolutions.withdraw(A)
        desk.resolutions.withdraw(A)
        await asyncio.sleep(5)
        with desk.resolutions.asking(B):
            pass
        with desk.resolutions.asking(C):
            desk.ask(C)
        assert [desk.resolutions.waits(key) for key in (A, B, C)] == [False, False, True]
        await asyncio.sleep(6)
        assert desk.called == [(10, C)]
        desk.ask(A, "other")
        await asyncio.sleep(5)
        desk.resolutions.withdraw(A)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (desk.cancelled, desk.resolutions.running()) == (1, 0)
        assert len(asyncio.all_tasks()) == 1

    virtual.run(main())


def test_what_is_withdrawn_and_asked_again_in_the_same_moment_goes_on() -> None:
    """Another set may take over a question from one that is edited."""

    async def main() -> None:
        desk = Desk(LOCK)
        desk.ask(A)
        await asyncio.sleep(5)
        desk.resolutions.withdraw(A)
        desk.ask(B)
        await asyncio.sleep(6)
        assert (desk.called, len(desk.resolved), desk.cancelled) == ([(10, B)], 1, 0)

    virtual.run(main())


def test_what_is_asked_again_while_it_ends_is_found_anew() -> None:
    """A pod takes a while to go: whoever asks meanwhile is called when it has, and asks again."""

    async def main() -> None:
        desk = Desk(LOCK)
        ends: list[float] = []

        async def find() -> Lock:
            try:
                await asyncio.sleep(10)
            finally:
                await asyncio.sleep(3)
                ends.append(virtual.now())
            return LOCK

        desk.resolutions.ask(A, "q", find)
        await asyncio.sleep(5)
        desk.resolutions.withdraw(A)
        await asyncio.sleep(1)
        assert desk.resolutions.ask(B, "q", find) is None
        desk.resolutions.withdraw(B)  # ends nothing a second time
        assert desk.resolutions.ask(C, "q", find) is None
        await asyncio.sleep(3)
        assert (ends, desk.called) == ([8], [(8, C)])
        assert desk.resolutions.ask(C, "q", find) is None
        await asyncio.sleep(14)
        assert desk.resolutions.ask(C, "q", find) is LOCK
        assert desk.called == [(8, C), (22, C)]

    virtual.run(main())


def test_a_question_of_two_namespaces_is_answered_when_either_has_its_turn() -> None:
    """Whoever asks what somebody else has asked before does not wait in their line."""

    async def main() -> None:
        other = SetKey("team", "a")
        desk = Desk(LOCK)
        single = desk.resolutions
        limiter = Limiter(2)
        single.limiter, single.group = lambda _: limiter, lambda key: key.namespace
        ends: dict[str, float] = {}

        def ask(key: SetKey, question: str) -> None:
            async def find() -> Lock:
                async with single.turn(question):
                    await asyncio.sleep(10)
                ends[question] = virtual.now()
                return LOCK

            single.ask(key, question, find)

        for number in range(20):
            ask(SetKey("flows", str(number)), str(number))
        await asyncio.sleep(1)
        ask(other, "19")
        await asyncio.sleep(300)
        assert len(ends) == 20
        assert ends["19"] == 11
        assert max(ends.values()) == 190

    virtual.run(main())


def test_an_answer_that_nobody_asks_for_any_more_is_soon_forgotten() -> None:
    """A set that is edited all the time does not fill the memory with locks; whoever still asks
    has its own for the whole time."""

    async def main() -> None:
        desk = Desk(LOCK)
        desk.resolutions.keep = 600.0
        desk.ask(B, "mine")
        for number in range(20):
            desk.ask(A, str(number))
            await asyncio.sleep(11)
        assert desk.ask(B, "mine") is LOCK
        assert len(desk.resolutions._tracked) <= 2 + 60 // 11 + 1
        desk.resolutions.withdraw(A)
        desk.resolutions.withdraw(B)
        await asyncio.sleep(61)
        desk.resolutions.tidy()
        assert desk.resolutions._tracked == {}
        assert not desk.resolutions._askers

    virtual.run(main())


def test_closing_ends_what_is_under_way_and_calls_nobody() -> None:
    """At the operator's end resolvers are cancelled, and have ended when `close` has."""

    async def main() -> None:
        desk = Desk(LOCK)
        desk.ask(A)
        desk.ask(B, "other")
        await asyncio.sleep(1)
        await desk.resolutions.close()
        assert desk.cancelled == 2
        assert desk.called == []
        assert len(asyncio.all_tasks()) == 1

    virtual.run(main())
