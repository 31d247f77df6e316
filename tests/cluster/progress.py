"""Long steps run visibly: a line when they start, every few seconds, and when they end.

A step's output goes to a log file; when it fails, the error carries the end of that log. A step
that is interrupted takes its whole process group with it. One that needs the network may be given
several attempts.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_EVERY_SECONDS = 5.0
_PAUSE_SECONDS = 5.0
_TAIL_LINES = 25


class StepFailedError(RuntimeError):
    """A step ended with an error; the message holds the end of its log."""


def say(text: str) -> None:
    print(f"flowdeps: {text}", file=sys.stderr, flush=True)


def run_step(
    title: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    attempts: int = 1,
) -> None:
    """Run a command to its end with progress on standard error; its output goes to ``log``."""
    for left in reversed(range(attempts)):
        try:
            _run(title, command, log=log, env=env, cwd=cwd, stdin=stdin)
        except StepFailedError as error:
            if not left:
                raise
            say(f"{error}\nonce more in {_PAUSE_SECONDS:.0f} s")
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def tail(log: Path, lines: int = _TAIL_LINES) -> str:
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _run(
    title: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    stdin: bytes | None,
) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    say(f"{title} …")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    try:
        if stdin is not None and process.stdin is not None:
            with process.stdin:
                process.stdin.write(stdin)
        _wait(process, title=title, started=started, log=log)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    seconds = time.monotonic() - started
    if process.returncode != 0:
        raise StepFailedError(
            f"{title} failed after {seconds:.0f} s (exit {process.returncode}); "
            f"the log is {log}, it ends:\n{tail(log)}"
        )
    say(f"{title}: done in {seconds:.0f} s")


def _wait(process: subprocess.Popen[bytes], *, title: str, started: float, log: Path) -> None:
    while True:
        try:
            process.wait(timeout=_EVERY_SECONDS)
        except subprocess.TimeoutExpired:
            seconds = time.monotonic() - started
            say(f"{title} … {seconds:.0f} s, {_last_line(log)}")
        else:
            return


def _last_line(log: Path) -> str:
    """How far the step is, as its log tells it."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 400))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip()[:80] for line in reversed(lines) if line.strip()), "no output yet")
