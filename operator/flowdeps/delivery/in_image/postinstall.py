"""Make what was installed behave on PYTHONPATH as it would in the image's own directory.

PYTHONPATH comes before Python's own modules, site-packages after them, and only there .pth files
are read.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from flowdeps.delivery.in_image.inventory import say

# What setuptools does for old versions of itself, and what namespaces once needed.
NO_LOSS = re.compile(r"distutils-precedence\.pth|.*-nspkg\.pth")


def leave_out_pythons_own(installed: Path) -> None:
    """Remove modules that Python has itself: in the image they would come after its own."""
    own: frozenset[str] = getattr(sys, "stdlib_module_names", frozenset())  # Python 3.10
    hiding = [one for one in installed.iterdir() if one.name.partition(".")[0] in own]
    for one in hiding:
        shutil.rmtree(one) if one.is_dir() else one.unlink()
    if hiding:
        names = sorted({one.name.partition(".")[0] for one in hiding})
        say(
            f"warning: left out {', '.join(names)}: Python has modules of these names itself, "
            "which they would hide"
        )


def warn_of_pth(installed: Path) -> None:
    """Warn of files without effect: they make modules known, or run code as Python starts."""
    names = sorted(one.name for one in installed.glob("*.pth") if not NO_LOSS.fullmatch(one.name))
    for name in names:
        say(f"warning: {name} has no effect on PYTHONPATH, only in the image itself")
