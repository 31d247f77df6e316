"""Changes to the machine beyond a run's own directory, as data, and how each is taken back.

Taking back is idempotent: what is gone already is what was wanted.
"""

import os
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_CGROUP_SECONDS = 10.0


@dataclass(frozen=True)
class Undo:
    """What to take back.

    ``link``: a network device. ``rule``: an iptables rule, its table first, then the words after
    ``-D``. ``cgroup``: a control group by name, in every hierarchy, with all below it. ``file``: a
    file's former content (the second target). ``directory``: one outside the run's, with all in it.
    """

    kind: Literal["link", "rule", "cgroup", "file", "directory"]
    target: list[str]


def take_back(undo: Undo) -> None:
    match undo.kind:
        case "link":
            _quietly("ip", "link", "delete", undo.target[0])
        case "rule":
            _quietly("iptables", "--wait", "-t", undo.target[0], "-D", *undo.target[1:])
        case "cgroup":
            for hierarchy in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()):
                _remove_cgroup(hierarchy / undo.target[0])
        case "file":
            Path(undo.target[0]).write_text(undo.target[1])
        case "directory":
            shutil.rmtree(undo.target[0], ignore_errors=True)


def _quietly(*command: str) -> None:
    with suppress(FileNotFoundError):
        subprocess.run(command, capture_output=True, check=False)


def _remove_cgroup(path: Path) -> None:
    """A control group is removed from its leaves up; processes that were killed leave it soon."""
    deadline = time.monotonic() + _CGROUP_SECONDS
    while path.exists() and time.monotonic() < deadline:
        # Unlike glob, os.walk takes no offence at a group that vanishes meanwhile.
        for group, _, _ in os.walk(path, topdown=False):
            with suppress(OSError):
                Path(group).rmdir()
        time.sleep(0.02)
