"""The queue under random schedules: keys, delays, lengths of work, failures, few workers."""

import asyncio
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from flowdeps.scheduling.queue import Queue
from tests.unit.scheduling import virtual

_LONG = 100_000.0
_KEYS = st.sampled_from("abcd")
_SECONDS = st.integers(0, 40).map(lambda tenths: tenths / 10)


@dataclass(frozen=True)
class Add:
    """`key` is added after a pause, to be handled within `after` seconds; None: without."""

    pause: float
    key: str
    after: float


@dataclass(frozen=True)
class Work:
    """What a handler does: works `seconds`, then fails, or wants to be called again."""

    seconds: float
    fails: bool
    again: float | None


_ADDS = st.lists(st.builds(Add, pause=_SECONDS, key=_KEYS, after=_SECONDS), max_size=25)
_WORK = st.lists(
    st.builds(Work, seconds=_SECONDS, fails=st.booleans(), again=st.none() | _SECONDS), max_size=30
)


class History:
    """Runs a schedule and keeps who was handled when."""

    def __init__(self, adds: list[Add], work: list[Work], *, workers: int) -> None:
        self.adds: list[tuple[float, Add]] = []
        self.spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.most_at_once = 0
        self.overlaps = 0
        self._script, self._work, self._workers = adds, list(work), workers
        self._running: Counter[str] = Counter()
        virtual.run(self._main())

    async def _main(self) -> None:
        queue = Queue(self._handle, workers=self._workers)
        running = asyncio.create_task(queue.run())
        for add in self._script:
            await asyncio.sleep(add.pause)
            self.adds.append((virtual.now(), add))
            queue.add(add.key, after=add.after)
        await asyncio.sleep(_LONG)
        health = queue.health()
        assert (health.ready, health.delayed, health.running) == (0, 0, 0)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    async def _handle(self, key: str) -> float | None:
        start = virtual.now()
        work = self._work.pop() if self._work else Work(0.0, fails=False, again=None)
        self.overlaps += self._running[key]
        self._running[key] += 1
        self.most_at_once = max(self.most_at_once, self._running.total())
        await asyncio.sleep(work.seconds)
        self._running[key] -= 1
        self.spans[key].append((start, virtual.now()))
        if work.fails:
            raise ValueError("as planned")
        return work.again


@given(adds=_ADDS, work=_WORK, workers=st.integers(1, 3))
@settings(max_examples=300, deadline=None)
def test_no_change_is_lost_and_none_is_handled_twice_at_once(
    adds: list[Add], work: list[Work], workers: int
) -> None:
    """Every add is followed by a handling of its key; a key is never handled twice at once, nor
    more keys than there are workers; and at the end the queue is empty."""
    history = History(adds, work, workers=workers)
    assert history.overlaps == 0
    assert history.most_at_once <= workers
    for added, add in history.adds:
        assert any(start >= added for start, _ in history.spans[add.key]), f"{add} was lost"
    assert set(history.spans) == {add.key for add in adds}


@given(adds=_ADDS, work=_WORK)
@settings(max_examples=300, deadline=None)
def test_with_a_free_worker_every_key_is_handled_in_time(adds: list[Add], work: list[Work]) -> None:
    """Each add is met when it is due, or, where the key is being handled then, right after."""
    history = History(adds, work, workers=4)
    for added, add in history.adds:
        due = added + add.after
        busy_until = max((end for start, end in history.spans[add.key] if start <= due), default=0)
        latest = max(due, busy_until) + 1e-6
        starts = [start for start, _ in history.spans[add.key]]
        assert any(added <= start <= latest for start in starts), f"{add} was late"


@given(adds=_ADDS)
@settings(max_examples=200, deadline=None)
def test_nothing_is_handled_without_a_reason(adds: list[Add]) -> None:
    """Where handlers ask for nothing, there are no more handlings of a key than adds, and each
    comes when one of the adds before it is due."""
    history = History(adds, [], workers=4)
    for key, spans in history.spans.items():
        dues = [added + add.after for added, add in history.adds if add.key == key]
        assert len(spans) <= len(dues)
        for start, _ in spans:
            assert any(abs(start - due) < 1e-6 for due in dues)
