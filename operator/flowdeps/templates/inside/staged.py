"""What is installed must behave on PYTHONPATH as it would in the image's own directory.

PYTHONPATH stands before Python's own modules, site-packages behind them.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from flowdeps.templates.inside.seen import say


def leave_out_pythons_own(staged: Path) -> None:
    """Take out modules that Python has itself: in the image they would stand behind its own."""
    own: frozenset[str] = getattr(sys, "stdlib_module_names", frozenset())  # Python 3.10
    hiding = [one for one in staged.iterdir() if one.name.partition(".")[0] in own]
    for one in hiding:
        if one.is_dir():
            shutil.rmtree(one)
        else:
            one.unlink()
    if hiding:
        names = sorted({one.name.partition(".")[0] for one in hiding})
        say(
            f"warning: left out {', '.join(names)}: Python has modules of these names itself, "
            "which they would hide"
        )
