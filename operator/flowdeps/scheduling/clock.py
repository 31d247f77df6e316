"""The time and the chance that scheduling goes by, so that a test can pass in its own."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]
"""Returns the time in seconds; only differences mean something."""

Jitter = Callable[[], float]
"""Returns a number from 0.0 up to 1.0, another one each time."""


def loop_time() -> float:
    """Return the running event loop's time."""
    return asyncio.get_running_loop().time()


@dataclass(frozen=True)
class Backoff:
    """Pauses that double with each failure in a row, ± 20 %; all in seconds."""

    first: float = 1.0
    longest: float = 300.0
    jitter: Jitter = random.random

    def __call__(self, failures: int) -> float:
        """Return the pause after so many failures in a row (1 or more)."""
        pause = min(self.first * 2.0 ** min(failures - 1, 64), self.longest)
        return pause * (0.8 + 0.4 * self.jitter())
