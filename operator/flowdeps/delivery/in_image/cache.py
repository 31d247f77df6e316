"""Keep what was installed on a volume, for the next run with the same lock and image.

    user-<id>                       each user has its own: nobody takes what another has made
        <name>                      an entry, whole and never changed: the name is a digest of what
                                    it was made from
            site                    the packages, with bytecode
            manifest.json           what it was made from. Its time is that of the last use; each
                                    interpreter that uses the entry holds a lock on it (see
                                    ``boot``), and so does who removes the entry
        <name>.lock                 held by who makes the entry, or removes it
        <name>.<random>.tmp         half made or half removed, of who had the lock before

The kernel frees the locks of a process that ends, however it ends. Nothing is used under a
temporary name, and nothing gets another name before all of it is on the disk. An entry to be
removed gets a temporary name first, so nothing is used that is half removed either.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flowdeps.delivery.in_image.bytecode import compile_all
from flowdeps.delivery.in_image.inventory import say

CACHE = os.environ.get("FLOWDEPS_CACHE", "")
CACHE_NAMESPACE = os.environ.get("FLOWDEPS_CACHE_NAMESPACE", "")  # the one that the flow sees
UNUSED = float(os.environ.get("FLOWDEPS_CACHE_UNUSED") or 7 * 24 * 3600)  # seconds
MOST_ENTRIES = int(os.environ.get("FLOWDEPS_CACHE_ENTRIES") or 100)
CACHE_FORMAT = 1
ENTRY = re.compile(r"[0-9a-f]{64}")
LONGEST_WAIT, CACHE_PAUSE = 180.0, 0.2  # seconds
COPIED_AT_ONCE = 8  # files, most of whose time goes into waiting for the disk
FULL = {errno.ENOSPC, errno.EDQUOT}


class CacheError(Exception):
    """Why the cache can't be used, in one line."""


class Cache:
    """The entry of one lock and image: there, or to be made by us, who have its lock then."""

    def __init__(self, root: Path, made_from: dict[str, Any]) -> None:
        self.made_from = {"format": CACHE_FORMAT, **made_from}
        about = json.dumps(self.made_from, sort_keys=True).encode()
        self.home = root / f"user-{os.geteuid()}"
        self.entry = self.home / hashlib.sha256(about).hexdigest()
        self.manifest = self.entry / "manifest.json"
        self.held: int | None = None
        self.home.mkdir(exist_ok=True)
        found = os.lstat(self.home)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise CacheError(
                f"{self.home} belongs to user {found.st_uid}: remove it, or, if the volume's "
                "server maps users, run the flow as one that it does not map"
            )
        self.found = self._find()
        if not self.found:
            self.held = self._wait()
            self.found = self._find()
        if self.found:
            self.let_go()

    def let_go(self) -> None:
        if self.held is not None:
            os.close(self.held)
            self.held = None

    def make_room(self, site: Path) -> None:
        """Remove what nobody uses. Raises OSError, CacheError where there is no room for more."""
        if self._tidy() >= MOST_ENTRIES:
            raise CacheError(
                f"it has {MOST_ENTRIES} entries, and all were used lately: raise cache.maxEntries "
                "of the pool, or lower cache.unusedFor"
            )
        needed = sum(one.lstat().st_size for one in site.rglob("*"))
        volume = os.statvfs(self.home)
        if volume.f_blocks and volume.f_bavail * volume.f_frsize < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def keep(self, site: Path) -> None:
        """Make the entry of these packages. Raises OSError, and then there is none."""
        made = self._temporary(self.entry.name)
        try:
            made.mkdir()
            copy_synced(site, made / "site")
            about = {"madeFrom": self.made_from, "names": count_in(site)}
            written = made / "manifest.json"
            written.write_text(json.dumps(about), "utf-8")
            sync(written)
            sync(made)
            made.rename(self.entry)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        sync(self.home)

    def _find(self) -> Path | None:
        """Return the packages of the entry if it is whole, and note that it is used."""
        try:
            file = os.open(self.manifest, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            # Who removes it has this lock until it has another name.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if not is_still(file, self.manifest) or not self._is_whole():
                return None
            with suppress(OSError):  # read-only, so nothing is removed either
                os.utime(file)
        except (OSError, ValueError):
            return None
        finally:
            os.close(file)
        return self.entry / "site"

    def _is_whole(self) -> bool:
        about = json.loads(self.manifest.read_text("utf-8"))
        if not isinstance(about, dict) or about.get("madeFrom") != self.made_from:
            return False
        return count_in(self.entry / "site") == about.get("names")

    def _wait(self) -> int:
        """Take the lock of the entry. Raises OSError, CacheError where that takes too long."""
        until, told = time.monotonic() + LONGEST_WAIT, False
        while True:
            held = take_lock(self._lock_of(self.entry.name))
            if held is not None:
                return held
            if time.monotonic() > until:
                raise CacheError("another run has been filling it for too long")
            if not told:
                say("waits for another run, which installs the same packages into the cache")
                told = True
            time.sleep(CACHE_PAUSE)

    def _tidy(self) -> int:
        """Remove what is left of those that were killed, and entries that nobody uses.

        Returns how many entries there are.
        """
        if self.held is None:
            raise RuntimeError("the lock is not held")
        os.utime(self.held)
        now = os.fstat(self.held).st_mtime  # by the clock that the volume has
        names = {one.name.partition(".")[0] for one in self.home.iterdir()}
        left = 0
        for name in filter(ENTRY.fullmatch, names):
            own = name == self.entry.name
            lock = None if own else take_lock(self._lock_of(name))
            if lock is None and not own:
                left += 1  # it is being made
                continue
            for one in self.home.glob(f"{name}.*.tmp"):
                self._remove(one)
            if own:
                self._remove(self.home / name)  # it is not whole
            elif self._remove_unused(self.home / name, now):
                self._lock_of(name).unlink()  # held: who waits for it finds out that it is another
            else:
                left += 1
            if lock is not None:
                os.close(lock)
        return left

    def _remove_unused(self, entry: Path, now: float) -> bool:
        """Remove an entry that nobody has used for long; returns whether it is gone."""
        try:
            file = os.open(entry / "manifest.json", os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            self._remove(entry)
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if now - os.fstat(file).st_mtime < UNUSED:
                return False
            self._remove(entry)
        except BlockingIOError:  # an interpreter uses it
            return False
        finally:
            os.close(file)
        return True

    def _remove(self, path: Path) -> None:
        """Remove all of a directory, under a temporary name; what is not there is gone."""
        hidden = self._temporary(path.name.partition(".")[0])
        with suppress(FileNotFoundError):
            path.rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)

    def _temporary(self, name: str) -> Path:
        return self.home / f"{name}.{os.urandom(6).hex()}.tmp"

    def _lock_of(self, name: str) -> Path:
        return self.home / f"{name}.lock"


@contextmanager
def cache_for(made_from: dict[str, Any] | None) -> Iterator[Cache | None]:
    """Give the cache; None: there is none, or it can't be used."""
    cache = None
    if CACHE and made_from is not None:
        try:
            check_namespace()
            cache = Cache(Path(CACHE), made_from)
        except (OSError, CacheError) as error:
            warn_of_cache(error)
    try:
        yield cache
    finally:
        if cache:
            cache.let_go()


def check_namespace() -> None:
    own = os.environ.get("FLOWDEPS_NAMESPACE", "")
    if CACHE_NAMESPACE not in {"", own}:
        raise CacheError(
            f"it is for runs in namespace {CACHE_NAMESPACE} (jobNamespaces of the pool), and this "
            f"run is in {own}"
        )


def fill(cache: Cache, site: Path) -> None:
    """Compile what was installed and put it into the cache; where that fails, this run has it."""
    try:
        cache.make_room(site)
        compile_all([site])
        cache.keep(site)
    except Exception as error:
        warn_of_cache(error)


def warn_of_cache(error: Exception) -> None:
    why = str(error)
    if isinstance(error, OSError):
        why = str(error.strerror or error)
        if error.errno in FULL:
            why = (
                "it has no space left: make the volume larger, or lower cache.unusedFor of the pool"
            )
        elif error.errno in {errno.EACCES, errno.EROFS}:
            user = f"user {os.geteuid()}, group {os.getegid()}"
            why = f"{user} may not write to it (fsGroup, or the owner of the directory)"
    say(f"warning: the cache is not used, so this run installs by itself: {why}")


def take_lock(path: Path) -> int | None:
    """Return a file that we have locked; None if another process has it.

    Who removed the file had it locked: then the one that is there by now counts.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_still(file, path):
                return file
        except BlockingIOError:
            os.close(file)
            return None
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def is_still(file: int, path: Path) -> bool:
    """Tell whether a path leads to the file that is open."""
    try:
        return os.path.samestat(os.fstat(file), os.lstat(path))
    except FileNotFoundError:
        return False


def count_in(directory: Path) -> int:
    return sum(1 for _ in directory.iterdir())


def copy_synced(source: Path, target: Path) -> None:
    """Copy a directory, so that all of it is on the disk."""
    from concurrent.futures import ThreadPoolExecutor

    made: list[Path] = []
    with ThreadPoolExecutor(COPIED_AT_ONCE) as pool:
        copies = []
        try:
            for place, inside, names in os.walk(source):
                to = target / Path(place).relative_to(source)
                to.mkdir()
                made.append(to)
                links = [one for one in inside if Path(place, one).is_symlink()]
                copies += [
                    pool.submit(copy_file, Path(place, one), to / one) for one in (*names, *links)
                ]
            for copied in copies:
                copied.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    for directory in reversed(made):
        sync(directory)


def copy_file(source: Path, target: Path) -> None:
    shutil.copyfile(source, target, follow_symlinks=False)
    if not target.is_symlink():
        target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
        sync(target)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
