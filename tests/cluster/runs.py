"""What a run has started and changed on this machine, and how all of it is taken back.

A run has a directory for its data and logs, and a record in the cache: its owner, the processes it
started (id and start time) and what it changed beyond them (links, firewall rules, …). A record is
written before a change takes effect or right after a start, so cleaning up from the record finds
everything, whether the run ended well, failed, or was killed: ``reap_stale`` does it for runs whose
owner is gone, at the next start.
"""

import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from tests.cluster import cache, procfs, signals
from tests.cluster.progress import say
from tests.cluster.undo import Undo, take_back

REAP = "reap"


@dataclass(frozen=True)
class Started:
    """A process: its id and its start time, which together are never given out again."""

    name: str
    pid: int
    started: int


class Run:
    """One run. ``detached`` runs outlive their owner until somebody cleans them up."""

    def __init__(self, *, directory: Path | None = None, detached: bool = False) -> None:
        reap_stale()
        self.name = secrets.token_hex(3)
        self.detached = detached
        if directory is None:
            self.directory = Path(tempfile.mkdtemp(prefix=f"flowdeps-{self.name}-"))
        else:
            self.directory = directory.absolute()
            self.directory.mkdir(parents=True)
        # Pods run as other users, and reach their files through this directory.
        self.directory.chmod(0o711)
        self._owner = Started("owner", os.getpid(), procfs.start_time(os.getpid()) or 0)
        self._processes: list[Started] = []
        self._undo: list[Undo] = []
        self.facts: dict[str, str] = {}
        self.started_at = time.time()
        self._write()

    @classmethod
    def load(cls, record: Path) -> Self:
        """A run as its record tells it, to look at it or to clean it up."""
        content: dict[str, Any] = json.loads(record.read_text())
        run = cls.__new__(cls)
        run.name = content["name"]
        run.detached = content["detached"]
        run.directory = Path(content["directory"])
        run._owner = Started(**content["owner"])
        run._processes = [Started(**one) for one in content["processes"]]
        run._undo = [Undo(**one) for one in content["undo"]]
        run.facts = content["facts"]
        run.started_at = content.get("started_at", 0.0)
        return run

    @property
    def logs(self) -> Path:
        path = self.directory / "logs"
        path.mkdir(exist_ok=True)
        return path

    @property
    def owner(self) -> int:
        """The id of the process that it is of."""
        return self._owner.pid

    @property
    def stale(self) -> bool:
        """Its owner is gone without having cleaned up."""
        return not self.detached and procfs.start_time(self._owner.pid) != self._owner.started

    @property
    def processes(self) -> list[Started]:
        return list(self._processes)

    def started(self, name: str, launch: Callable[[], int]) -> Started:
        """Start a process by ``launch``, which returns its id, and record it."""
        with signals.deferred():
            pid = launch()
            one = Started(name, pid, procfs.start_time(pid) or 0)
            self._processes.append(one)
            self._write()
        return one

    def ended(self, one: Started) -> None:
        self._processes.remove(one)
        self._write()

    def will_change(self, undo: Undo) -> None:
        """Record how a change is taken back; call it before making the change."""
        self._undo.append(undo)
        self._write()

    def others_change(self, undo: Undo) -> bool:
        """Whether another run has recorded the very same change (of something they share)."""
        return any(undo in run._undo for run in all_runs() if run.name != self.name)

    def tell(self, **facts: str) -> None:
        """Keep facts for those who find the run by its record."""
        self.facts.update(facts)
        self._write()

    def clean_up(self) -> None:
        """End every process and take back every change, the newest first. Safe to repeat.

        By force: what a run keeps ends with it, so nothing is worth waiting for.
        """
        with signals.deferred():
            for one in reversed(self._processes):
                procfs.end_session(one.pid, started=one.started)
            for undo in reversed(self._undo):
                # The last of those who share a change takes it back.
                if not self.others_change(undo):
                    take_back(undo)
            if os.environ.get("FLOWDEPS_KEEP_RUNS"):
                say(f"kept {self.directory}")
            else:
                shutil.rmtree(self.directory, ignore_errors=True)
            self._record.unlink(missing_ok=True)

    @property
    def _record(self) -> Path:
        return _records() / f"{self.name}.json"

    def _write(self) -> None:
        content = {
            "name": self.name,
            "directory": str(self.directory),
            "detached": self.detached,
            "owner": asdict(self._owner),
            "processes": [asdict(one) for one in self._processes],
            "undo": [asdict(one) for one in self._undo],
            "facts": self.facts,
            "started_at": self.started_at,
        }
        path = self._record
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(content, indent=1))
        draft.replace(path)


def all_runs() -> list[Run]:
    found = []
    for path in sorted(_records().glob("*.json")):
        with suppress(FileNotFoundError):  # another process may end its run at any time
            found.append(Run.load(path))
    return found


def reap_stale() -> None:
    """Clean up after runs that were killed."""
    with cache.locked(REAP):
        reap()


def reap() -> None:
    """The same, for a holder of the lock `REAP`."""
    for run in all_runs():
        if run.stale:
            say(f"cleaning up after a run that was killed ({run.directory})")
            run.clean_up()


def _records() -> Path:
    return cache.root() / "runs"
