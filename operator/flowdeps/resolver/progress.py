"""Say how far a resolution is, by what uv has written to its cache: uv says nothing meanwhile."""

import os
from pathlib import Path

from flowdeps.api.wording import counted
from flowdeps.locks.size import human

_PAGE = ".rkyv"
"""What the names of files end with in which uv keeps what an index says of a package."""


def how_far(cache: Path, *, since: float) -> str:
    """Return what was read since a time in seconds, as in "34 packages, 12 MB, the last: torch"."""
    pages: dict[str, float] = {}
    size = 0
    for place, _, files in os.walk(cache):
        for file in files:
            try:
                found = Path(place, file).lstat()
            except OSError:  # it was moved meanwhile
                continue
            if found.st_mtime < since:
                continue
            size += found.st_size
            if file.endswith(_PAGE):
                pages[file.removesuffix(_PAGE)] = found.st_mtime
    last = f", the last: {max(pages, key=lambda one: pages[one])}" if pages else ""
    return f"{counted(len(pages), 'package')}, {human(size)}{last}"
