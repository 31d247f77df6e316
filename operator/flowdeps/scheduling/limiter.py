"""Turns at something of which there is little, fair between groups of those who want it.

- At most `at_once` turns are under way at a time, and at most one less of one group: one is always
  left for somebody else. Where there is but one turn, groups share it; where there can be but one
  group (`shared` is false), it has all.
- Groups take turns. The next turn is of the group whose last one began longest ago, and within it
  of whoever came first. So whoever is first in its group waits for at most one turn of each other
  group, however many wait there.
- Several groups may want one turn. It comes when it would come for any of them alone.
- A turn is for work. While it waits for something, it lets others go on (`pause`), but is still one
  of its own group's.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass(eq=False, slots=True)
class Turn:
    """One turn of a limiter, used once: ``async with limiter.turn("flows"):``."""

    limiter: "Limiter"
    groups: dict[Hashable, None]
    """Those that want it."""
    begin: Callable[[], None] = lambda: None
    """Called when it begins."""
    waits: bool = False
    """Whether it was asked for and has not begun."""
    group: Hashable = None
    """The one of `groups` whose turn it is; None: it is not under way."""
    paused: bool = False

    def want(self, groups: Iterable[Hashable]) -> None:
        """Say which groups want the turn from now on."""
        self.limiter.want(self, dict.fromkeys(groups))

    def pause(self, *, paused: bool = True) -> None:
        """Let others go on while the work of this turn waits for something, or end that.

        What was waited for comes when it comes, so there may be more at once for a while.
        """
        self.limiter.pause(self, paused=paused)

    async def __aenter__(self) -> Self:
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.begin = lambda: None if begun.done() else begun.set_result(None)
        self.limiter.enter(self)
        try:
            await begun
        except BaseException:  # cancelled, perhaps in the moment in which it began
            self.limiter.leave(self)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.limiter.leave(self)


@dataclass
class Limiter:
    """Gives turns, `at_once` at a time."""

    at_once: int
    shared: bool = True
    """Whether there may be several groups."""
    working: int = 0
    """How many turns are under way, without those that pause."""
    _held: Counter[Hashable] = field(default_factory=Counter)
    """How many turns of each group are under way."""
    _waiting: dict[Hashable, dict[Turn, None]] = field(default_factory=dict)
    """The turns that each group waits for, in order."""
    _last: dict[Hashable, int] = field(default_factory=dict)
    """The number of the last turn that each group had."""
    _given: int = 0

    def turn(self, *groups: Hashable) -> Turn:
        """Return a turn that these groups want."""
        return Turn(self, dict.fromkeys(groups))

    def enter(self, turn: Turn) -> None:
        """Wait for a turn; its `begin` is called when it begins, which may be now."""
        turn.waits = True
        self.want(turn, turn.groups)

    def leave(self, turn: Turn) -> None:
        """End a turn, or wait for it no longer."""
        turn.waits = False
        self._withdraw(turn, turn.groups)
        if turn.group is not None:
            self.working -= not turn.paused
            self._held[turn.group] -= 1
            if not self._held[turn.group]:
                del self._held[turn.group]
            turn.group = None
        self._give()

    def want(self, turn: Turn, groups: dict[Hashable, None]) -> None:
        """Change which groups want a turn; its place in those that still do stays."""
        former, turn.groups = turn.groups, groups
        if turn.waits:
            self._withdraw(turn, former.keys() - groups.keys())
            for group in groups:
                self._waiting.setdefault(group, {}).setdefault(turn)
            self._give()

    def pause(self, turn: Turn, *, paused: bool) -> None:
        """Say whether the work of a turn that is under way waits for something."""
        if turn.group is not None and turn.paused != paused:
            turn.paused = paused
            self.working += -1 if paused else 1
            self._give()

    def _withdraw(self, turn: Turn, groups: Iterable[Hashable]) -> None:
        for group in groups:
            turns = self._waiting.get(group, {})
            turns.pop(turn, None)
            if not turns:
                self._waiting.pop(group, None)

    def _give(self) -> None:
        """Begin the turns that may begin."""
        most = max(1, self.at_once - self.shared)
        while self.working < self.at_once:
            open_ = (group for group in self._waiting if self._held[group] < most)
            group = min(open_, key=lambda one: self._last.get(one, 0), default=None)
            if group is None:
                break
            turn = next(iter(self._waiting[group]))
            turn.waits = False
            self._withdraw(turn, turn.groups)
            self._given += 1
            self._last[group] = self._given
            self._held[group] += 1
            self.working += 1
            turn.group = group
            turn.begin()
        if not self._waiting:  # nobody comes before others
            self._last = {one: last for one, last in self._last.items() if one in self._held}
