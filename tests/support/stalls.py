"""No event loop of a test stands still for long.

What an event loop computes without a turn, nobody else gets: the Lease's thread shares the
processor, and no watch, no timer and no other set gets anything. By the time of the thread's
processor, so that a busy machine fails no test; without the collector of garbage, which walks
over all that the tests before have left.
"""

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from flowdeps.scheduling.heartbeat import STALL_SECONDS


@contextmanager
def watched(computed: Callable[[], float] = time.thread_time) -> Iterator[list[float]]:
    """The seconds of each turn of an event loop that took too long, of all loops of the process."""
    found: list[float] = []
    turn = asyncio.BaseEventLoop._run_once  # type: ignore[attr-defined]
    collecting = threading.local()

    def collects(phase: str, _: object) -> None:
        spent = computed() if phase == "stop" else -computed()
        collecting.seconds = getattr(collecting, "seconds", 0.0) + spent

    def measured(loop: asyncio.BaseEventLoop) -> None:
        collecting.seconds, start = 0.0, computed()
        turn(loop)
        if (seconds := computed() - start - collecting.seconds) > STALL_SECONDS:
            found.append(seconds)

    gc.callbacks.append(collects)
    try:
        with patch.object(asyncio.BaseEventLoop, "_run_once", measured):
            yield found
    finally:
        gc.callbacks.remove(collects)


@pytest.fixture(autouse=True)
def no_stall(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which an event loop computes for a second without a turn.

    A test whose own code does so has the mark `stalls`.
    """
    with watched() as found:
        yield
    if request.node.get_closest_marker("stalls") is None:
        assert not found, f"an event loop stood still for {found} seconds of computing"
