"""Leave out of what was installed what would take the place of something that Python itself runs.

``boot`` puts the packages behind Python's own modules, but an interpreter that does not run it has
them in front.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from flowdeps.delivery.in_image.inventory import say

AT_START = {"sitecustomize", "usercustomize"}


def leave_out(installed: Path) -> None:
    """Remove modules that Python has itself, and those that it would run as it starts."""
    own: frozenset[str] = getattr(sys, "stdlib_module_names", frozenset())  # Python 3.10
    for names, why in (
        (own, "Python has modules of these names itself, which they would hide"),
        (AT_START, "they would run at each start of Python, in place of the image's own"),
    ):
        hiding = [one for one in installed.iterdir() if one.name.partition(".")[0] in names]
        for one in hiding:
            shutil.rmtree(one) if one.is_dir() else one.unlink()
        if hiding:
            left_out = sorted({one.name.partition(".")[0] for one in hiding})
            say(f"warning: left out {', '.join(left_out)}: {why}")
