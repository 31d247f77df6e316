"""One gzip layer of a tree: the same bytes for the same files, whoever made them, where and when.

Names are sorted by their bytes. There are no times and no owners, and of a mode only whether a file
is executable. Links stay links, whatever they lead to; a file of several names is in it several
times; sockets, pipes and devices are not. The format is that of GNU tar, which has names as the
bytes that they are. All of it is read once and streamed.

The level was measured on one core with numpy, pandas, pyarrow and their bytecode (312 MB):

    level       1     2     3     4     5     6
    seconds   4.9   5.5   6.6   6.5   7.8    12
    MB        107   104   102    98    95    94
"""

import hashlib
import itertools
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from flowdeps.environments.errors import PackError, writing

LEVEL = 1
LEFT_OUT = frozenset({"site/.lock"})
"""What uv leaves behind: it holds this file while it installs."""
_GZIP = 31  # zlib's number for its largest window, with the header and the end of gzip
_CHUNK = 256 * 1024
_WHITEOUT = ".wh."  # begins the name by which a layer says that a file of a lower one is gone
_OPAQUE = ".wh..wh..opq"  # in a directory: of lower layers, nothing that is in it is seen
_SHOWN = 120
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What an environment may have. A tree can be larger than all disks, for files have holes."""

    entries: int = 1_000_000
    """Files, links and directories."""
    unpacked: int = 32 * 10**9
    """Bytes of its files."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer that was written."""

    digest: str
    """Of the compressed bytes: `sha256:…`."""
    diff_id: str
    """Of the tar inside."""
    size: int
    """Compressed bytes."""
    unpacked: int
    """Bytes of its files."""
    files: int
    """How many of its entries are files."""


def pack_layer(tree: Path, output: Path, bounds: Bounds | None = None, *, below: str = "") -> Layer:
    """Write the layer of a tree to ``output``. Raises `PackError`.

    ``below``: the directory of an image that becomes the tree, with nothing else in it. What is
    above it is left to the image, which may have a link there.
    """
    bounds = bounds or Bounds()
    entries = unpacked = files = 0
    with output.open("xb") as file:
        writer = _Writer(file)
        if below:
            writer.write(_header(_directory(below)))
            writer.write(_header(tarfile.TarInfo(f"{below}/{_OPAQUE}")))
        for path, status in _walk(tree, bounds):
            entries += 1
            if stat.S_ISREG(status.st_mode):
                files += 1
                unpacked += status.st_size
            if entries > bounds.entries:
                raise _too_large(f"{bounds.entries:,} files, links and directories")
            if unpacked > bounds.unpacked:
                raise _too_large(f"{bounds.unpacked:,} bytes")
            with _errors_of(path):
                _add(writer, tree, path, status, below)
        writer.end()
    return Layer(
        digest=f"sha256:{writer.packed.hexdigest()}",
        diff_id=f"sha256:{writer.plain.hexdigest()}",
        size=writer.size,
        unpacked=unpacked,
        files=files,
    )


class _Writer:
    """Compresses what it is given into a file, and hashes both sides in the same pass."""

    def __init__(self, file: IO[bytes]) -> None:
        self.plain, self.packed = hashlib.sha256(), hashlib.sha256()
        self.size = 0
        self._file = file
        self._compressor = zlib.compressobj(LEVEL, wbits=_GZIP)

    def write(self, data: bytes) -> None:
        self.plain.update(data)
        self._put(self._compressor.compress(data))

    def end(self) -> None:
        self.write(bytes(2 * tarfile.BLOCKSIZE))
        self._put(self._compressor.flush())
        with writing():
            self._file.flush()

    def _put(self, data: bytes) -> None:
        self.packed.update(data)
        self.size += len(data)
        with writing():
            self._file.write(data)


def _walk(tree: Path, bounds: Bounds) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the relative paths of what is in a tree, a directory before what is in it. No link is
    followed."""
    waiting = [""]
    while waiting:
        path = waiting.pop()
        with _errors_of(path):
            status = os.lstat(tree / path)
            names = _names(tree / path, bounds) if stat.S_ISDIR(status.st_mode) else []
        if path:
            yield path, status
        inner = [os.path.join(path, name) for name in names]  # noqa: PTH118
        waiting += [one for one in inner if one not in LEFT_OUT]


def _names(directory: Path, bounds: Bounds) -> list[str]:
    """Return the names in a directory, the last one first."""
    with os.scandir(directory) as found:
        names = [one.name for one in itertools.islice(found, bounds.entries + 1)]
    return sorted(names, key=os.fsencode, reverse=True)


def _add(writer: _Writer, tree: Path, path: str, status: os.stat_result, below: str) -> None:
    if os.path.basename(path).startswith(_WHITEOUT):  # noqa: PTH119
        raise PackError(
            f'{_shown(path)}: a name that begins with "{_WHITEOUT}" has another meaning in an'
            " image; use a package without such a file"
        )
    entry = tarfile.TarInfo(_text(os.fsencode(os.path.join(below, path))))  # noqa: PTH118
    if stat.S_ISDIR(status.st_mode):
        writer.write(_header(_directory(entry.name)))
    elif stat.S_ISLNK(status.st_mode):
        entry.type, entry.mode = tarfile.SYMTYPE, 0o777
        entry.linkname = _text(os.readlink(os.fsencode(tree / path)))  # noqa: PTH115 - its bytes
        writer.write(_header(entry))
    elif stat.S_ISREG(status.st_mode):
        entry.mode = 0o755 if status.st_mode & 0o111 else 0o644
        entry.size = left = status.st_size
        with os.fdopen(os.open(tree / path, _OPEN), "rb") as file:
            writer.write(_header(entry))
            while left:
                data = file.read(min(left, _CHUNK))
                if not data:
                    raise OSError("it became shorter")
                writer.write(data)
                left -= len(data)
        writer.write(bytes(-entry.size % tarfile.BLOCKSIZE))


def _directory(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    return entry


def _header(entry: tarfile.TarInfo) -> bytes:
    return entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


@contextmanager
def _errors_of(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PackError(
            f"{_shown(path) or 'the tree'} can't be packed: {error.strerror or error}; see what the"
            " packages of the set leave there"
        ) from None


def _too_large(bound: str) -> PackError:
    return PackError(f"the environment has more than {bound}; split the set, or use Install")


def _shown(path: str) -> str:
    text = os.fsencode(path).decode("utf-8", "replace")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
