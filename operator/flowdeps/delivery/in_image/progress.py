"""Wait for an installer, and say meanwhile how far it is.

Neither uv nor pip says so where nobody watches a terminal, so it is read from what they have
written: uv unpacks wheels into ``.tmp*`` and moves them to ``archive-*`` in its cache, pip collects
them in ``pip-unpack-*``; what came from another index is in ``site``. Where another version of them
writes elsewhere, bytes are counted alone.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

EVERY = 10.0  # seconds between two lines
AT_MOST = 3  # of what is under way


def wait_for(
    child: subprocess.Popen[bytes],
    report: Callable[[], None],
    *,
    limit: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Wait for a child's end, and report now and then; False: the time was up, and it was ended."""
    until = None if limit is None else clock() + limit
    while True:
        left = None if until is None else until - clock()
        try:
            child.wait(EVERY if left is None else max(0.0, min(EVERY, left)))
        except subprocess.TimeoutExpired:
            if until is not None and clock() >= until:
                child.kill()
                child.wait()
                return False
            report()
        else:
            return True


def how_far(directory: Path, packages: int) -> str:
    """Return how far an installer is that works in a directory, as in "3 of 20 packages are there,
    1.2 GB on the volume, under way: torch"."""
    done: set[str] = set()
    under_way: list[tuple[float, str]] = []
    linked: set[int] = set()
    size = 0
    for place, directories, files in os.walk(directory):
        inside = Path(place).relative_to(directory).parts
        for file in files:
            try:
                found = os.lstat(Path(place, file))
            except OSError:  # it was moved meanwhile
                continue
            if found.st_nlink > 1 and found.st_ino in linked:
                continue
            linked.add(found.st_ino)
            size += found.st_blocks * 512
            if file.endswith(".whl") and inside[:1] and inside[0].startswith("pip-"):
                under_way.append((found.st_mtime, file.partition("-")[0]))
        if inside == ("site",) or (len(inside) == 3 and inside[1].startswith("archive-")):
            whole = (one for one in directories if one.endswith(".dist-info"))
            done |= {one.partition("-")[0] for one in whole}
        elif len(inside) == 2 and inside[1].startswith(".tmp"):
            names = [one for one in directories if not one.endswith((".dist-info", ".libs"))]
            under_way += [(0.0, one) for one in names[:1]]
    if any(changed for changed, _ in under_way):  # of pip's wheels, all but the newest are complete
        under_way.sort()
        done |= {name for _, name in under_way[:-1]}
        under_way = under_way[-1:]
    count = f"{len(done)} of {packages} packages are there, " if packages else ""
    names = sorted({name for _, name in under_way})[:AT_MOST]
    more = f", under way: {', '.join(names)}" if names else ""
    return f"{count}{bytes_of(size)} on the volume{more}"


def bytes_of(size: float) -> str:
    """Return a size as people read it."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
