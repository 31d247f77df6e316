"""A process and its descendants, looked at again and again as long as a test does something.

What a child is told (its arguments and environment) can only be seen while it runs, and how many
there are at once only by counting often. /proc/<pid>/task/<thread>/children keeps a look cheap.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_EVERY = 0.01
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Watched:
    """A context manager; `pid` and all that descends from it.

    `told`: arguments and environments, as the kernel shows them, of all processes that were seen.
    `most`: how many programs named `program` ran at once; `seen`: how many there were in all.
    `memory`: the most bytes (resident) that the descendants had together.
    """

    def __init__(self, pid: int, *, program: str = "uv") -> None:
        self.told: set[bytes] = set()
        self.most = self.memory = 0
        self._pid, self._program = pid, program
        self._seen: set[int] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"watched:{pid}")

    @property
    def seen(self) -> int:
        return len(self._seen)

    @property
    def peak(self) -> int:
        """The most bytes (resident) that the process itself has had since it was started."""
        lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(_EVERY):
            self._look()

    def _look(self) -> None:
        memory = 0
        programs: list[int] = []
        for pid, parent in ((self._pid, 0), *_descendants(self._pid)):
            with suppress(OSError, IndexError):  # it may end at any time
                process = Path(f"/proc/{pid}")
                arguments = process.joinpath("cmdline").read_bytes()
                self.told |= {arguments, process.joinpath("environ").read_bytes()}
                if pid != self._pid:
                    memory += int(process.joinpath("statm").read_text().split()[1]) * _PAGE
                # Not what a program starts itself, which looks like it for a moment.
                if parent == self._pid and _named(arguments, self._program):
                    programs.append(pid)
        # Who is there still, after all were seen, was there together with the others.
        running = [pid for pid in programs if _named(_arguments(pid), self._program)]
        self._seen.update(programs)
        self.most, self.memory = max(self.most, len(running)), max(self.memory, memory)


def _named(arguments: bytes, program: str) -> bool:
    """Whether arguments are a program's; of one that has ended there are none."""
    return Path(os.fsdecode(arguments.split(b"\0")[0])).name == program


def _arguments(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _descendants(pid: int) -> Iterator[tuple[int, int]]:
    """Each with its parent."""
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield int(child), pid
                yield from _descendants(int(child))
