"""What /proc shows: processes, told apart by id and start time and found by session; memory."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def available_memory() -> int:
    """The bytes that could be used without swapping."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it is gone or a zombie.

    With the id it names a process for good: ids are given out again, start times are not.
    """
    fields = _stat(pid)
    return None if fields is None or fields[0] in {"Z", "X"} else int(fields[19])


def in_session(leader: int) -> list[int]:
    """The living processes of a session, the newest first."""
    found = [
        (start, pid)
        for pid in _all()
        if (fields := _stat(pid)) and int(fields[3]) == leader and (start := start_time(pid))
    ]
    return [pid for _, pid in sorted(found, reverse=True)]


def end_session(leader: int, *, started: int) -> None:
    """End every process of a session of ours, by force.

    ``started`` is the leader's start time: where another process has the id by now, nothing
    happens. While a session has members, its id is not given out again.
    """
    if start_time(leader) not in {None, started}:
        return
    deadline = time.monotonic() + 10
    while (left := in_session(leader)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _all() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the third (the state) on."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()  # the name before it may hold anything
