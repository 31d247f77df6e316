"""When a pool's template may be written.

Changes that come together are written together. The first write of a burst is made at once. The
next one waits until no set of the pool is being worked on, but no shorter than a pause, which grows
with each write, and no longer than a hold. A burst ends, and with it all waiting, when nothing was
written for its pause and a minute more: from the third write on, that is the only hold.

A template that others have changed since we wrote it is a drift. It is written again at once; from
the third drift in ten minutes on, after pauses that grow.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from flowdeps.delivery.kinds.kind import Fragment
from flowdeps.scheduling.clock import Backoff, Jitter

# Seconds by the number of writes in the burst so far.
_PAUSES = (0.0, 2.0, 6.0, 15.0, 30.0, 60.0)
_HOLDS = (0.0, 30.0, 60.0, inf, inf, inf)
_CALM = 60.0
_LOOK_AGAIN = 0.2

_DRIFTS_TO_CONTEND = 3
_DRIFT_MEMORY = 600.0
_FIRST_DRIFT_PAUSE = 15.0


@dataclass
class WriteThrottle:
    """One pool's writes and drifts; all times are of the queue's clock, in seconds."""

    jitter: Jitter
    writes: int = 0
    """Writes in this burst."""
    last_write: float = -inf
    dirty_since: float | None = None
    """Since when the template waits for a write; None: it does not."""
    in_line: bool = False
    """Whether the template was as we want it when it was read last."""
    fragment: Fragment | None = None
    """What we wanted then."""
    drifts: list[float] = field(default_factory=list)
    """When drifts were written over, in the last ten minutes."""
    rival: str = ""
    """The cluster whose operator wrote the last drift; empty where none did."""

    def wait(self, now: float, busy: Callable[[], bool]) -> float | None:
        """Return how long to leave the pool alone; None: not at all.

        `busy` tells whether a set of the pool is being worked on.
        """
        if now - self.last_write > _CALM + _PAUSES[self._level()]:
            self.writes = 0
        level = self._level()
        if level == 0:
            return None
        self.dirty_since = now if self.dirty_since is None else self.dirty_since
        if (early := self.last_write + _PAUSES[level] - now) > 0:
            return early
        return _LOOK_AGAIN if now - self.dirty_since < _HOLDS[level] and busy() else None

    def drifted(self, wanted: Fragment | None) -> bool:
        """Return whether others have changed a template that is not as we want it."""
        return self.in_line and self.fragment == wanted

    def wait_for_others(self, now: float) -> float | None:
        """Return how long to leave a drift alone; None: write over it now, which is remembered."""
        self._forget(now)
        if self.contended:
            backoff = Backoff(first=_FIRST_DRIFT_PAUSE, jitter=self.jitter)
            level = len(self.drifts) - _DRIFTS_TO_CONTEND + 1
            if (pause := self.drifts[-1] + backoff(level) - now) > 0:
                return pause
        self.drifts.append(now)
        return None

    @property
    def contended(self) -> bool:
        """Whether others keep undoing what we write."""
        return len(self.drifts) >= _DRIFTS_TO_CONTEND

    def settled(self, now: float, fragment: Fragment | None) -> float | None:
        """Note that the template has `fragment`; returns when to check that drifts have ended."""
        self.dirty_since, self.in_line, self.fragment = None, True, fragment
        self._forget(now)
        return self.drifts[0] + _DRIFT_MEMORY - now if self.contended else None

    def wrote(self, now: float, fragment: Fragment | None) -> float | None:
        """Note that we have written `fragment`; returns the same as `settled`."""
        self.writes += 1
        self.last_write = now
        return self.settled(now, fragment)

    def _forget(self, now: float) -> None:
        self.drifts = [t for t in self.drifts if now - t < _DRIFT_MEMORY]

    def _level(self) -> int:
        return min(self.writes, len(_PAUSES) - 1)
