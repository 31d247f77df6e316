"""Compares two locks: the changes as data, and as one line for people."""

from collections import defaultdict
from dataclasses import dataclass

from flowdeps.locks.lock import Lock, Pin


@dataclass(frozen=True, order=True)
class Change:
    """A package's versions before and after."""

    name: str
    old: str | None
    """None where it was not in the lock. Versions that differ by platform are joined by ``|``."""
    new: str | None
    """None where it is no longer in it. Equal to ``old``: only files or platforms changed."""
    image: bool = False
    """A package of the image that the lock builds on: another one makes another lock."""

    def __str__(self) -> str:
        if self.old is None:
            text = f"+{self.name} {self.new}"
        elif self.new is None:
            text = f"-{self.name} {self.old}"
        elif self.old == self.new:
            text = f"{self.name} {self.new} (files)"
        else:
            text = f"{self.name} {self.old} → {self.new}"
        return f"{text} (image)" if self.image else text


def diff(old: Lock | None, new: Lock) -> tuple[Change, ...]:
    """Return the changes from ``old`` to ``new``, by name; without ``old`` everything is new."""
    before, after = _by_name(old), _by_name(new)
    pins = [
        Change(name, _versions(before.get(name)), _versions(after.get(name)))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    ]
    under, over = dict(old.base if old else ()), dict(new.base)
    base = [
        Change(name, under.get(name), over.get(name), image=True)
        for name in under.keys() | over.keys()
        if under.get(name) != over.get(name)
    ]
    return tuple(sorted(pins + base, key=lambda one: (one.name, one.image)))


def summarize(changes: tuple[Change, ...], limit: int) -> str:
    """Return one line of at most ``limit`` characters (40 or more), empty without changes, as in
    ``pandas 2.3.2 → 2.3.3, +pyarrow 21.0.0, -six 1.16, and 12 more``.

    First versions that moved, then new packages, those that left, changed files, and the image's.
    """
    texts = [str(change) for change in sorted(changes, key=lambda one: (_rank(one), one.name))]
    line = ", ".join(texts)
    shown = len(texts)
    while len(line) > limit and shown > 1:
        shown -= 1
        line = f"{', '.join(texts[:shown])}, and {len(texts) - shown} more"
    return line if len(line) <= limit else f"{len(texts)} changes"


def _rank(change: Change) -> int:
    if change.image:
        return 4
    if change.old is None:
        return 1
    if change.new is None:
        return 2
    return 3 if change.old == change.new else 0


def _by_name(lock: Lock | None) -> dict[str, list[Pin]]:
    pins: dict[str, list[Pin]] = defaultdict(list)
    for pin in lock.pins if lock else ():
        pins[pin.name].append(pin)
    return pins


def _versions(pins: list[Pin] | None) -> str | None:
    return "|".join(pin.version for pin in pins) if pins else None
