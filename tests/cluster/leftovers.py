"""What a run has left behind on this machine, told from what other runs are using right now."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.cluster import runs
from tests.cluster.runs import Run


def leftovers(run: Run) -> list[str]:
    """One line for each thing of the run's that still exists; an empty list is what is wanted."""
    name, directory = run.name, str(run.directory)
    found = [f"process {pid}: {text}" for pid, text in _processes() if directory in text]
    found += [f"mount {line}" for line in _mounts() if directory in line or f"fd-{name}" in line]
    found += [f"device {line}" for line in _output("ip", "link") if f"fd-{name}" in line]
    found += [f"route {line}" for line in _output("ip", "route") if f"fd-{name}" in line]
    found += [f"rule {line}" for line in _rules() if f"flowdeps-{name}" in line]
    found += [f"cgroup {one}" for one in _cgroups() if Path(one).name == f"flowdeps-{name}"]
    if run.directory.exists():
        found.append(f"directory {directory}")
    found += [f"record of {one.name}" for one in runs.all_runs() if one.name == name]
    return found


def _processes() -> list[tuple[int, str]]:
    """Every process with its command line and working directory, where our runs' names show."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                text = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                directory = (entry / "cwd").readlink()
                found.append((int(entry.name), f"{text.decode(errors='replace')} in {directory}"))
    return found


def _mounts() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


def _rules() -> list[str]:
    return [line for table in ("nat", "filter") for line in _output("iptables", "-t", table, "-S")]


def _cgroups() -> list[str]:
    """Every control group; unlike glob, os.walk takes no offence at one that vanishes meanwhile."""
    return [path for path, _, _ in os.walk("/sys/fs/cgroup")]


def _output(*command: str) -> list[str]:
    with suppress(FileNotFoundError):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.splitlines()
    return []
