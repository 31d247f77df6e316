"""When a pool's template may be written: together, and not against somebody without end.

In a burst of changes the first write is made at once. The next waits until no set of the pool
is being worked on, but no longer than a hold that grows with each write, and never sooner than
a pause that grows too. A minute of calm ends the burst.

A template that was in line and is no longer, though we want the same, was changed by others: a
drift. It is mended at once; from the third in ten minutes on, ever more rarely.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from flowdeps.delivery import Fragment
from flowdeps.scheduling.queue import backoff

# Seconds by the number of writes in the burst so far.
_PAUSES = (0.0, 2.0, 6.0, 15.0, 30.0, 60.0)
_HOLDS = (0.0, 30.0, 60.0, 120.0, 240.0, 300.0)
_CALM = 60.0
_LOOK_AGAIN = 0.2

_DRIFTS_TO_CONTEND = 3
_DRIFT_MEMORY = 600.0
_FIRST_DRIFT_PAUSE = 15.0


@dataclass
class WriteThrottle:
    """One pool's writes and drifts; all times are queue time, in seconds.

    `rival`: the cluster whose operator wrote what stood there at the last drift, if one did.
    """

    writes: int = 0
    last_write: float = float("-inf")
    dirty_since: float | None = None
    in_line: bool = False
    fragment: Fragment | None = None
    drifts: list[float] = field(default_factory=list)
    rival: str = ""

    def wait(self, now: float, busy: Callable[[], bool]) -> float | None:
        """How long a look at the pool should wait; None: not at all."""
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
        """Whether a template that is not in line was changed by others."""
        return self.in_line and self.fragment == wanted

    def wait_for_others(self, now: float) -> float | None:
        """How long to leave a drift as it is; None: mend it now, which is remembered."""
        self._forget(now)
        if self.contended:
            level = len(self.drifts) - _DRIFTS_TO_CONTEND + 1
            pause = self.drifts[-1] + backoff(level, first=_FIRST_DRIFT_PAUSE) - now
            if pause > 0:
                return pause
        self.drifts.append(now)
        return None

    @property
    def contended(self) -> bool:
        """Whether others keep undoing what we write."""
        return len(self.drifts) >= _DRIFTS_TO_CONTEND

    def settled(self, now: float, fragment: Fragment | None) -> float | None:
        """The template is in line with `fragment`; returns when to look whether peace has come."""
        self.dirty_since, self.in_line, self.fragment = None, True, fragment
        self._forget(now)
        return self.drifts[0] + _DRIFT_MEMORY - now if self.contended else None

    def wrote(self, now: float, fragment: Fragment | None) -> float | None:
        """The same, after a write of ours."""
        self.writes += 1
        self.last_write = now
        return self.settled(now, fragment)

    def _forget(self, now: float) -> None:
        self.drifts = [t for t in self.drifts if now - t < _DRIFT_MEMORY]

    def _level(self) -> int:
        return min(self.writes, len(_PAUSES) - 1)
