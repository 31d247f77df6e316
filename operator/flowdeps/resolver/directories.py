"""Makes the resolver's directories, and keeps them small: uv's caches, and images' stub wheels.

uv keeps what an index says by its URL, not by who asked, so each pair of credentials has a cache of
its own: a set that names none can't be served what others may see. Tokens that follow each other
share one. Stub wheels have a lasting place, because uv caches what it reads from one by its path.

A cache that is too large makes way for an empty one, and so does the one that was used least
recently where all are too large together. It is removed when nobody uses it any more: whoever uses
a directory holds a lock on a file in it, also in another process. A removal begins with a new name,
so one that a crash ends is completed by the next.
"""

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flowdeps.api.names import TEMPORARY
from flowdeps.delivery.in_image.stub import stub_filename, stub_wheel
from flowdeps.locks.access import Access
from flowdeps.locks.image import ImageFacts

WORK = f"{TEMPORARY}resolution-"
"""How the names of the children's own directories begin, among the temporary ones."""

_UNUSED_SECONDS = 24 * 3600
_SHARED, _PRIVATE, _IMAGES, _TRASH = "shared", "private", "images", "trash"
_LOCK = ".flowdeps"
_TRIES = 10
_ENTRY = 4096
"""Bytes that a file or directory takes besides its content."""


class Directories:
    """Directories below ``root``. Methods raise `OSError` where one can't be made.

    ``size``: bytes that all take together; a single one may take half of it.
    """

    def __init__(self, root: Path, *, size: int) -> None:
        self.root = root
        self._size = size
        # The name of a private cache is an argument of a process: nobody may guess back from it.
        self._salt = secrets.token_bytes(32)
        self._tidying = threading.Lock()
        self._measured: dict[Path, int] = {}

    @contextlib.contextmanager
    def cache(self, access: Access) -> Iterator[Path]:
        """Give where uv caches for those with this ``access``; as long as it is used, it stays."""
        if access == Access():
            base = self.root / _SHARED / "cache"
        else:
            text = (access.holder or f"{access.netrc}\0{access.ca}").encode()
            name = hmac.new(self._salt, text, hashlib.sha256).hexdigest()[:20]
            base = self.root / _PRIVATE / name
        with self._held(lambda: _newest(base)) as path:
            yield path

    @contextlib.contextmanager
    def stubs(self, facts: ImageFacts) -> Iterator[Path | None]:
        """Give a directory with a stub wheel for each package of an image; None where it isn't
        known what they require: a stub would say that they require nothing."""
        if not facts.markers:
            yield None
            return
        with self._held(lambda: self.make_stubs(facts)) as path:
            yield path

    def make_stubs(self, facts: ImageFacts) -> Path:
        """Make the directory of an image's stub wheels if it isn't there, and return it."""
        path = self.root / _IMAGES / facts.digest.removeprefix("sha256:")[:20]
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(dir=path.parent, prefix="new-"))
            present = facts.versions
            for one in facts.distributions:
                stub = stub_wheel(
                    one.name, one.version, requires=one.requires, extras=one.extras, present=present
                )
                (new / stub_filename(one.name, one.version)).write_bytes(stub)
            new.rename(path)  # whole or not at all
        return path

    def tidy(self, *, everything: bool = False) -> None:
        """Remove what is too old, too large, or too much; ``everything``: all that isn't used."""
        with self._tidying, contextlib.suppress(OSError):
            self._tidy(everything=everything)

    def _tidy(self, *, everything: bool) -> None:
        shutil.rmtree(self.root / _TRASH, ignore_errors=True)
        found = {one: used for one in self._all() if (used := _used(one)) is not None}
        sizes = {one: self._measure(one) for one in found}
        oldest, left = time.time() - _UNUSED_SECONDS, sum(sizes.values())
        for one in sorted(found, key=found.__getitem__):
            old = found[one] < oldest and one.parent.name != _SHARED
            large = sizes[one] > self._size / 2
            too_much = everything or large or left > self._size
            if old or too_much or _is_replaced(one):
                left -= sizes[one]
                self._remove(one, replaced=too_much)
        self._measured = {one: size for one, size in sizes.items() if one.exists()}
        for one in Path(tempfile.gettempdir()).glob(f"{WORK}*"):  # of a process that was killed
            if (_used(one) or oldest) < oldest:
                shutil.rmtree(one, ignore_errors=True)

    def _all(self) -> Iterator[Path]:
        for kind in (_SHARED, _PRIVATE, _IMAGES):
            yield from (self.root / kind).glob("*")

    def _measure(self, path: Path) -> int:
        return self._measured[path] if path in self._measured else _size(path)

    @contextlib.contextmanager
    def _held(self, find: Callable[[], Path]) -> Iterator[Path]:
        """Give the directory that ``find`` returns, and keep it from being removed."""
        with contextlib.ExitStack() as stack:
            for again in reversed(range(_TRIES)):
                try:
                    path = find()
                    lock = stack.enter_context((path / _LOCK).open("a"))
                    fcntl.flock(lock, fcntl.LOCK_SH)
                    if os.path.samestat(os.fstat(lock.fileno()), (path / _LOCK).stat()):
                        break
                except FileNotFoundError:  # it was removed meanwhile
                    if not again:
                        raise
            os.utime(path)
            try:
                yield path
            finally:
                self._measured.pop(path, None)

    def _remove(self, path: Path, *, replaced: bool) -> None:
        """Remove a directory that nobody uses; ``replaced``: who comes gets another in any case."""
        trash = self.root / _TRASH / secrets.token_hex(8)
        if replaced and path.parent.name != _IMAGES and _number(path):
            with contextlib.suppress(OSError):  # the disk is full
                _next(path).mkdir(mode=0o700, exist_ok=True)
        try:
            with contextlib.ExitStack() as stack:
                if (path / _LOCK).exists():  # else nobody has begun to use it
                    lock = stack.enter_context((path / _LOCK).open("rb"))
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                trash.parent.mkdir(exist_ok=True)
                path.rename(trash)
        except BlockingIOError:
            return  # it is used
        shutil.rmtree(trash, ignore_errors=True)


def _newest(base: Path) -> Path:
    """Return the cache of this name that is used now; at first a new one."""
    numbers = (_number(one) for one in base.parent.glob(f"{base.name}.*"))
    path = base.with_name(f"{base.name}.{max(numbers, default=1)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def _next(path: Path) -> Path:
    return path.with_name(f"{path.name.rpartition('.')[0]}.{_number(path) + 1}")


def _number(path: Path) -> int:
    text = path.name.rpartition(".")[2]
    return int(text) if text.isdigit() else 0


def _is_replaced(path: Path) -> bool:
    """Whether nobody will use a directory again: another took its place, or it is of an older
    version."""
    return path.parent.name != _IMAGES and (_number(path) == 0 or _next(path).exists())


def _used(path: Path) -> float | None:
    """Return when a directory was used last; None where it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _size(path: Path) -> int:
    """Return the bytes that a directory takes with all in it."""
    total = 0
    for base, directories, files in os.walk(path):
        total += _ENTRY * (len(directories) + len(files))
        for name in files:
            with contextlib.suppress(OSError):  # it is gone
                total += os.lstat(f"{base}/{name}").st_size
    return total
