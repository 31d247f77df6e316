"""What is made once and used by every run: programs, images, environments.

An entry is a directory named by its kind and by a digest of all that it is made from, so a changed
version is another entry and nothing is ever updated in place. It is made under a lock, under its
final name (environments hold absolute paths), and counts only once its marker file stands: what a
killed run left half made is thrown away by the next.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.progress import say

_COMPLETE = ".complete"


def root() -> Path:
    """The cache directory: ``$FLOWDEPS_CACHE``, else one in the user's cache directory."""
    own = os.environ.get("FLOWDEPS_CACHE")
    if own:
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "flowdeps"


def digest(*parts: str | bytes | Path) -> str:
    """A short name for contents; of a path, the file's content counts."""
    summary = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part
        content = content.encode() if isinstance(content, str) else content
        summary.update(f"{len(content)}:".encode() + content)
    return summary.hexdigest()[:12]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock between processes; released by the kernel when the holder dies."""
    path = root() / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that holds the lock {name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def has(name: str) -> bool:
    """Whether the entry ``name`` is there, whole."""
    return (root() / name / _COMPLETE).exists()


def entry(name: str, make: Callable[[Path], None]) -> Path:
    """The directory ``name`` in the cache, made by ``make`` where it is not there yet."""
    path = root() / name
    if has(name):
        return path
    with locked(name.replace("/", "-")):
        if not has(name):
            if path.exists():
                shutil.rmtree(path)
            path.mkdir(parents=True)
            make(path)
            (path / _COMPLETE).touch()
    return path
