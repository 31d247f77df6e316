"""Leave out of what was installed what would take the place of something that Python itself runs.

``boot`` puts the packages behind Python's own modules, but an interpreter that does not run it has
them in front; and the directories that ``.pth`` files name go to child processes by PYTHONPATH.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from flowdeps.delivery.in_image.inventory import say

AT_START = {"sitecustomize", "usercustomize"}


def leave_out(installed: Path) -> None:
    """Remove modules that Python has itself, and those that it would run as it starts."""
    own: frozenset[str] = getattr(sys, "stdlib_module_names", frozenset())  # Python 3.10
    for names, why, places in (
        (own, "Python has modules of these names itself, which they would hide", [installed]),
        (
            AT_START,
            "they would run at each start of Python, in place of the image's own",
            [installed, *added_places(installed)],
        ),
    ):
        left = [place for place in places if place.is_dir()]  # some went with what Python has
        found = [one for place in left for one in place.iterdir()]
        hiding = [one for one in found if one.name.partition(".")[0] in names]
        for one in hiding:  # a module, compiled, an extension or a package
            if one.is_dir() and not one.is_symlink():
                shutil.rmtree(one)
            else:
                one.unlink(missing_ok=True)  # gone with a package, or named twice
        if hiding:
            left_out = sorted({one.name.partition(".")[0] for one in hiding})
            say(f"warning: left out {', '.join(left_out)}: {why}")


def added_places(installed: Path) -> Iterator[Path]:
    """Yield the directories of what was installed that its ``.pth`` files put on the path."""
    for file in sorted(installed.glob("*.pth")):
        for line in file.read_text("utf-8", "replace").splitlines() if file.is_file() else ():
            with suppress(OSError, RuntimeError, ValueError):  # too long, a circle, a null byte
                place = Path(installed, line.rstrip()).resolve()
                if installed.resolve() in place.parents and place.is_dir():
                    yield place
