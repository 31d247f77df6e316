"""Runs a child process with limits: it ends, whatever happens, and leaves nothing behind.

The child leads a process group of its own; when waiting for it ends early (a cancellation, which is
also what a timeout is), the group is killed and reaped. Its messages go to a file, so it never
blocks on us, and the kernel bounds that file like any other that it writes. Before it becomes its
program it confines itself (`flowdeps.resolver.confine`), on Linux only, where it also ends when the
thread that started it does, that of the loop; the timeout holds everywhere.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from flowdeps.resolver import confine
from flowdeps.resolver.errors import LimitExceededError

MESSAGES = "messages"
_HEAD, _TAIL = 48 * 1024, 16 * 1024
_LOOK_SECONDS = 1.0
"""How often it is measured what a child has written."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a resolution may use, in seconds and bytes."""

    timeout: float = 300
    """For all its platforms."""
    memory: int = 2 * 1024**3
    """Data of a process; uv needs about 150 MiB, and reserves more."""
    output: int = 16 * 1024**2
    """The resolution that we read."""
    file: int = 512 * 1024**2
    """The largest file written. Of servers that know no ranges uv unpacks whole wheels."""
    written: int = 2 * 1024**3
    """All that a process writes. An index may send a thousandth of it, compressed."""


@dataclass(frozen=True, kw_only=True)
class ChildEnd:
    """How a child ended."""

    code: int
    """Its exit code; negative: the signal."""
    messages: str
    """What it wrote. Of a flood the beginning and the end are kept, 64 KiB together."""


async def run_child(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    limits: Limits,
    reads: Sequence[str] | None = None,
    port: int | None = None,
    inherits: Sequence[int] = (),
    output: BinaryIO | None = None,
) -> ChildEnd:
    """Run ``command`` in ``directory`` until it ends.

    ``reads``: all that it may read besides its directory; None: anything. With those it may also
    connect to no other TCP ``port``. ``inherits``: files that stay open in it. ``output``: takes
    its standard output; by default nothing does. Raises `OSError` if it can't be started,
    `LimitExceededError` if it wrote too much.
    """
    os.stat(command[0])  # noqa: PTH116 - else it would be the confining program that fails
    bounds = {
        "parent": os.getpid(),
        "limits": _limits(limits),
        "read": None if reads is None else [*reads, str(directory)],
        "port": port,
    }
    with (directory / MESSAGES).open("w+b") as messages:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", confine.__file__, json.dumps(bounds)),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output or asyncio.subprocess.DEVNULL,
            stderr=messages,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
            pass_fds=inherits,
        )
        try:
            code = await _wait(process, limits)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return ChildEnd(code=code, messages=_read(messages))


async def _wait(process: asyncio.subprocess.Process, limits: Limits) -> int:
    """Return the exit code. Raises LimitExceededError where it writes too much."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                return await process.wait()
        if _written(process.pid) > limits.written:
            raise LimitExceededError(
                f"the resolver was ended: it wrote more than {limits.written // 1024**2} MiB, as"
                " happens where an index sends far more than it should; correct the index, or raise"
                " resolver.cacheSize of the configuration",
                retry=False,
            )


def _written(pid: int) -> int:
    """Return how many bytes a process has written to files; 0 where that is not known."""
    try:
        text = Path(f"/proc/{pid}/io").read_text()
    except OSError:
        return 0
    return int(text.partition("wchar:")[2].split()[0])


def _read(messages: BinaryIO) -> str:
    size = messages.seek(0, os.SEEK_END)
    messages.seek(0)
    text = messages.read(_HEAD)
    if size > _HEAD:
        messages.seek(max(_HEAD, size - _TAIL))
        text += messages.read()
    return text.decode(errors="replace")


def _limits(limits: Limits) -> dict[str, int]:
    return {
        # Address space would be no measure: uv reserves 1 GiB that it never touches.
        "RLIMIT_DATA": limits.memory,
        "RLIMIT_FSIZE": limits.file,
        "RLIMIT_CORE": 0,
        # What a child has started doesn't end with us if we are killed: it still ends some time.
        "RLIMIT_CPU": max(1, int(limits.timeout)) * (os.cpu_count() or 1),
    }
