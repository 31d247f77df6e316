"""The directories of environments on a claim: each whole under its name, or not there.

    sha256-<64 hex>          an environment: what a run has at /opt/flowdeps, and a note
    none                     an empty directory, for runs that choose nothing
    .flowdeps-new-…          one that a populator is making; who takes the lock removes it
    .flowdeps-old-…          one that is being removed
    .flowdeps.lock           whose lock a populator holds until it ends, however it ends

In each, `populated.json` is the note: when the environment was last of use is its time, and each
interpreter of a run holds a shared lock on it (`in_image/boot.py`), so that none is removed under a
run.

A directory gets its name when all in it is on the disk, and loses it before anything in it is
removed. That holds without the lock, too: some network file systems keep locks on each node alone.
There, one populator may remove what another is making, and that one fails and is run again.
"""

import contextlib
import errno
import fcntl
import itertools
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowdeps.environments.errors import FULL, PackError

NONE = "none"
"""The directory of runs that choose nothing."""
NAME = re.compile(r"sha256-[0-9a-f]{64}")
LOCK_SECONDS = 900.0
UNUSED_DAYS = 7
"""After which one that nothing names and no run uses is removed."""
BLOCK = 4096
"""What disks have files in."""
_LOCK = ".flowdeps.lock"
_NEW, _OLD = ".flowdeps-new-", ".flowdeps-old-"
_NOTE = "populated.json"
_MOST_NAMES = 100_000
_MOST_BYTES = 1_000_000
_SYNCING = 32  # at once, for a disk or a server can finish many together
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@dataclass(frozen=True, kw_only=True)
class Populated:
    """An environment on a claim."""

    directory: str
    """Its name; empty where none was asked for."""
    files: int = 0
    bytes: int = 0
    """Of its files."""
    slower: float = 0.0
    """How many times longer reading its modules takes than from the local disk; 0: not known."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What fits on a claim."""

    bytes: int
    files: int

    def lacking(self, needed: int, *, entries: int) -> PackError:
        """Return the error for what does not fit."""
        lacks = f"{_shown(needed)} are needed, {_shown(self.bytes)} are free"
        if self.files < entries:
            lacks += f"; {entries:,} files are needed, {self.files:,} are free"
        return PackError(f"the claim is full: {lacks}; make the claim larger", retry=True)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim that is mounted."""

    root: Path

    def find(self, name: str, *, lock: str) -> Populated | None:
        """Return an environment that is there, which has this lock. Raises `PackError`."""
        note: dict[str, Any] = {}
        found: dict[str, Any] = {}
        with self.errors(), contextlib.suppress(NotADirectoryError):  # a link is none either
            try:
                directory = os.open(self.root / name, _DIRECTORY)
            except FileNotFoundError:
                return None
            try:
                note, found = _read(directory, _NOTE), _read(directory, "lock.json")
            finally:
                os.close(directory)
        numbers = [note.get("files"), note.get("bytes")]
        slower = note.get("slower")
        if found.get("digest") != lock or not (
            all(type(one) is int and one >= 0 for one in numbers)
            and isinstance(slower, int | float)
        ):
            raise PackError(
                f"{name} on the claim is not what flowdeps has made; delete this directory, once"
                " no run uses it, to have it made again",
                retry=True,
            )
        files, size = (int(one) for one in numbers if one is not None)
        return Populated(directory=name, files=files, bytes=size, slower=float(slower))

    def has_none(self) -> bool:
        """Return whether the directory of runs that choose nothing is there."""
        with contextlib.suppress(OSError):
            return stat.S_ISDIR((self.root / NONE).lstat().st_mode)
        return False

    def make_none(self) -> None:
        """Make the directory of runs that choose nothing. Raises `PackError`."""
        with self.errors():
            if not self.has_none():
                (self.root / NONE).mkdir(mode=0o755)
                _sync(self.root)

    @contextmanager
    def locked(self, seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """Hold the claim's lock, and remove what dead populators have left. Raises `PackError`."""
        with self.errors():
            # Whoever writes on the claim might have made a pipe of it, which would be waited for.
            file = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | _FILE, 0o644)
            try:
                _take(file, seconds)
                for name in self._names():
                    if name.startswith((_NEW, _OLD)):
                        with contextlib.suppress(OSError):  # another user's
                            self._remove(name)
                yield
            finally:
                os.close(file)

    @contextmanager
    def new(self) -> Iterator[Path]:
        """Make a directory, which is removed if it still has its temporary name in the end."""
        path = self.root / f"{_NEW}{secrets.token_hex(8)}"
        with self.errors():
            path.mkdir(mode=0o755)
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                self._remove(path.name)

    def finish(self, path: Path, found: Populated) -> None:
        """Give a new directory its name, all of which is on the disk. Raises `PackError`."""
        note = {"files": found.files, "bytes": found.bytes, "slower": found.slower}
        with self.errors():
            (path / _NOTE).write_text(json.dumps(note))
            _sync(path / _NOTE)
            _sync(path)
            try:
                path.rename(self.root / found.directory)
            except OSError as error:
                # Without locks, another populator may have been first. What is there stays.
                if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                    raise
            _sync(self.root)

    def tidy(self, keep: Set[str]) -> Iterator[str]:
        """Remove environments that were of no use for long, but those whose digests begin as one of
        `keep`; give the name of each one removed. Raises `PackError`."""
        with self.errors():
            for name in self._names():
                if not NAME.fullmatch(name):
                    continue
                kept = name.removeprefix("sha256-").startswith(tuple(keep))
                with contextlib.suppress(OSError), _note(self.root / name) as note:
                    if kept:
                        os.utime(note)
                    elif time.time() - os.fstat(note).st_mtime > UNUSED_DAYS * 24 * 3600:
                        fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)  # no run has it
                        self._remove(name)
                        yield name

    def room(self) -> "Room":
        """Return how much fits. Raises `PackError`."""
        try:
            found = os.statvfs(self.root)
        except OSError as error:
            raise PackError(f"the claim can't be read: {error.strerror}", retry=True) from None
        # Some file systems count no files.
        files = found.f_favail if found.f_files else 2**62
        return Room(bytes=found.f_bavail * found.f_frsize, files=files)

    def _names(self) -> list[str]:
        with os.scandir(self.root) as listed:
            return [one.name for one in itertools.islice(listed, _MOST_NAMES)]

    def _remove(self, name: str) -> None:
        old = self.root / name
        if not name.startswith(_OLD):
            old = self.root / f"{_OLD}{secrets.token_hex(8)}"
            try:
                (self.root / name).rename(old)
            except FileNotFoundError:
                return
            _sync(self.root)
        if stat.S_ISDIR(old.lstat().st_mode):
            shutil.rmtree(old)
        else:
            old.unlink()

    @contextmanager
    def errors(self, room: "Room | None" = None, *, needed: int = 0) -> Iterator[None]:
        """Say what to do where the claim can't be used. ``room``: what there was for the bytes that
        are ``needed``."""
        try:
            yield
        except (OSError, RecursionError) as error:
            number = getattr(error, "errno", None)
            if number in FULL:
                raise (room or self.room()).lacking(needed or BLOCK, entries=1) from None
            why = getattr(error, "strerror", None) or error
            raise PackError(
                f"the claim can't be used: {why}; it must be mounted for writing, and user"
                f" {os.getuid()} or group {os.getgid()} must be able to write all that is in it",
                retry=True,
            ) from None


def sync_tree(root: Path) -> None:
    """Write all of a tree to the disk: files, then directories. No link is followed."""
    files: list[str] = []
    directories: list[str] = []
    for place, _, names in os.walk(root, onerror=_raise):
        directories.append(place)
        inside = (os.path.join(place, name) for name in names)  # noqa: PTH118
        files += (path for path in inside if not os.path.islink(path))  # noqa: PTH114
    with ThreadPoolExecutor(_SYNCING) as threads:
        for paths in (files, directories[::-1]):
            for _ in threads.map(_sync, paths):
                pass


def _shown(count: int) -> str:
    return f"{count:,} bytes ({count / 1e6:,.1f} MB)"


def _take(file: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise PackError(
                    f"another populator has been at work on the claim for {seconds:.0f} s; see its"
                    " log",
                    retry=True,
                ) from None
            time.sleep(0.5)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise PackError(
                    "the file system of the claim has no locks (flock); mount it with locks, or"
                    " use another storage class",
                    retry=True,
                ) from None
            raise
        else:
            return


@contextmanager
def _note(directory: Path) -> Iterator[int]:
    """Open the note of an environment. Network file systems lock only what is open for writing."""
    place = os.open(directory, _DIRECTORY)
    try:
        file = os.open(_NOTE, os.O_RDWR | _FILE, dir_fd=place)
    finally:
        os.close(place)
    try:
        yield file
    finally:
        os.close(file)


def _read(directory: int, name: str) -> dict[str, Any]:
    """Return the JSON of a file; nothing where it has none."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        with os.fdopen(os.open(name, os.O_RDONLY | _FILE, dir_fd=directory), "rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
        return found if isinstance(found, dict) else {}
    return {}


def _raise(error: OSError) -> None:
    raise error


def _sync(path: str | Path) -> None:
    file = os.open(path, os.O_RDONLY | _FILE)
    try:
        os.fsync(file)
    finally:
        os.close(file)
