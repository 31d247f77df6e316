"""Runs a child process with limits: it ends, whatever happens, and leaves nothing behind.

The child leads a process group of its own; when waiting for it ends early (a cancellation, which is
also what a timeout is), the group is killed and reaped. Its messages go to a file, so it never
blocks on us, and the kernel bounds that file like any other that it writes. Limits of the kernel
are set on Linux only; the timeout holds everywhere.
"""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MESSAGES = "messages"
_HEAD, _TAIL = 48 * 1024, 16 * 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a resolution may use, in seconds and bytes."""

    timeout: float = 300
    """For all its platforms."""
    memory: int = 2 * 1024**3
    """Data of a process; uv needs about 150 MiB, and reserves more."""
    output: int = 16 * 1024**2
    """The resolution that we read."""
    file: int = 2 * 1024**3
    """The largest file written."""


@dataclass(frozen=True, kw_only=True)
class ChildEnd:
    """How a child ended."""

    code: int
    """Its exit code; negative: the signal."""
    messages: str
    """What it wrote. Of a flood the beginning and the end are kept, 64 KiB together."""


async def run_child(
    command: Sequence[str], *, environment: Mapping[str, str], directory: Path, limits: Limits
) -> ChildEnd:
    """Run ``command`` in ``directory`` until it ends. Raises `OSError` if it can't be started."""
    with (directory / _MESSAGES).open("w+b") as messages:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=messages,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
        )
        try:
            _confine(process.pid, limits)
            code = await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return ChildEnd(code=code, messages=_read(messages))


def _read(messages: BinaryIO) -> str:
    size = messages.seek(0, os.SEEK_END)
    messages.seek(0)
    text = messages.read(_HEAD)
    if size > _HEAD:
        messages.seek(max(_HEAD, size - _TAIL))
        text += messages.read()
    return text.decode(errors="replace")


def _confine(pid: int, limits: Limits) -> None:
    # From here and not between fork and exec: Python code there can deadlock in a process with
    # threads. What the child does before is to load its program.
    if sys.platform != "linux":
        return
    seconds = max(1, int(limits.timeout))
    for kind, value in (
        # Address space would be no measure: uv reserves 1 GiB that it never touches.
        (resource.RLIMIT_DATA, limits.memory),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_CORE, 0),
        # If we are killed, nobody keeps the time: busy children still end.
        (resource.RLIMIT_CPU, seconds * (os.cpu_count() or 1)),
    ):
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, kind, (value, value))
