"""A long-running child process with a log, recorded in its run so that it can never be lost."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.cluster import procfs
from tests.cluster.progress import tail
from tests.cluster.runs import Run, Started


class ProcessError(RuntimeError):
    """A process that ended, or did not become ready; the message holds the end of its log."""


class Process:
    """Start it, wait for it, pause it, stop it; start it again with the same command."""

    def __init__(
        self,
        run: Run,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.log = run.logs / f"{name}.log"
        self._run = run
        self._command = [str(word) for word in command]
        self._env = env
        self._cwd = cwd
        self._child: subprocess.Popen[bytes] | None = None
        self._started: Started | None = None

    @property
    def pid(self) -> int:
        if self._child is None:
            raise ProcessError(f"{self.name} is not running")
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended by itself; None while it runs, and after ``stop``."""
        return self._child.poll() if self._child else None

    def start(self) -> None:
        if self._child is None:
            self._started = self._run.started(self.name, self._launch)

    def stop(self, *, grace: float = 8.0) -> None:
        """End it, politely for ``grace`` seconds; then it and its children by force."""
        if self._child is None or self._started is None:
            return
        if grace > 0 and self._child.poll() is None:
            self.resume()
            self._child.terminate()
            try:
                self._child.wait(timeout=grace)
            except subprocess.TimeoutExpired:
                self._child.kill()
        procfs.end_session(self._child.pid, started=self._started.started)
        self._child.wait()
        self._run.ended(self._started)
        self._child = self._started = None

    def kill(self) -> None:
        """End it as a crash would."""
        self.stop(grace=0)

    def pause(self) -> None:
        """Stop it in its tracks: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def check(self) -> None:
        """Raise if it has ended."""
        if self._child is not None and (code := self._child.poll()) is not None:
            raise ProcessError(f"{self.name} ended (exit {code}); its log ends:\n{tail(self.log)}")

    def wait_until(self, ready: Callable[[], bool], *, what: str, seconds: float) -> None:
        """Poll until ``ready``; raise when the process ends or the time is over."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ProcessError(
                    f"{what} is not there after {seconds:.0f} s; "
                    f"the log of {self.name} ends:\n{tail(self.log)}"
                )
            time.sleep(0.05)

    def release(self) -> None:
        """Let it outlive us; the run's record knows how to end it."""
        if self._child is not None:
            self._child.returncode = 0  # otherwise it would be waited for, or warned about

    def _launch(self) -> int:
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
            )
        return self._child.pid
