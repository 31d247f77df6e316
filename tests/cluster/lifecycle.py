"""How everything in the harness starts and ends: in one run, completely or not at all."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.processes import Process
from tests.cluster.runs import Run


class Startable(ABC):
    """A context manager by way of ``start`` and ``stop``."""

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Service(Startable):
    """Processes with a run of their own; a context manager, or ``start``/``stop``.

    A start that fails, or is interrupted, takes back what it had done. A ``detached`` service may
    outlive this process (``release``); its run's record is how somebody stops it then.
    """

    def __init__(self, *, directory: Path | None = None, detached: bool = False) -> None:
        self._directory = directory
        self._detached = detached
        self._run: Run | None = None
        self._processes: list[Process] = []

    @property
    def run(self) -> Run:
        if self._run is None:
            raise RuntimeError(f"{type(self).__name__} is not running")
        return self._run

    @property
    def logs(self) -> Path:
        """The directory with a log for each process."""
        return self.run.logs

    @abstractmethod
    def prepare(self) -> None:
        """Build or install what is needed, which may take minutes the first time."""

    @abstractmethod
    def _start(self) -> None:
        """Start everything and wait until it serves."""

    def start(self) -> None:
        self.prepare()
        self._run = Run(directory=self._directory, detached=self._detached)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End and take back everything; safe at any time, and twice."""
        run, self._run = self._run, None
        if run is None:
            return
        try:
            self._end_processes()
        finally:
            self._processes.clear()
            run.clean_up()

    def release(self) -> None:
        """Let a detached service outlive this process."""
        for process in self._processes:
            process.release()

    def _end_processes(self) -> None:
        for process in reversed(self._processes):
            process.kill()  # nobody will ask for their data again

    def _launch(
        self, name: str, command: Sequence[str | Path], *, env: Mapping[str, str] | None = None
    ) -> Process:
        process = Process(self.run, name, command, env=env)
        self._processes.append(process)
        process.start()
        return process
