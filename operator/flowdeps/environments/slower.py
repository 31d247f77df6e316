"""Estimates how much longer a run's imports take from a claim than from a node's own disk.

Some of the modules are copied to the local disk, and both are read, after the kernel was asked to
forget their content. What it does not forget, and the directories, which it is never asked to
forget, make a slow claim look faster than it is: 1 does not promise that it is fast.
"""

import contextlib
import itertools
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

_FILES = 1000
_BYTES = 32 * 1024 * 1024
_SUFFIXES = (".pyc", ".so", ".py")
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def measure(tree: Path, *, files: int = _FILES, most: int = _BYTES) -> float:
    """Return how many times longer it takes; 0 where it can't be told."""
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory() as local:
        chosen = _copy(_modules(tree), Path(local), files=files, most=most)
        if chosen:
            copied = sorted(Path(local).iterdir())
            near, far = _seconds(copied), _seconds(chosen)
            return max(round(far / near, 1), 0.1) if near else 0.0
    return 0.0


def _modules(tree: Path) -> Iterable[Path]:
    """Yield the files that imports read. No link is followed."""
    for place, _, names in os.walk(tree / "site"):
        for name in sorted(names):
            if name.endswith(_SUFFIXES):
                yield Path(place, name)


def _copy(modules: Iterable[Path], local: Path, *, files: int, most: int) -> list[Path]:
    """Copy some of the modules, and return them; their order is that of their copies' names."""
    chosen = []
    for number, path in enumerate(itertools.islice(modules, files)):
        with os.fdopen(os.open(path, _OPEN), "rb") as file:
            content = file.read(most + 1)
        most -= len(content)
        if most < 0:
            break
        with (local / f"{number:06}").open("wb") as copy:
            copy.write(content)
            copy.flush()
            os.fsync(copy.fileno())
        chosen.append(path)
    return chosen


def _seconds(paths: Iterable[Path]) -> float:
    """Return how long it takes to read files that are on the disk."""
    paths = list(paths)
    for path in paths:
        _read(path, forget=True)
    started = time.monotonic()
    for path in paths:
        _read(path)
    return time.monotonic() - started


def _read(path: Path, *, forget: bool = False) -> None:
    file = os.open(path, _OPEN)
    try:
        if forget:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            while os.read(file, 1024 * 1024):
                pass
    finally:
        os.close(file)
