"""Compile what was installed, to the same bytes each time, whoever does it and wherever.

What ``marshal`` writes depends on how often each object is referred to, so on all that an
interpreter has compiled and imported before. So one interpreter, which is as fresh as it can be and
whose hashes are not random, makes a process of its own for each file.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from flowdeps.delivery.in_image.installer import InstallError

AT_ONCE = "2"  # processes: the pod has two processors at most
# What of the image's environment an interpreter needs to start, and what is part of the names of
# the files that it looks for.
NEEDED = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONOPTIMIZE")

# What cannot be compiled is passed over, as pip does: a template, or code for another Python.
COMPILER = """\
import sys
sys.path.pop(0)
import os
from py_compile import PycInvalidationMode, compile
at_once, *places = sys.argv[1:]
files = [
    os.path.join(directory, name)
    for place in places
    for directory, _, names in os.walk(place)
    for name in names
    if name.endswith(".py")
]
running = 0
for file in files:
    if running == int(at_once):
        os.wait()
        running -= 1
    if os.fork() == 0:
        try:
            compile(file, doraise=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
        finally:
            os._exit(0)
    running += 1
while running:
    os.wait()
    running -= 1
"""


def compile_all(places: Sequence[Path]) -> None:
    """Compile all modules in directories. Raises InstallError."""
    flags = ["-s", "-S", "-W", "ignore", "-X", "utf8"]
    done = subprocess.run(
        [sys.executable, *flags, "-c", COMPILER, AT_ONCE, *map(str, places)],
        env={"PYTHONHASHSEED": "0", **{k: os.environ[k] for k in NEEDED if k in os.environ}},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise InstallError(f"cannot compile the packages: Python ended with {done.returncode}")
