"""Whether an event loop turns: for another thread, and for who looks for what holds it up.

The loop beats by itself, several times a second. What it computes between two beats, by the time of
its thread's processor, is no more than a pause if nothing holds it up. A busy machine makes a beat
late, but adds nothing to that time.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from flowdeps.scheduling.clock import Clock

STALL_SECONDS = 1.0
"""How long a loop may compute without a turn."""
HUNG_SECONDS = 60.0
"""How long a loop stands still before it counts as one that hangs."""
_EVERY_SECONDS = 0.1


@dataclass
class Heartbeat:
    """Of the loop in which `beat` runs."""

    clock: Clock
    """Of the seconds that others wait; read in several threads."""
    on_stall: Callable[[float], None] = lambda _seconds: None
    """Called with the seconds that the loop has computed without a turn, if they are too many."""
    computed: Clock = time.thread_time
    """Returns the seconds that the loop's thread has computed."""
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.clock()

    def still(self) -> float:
        """Return for how many seconds the loop has stood still, at most; from any thread."""
        return self.clock() - self._last

    async def beat(self) -> NoReturn:
        """Beat until cancelled."""
        while True:
            self._last, before = self.clock(), self.computed()
            await asyncio.sleep(_EVERY_SECONDS)
            if (seconds := self.computed() - before) > STALL_SECONDS + _EVERY_SECONDS:
                self.on_stall(seconds)
