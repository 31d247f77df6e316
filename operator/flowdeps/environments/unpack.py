"""Unpacks the layer of an environment, whoever wrote it: what `pack_layer` makes, and nothing else.

The layer comes from a registry to which a flow's image may have written. So of tar only the few
records are known that `layer.py` writes; names lead nowhere but down, each to one thing, into a
directory that an earlier record made; of a mode counts whether a file is executable. The only links
are those that the install container makes to the image's PYTHONPATH (`image/0`), and nothing here
follows them. Each length is bounded before it is read or written. (`tarfile` itself reads names as
long as a header says, into memory, and its filters let links and any number of files through.)
"""

import errno
import hashlib
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from flowdeps.environments.claim import BLOCK
from flowdeps.environments.errors import FULL, PackError
from flowdeps.environments.layer import Bounds, Layer
from flowdeps.locks.legible import printable

_CHUNK = 256 * 1024
_GZIP = 31
_RECORD = tarfile.BLOCKSIZE
_LONGEST_PATH = 1024
_LONGEST_NAME = 255
_DEEPEST = 64
_DIRECTORIES = 50_000
_BEHIND_END = 10 * 1024 * 1024
_SHOWN = 120
_TOPS = frozenset({"boot", "site", "image", "lock.json", "manifest.json"})
"""What the install container leaves."""
_LINK = re.compile(r"image/[0-3]")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FullError(Exception):
    """There is no room for what a layer holds."""

    def __init__(self, *, needed: int, entries: int) -> None:
        super().__init__(needed)
        self.needed = needed
        """Bytes on the disk."""
        self.entries = entries
        """Files, links and directories."""


@dataclass(frozen=True, kw_only=True)
class _Entry:
    path: str
    type: bytes
    size: int
    executable: bool
    target: str


def unpack_layer(
    stream: IO[bytes],
    root: int,
    *,
    digest: str,
    size: int,
    diff_id: str,
    room: int,
    bounds: Bounds | None = None,
) -> Layer:
    """Write what a layer holds into an empty directory, of which ``root`` is the descriptor.

    The stream has to have the digest, the size and the diff id; ``room`` is how many bytes of the
    disk it may take. Raises `PackError`, or `FullError` once it knows how much is needed. What was
    written until then is the caller's.
    """
    reader = _Reader(stream, size=size)
    bounds = bounds or Bounds()
    directories: set[str] = set()
    entries = files = unpacked = needed = 0
    full = False
    for entry, content in _entries(reader):
        entries += 1
        unpacked += entry.size
        needed += BLOCK + -(-entry.size // BLOCK) * BLOCK
        files += entry.type == tarfile.REGTYPE
        if entries > bounds.entries or unpacked > bounds.unpacked:
            raise _refused(
                f"it has more than {bounds.entries:,} files, links and directories, or"
                f" {bounds.unpacked:,} bytes"
            )
        _check_place(entry, directories)
        full = full or needed > room
        if not full:
            full = not _make(entry, content, root)
    reader.end()
    if reader.size != size or reader.digest != digest:
        raise _refused("its layer is not the one that its manifest names")
    if reader.diff_id != diff_id:
        raise _refused("its layer holds something else than its configuration names")
    if full:
        raise FullError(needed=needed, entries=entries)
    return Layer(digest=digest, diff_id=diff_id, size=size, unpacked=unpacked, files=files)


class _Reader:
    """Decompresses a stream piece by piece, and hashes both sides in the same pass."""

    def __init__(self, stream: IO[bytes], *, size: int) -> None:
        self.size = 0
        """Compressed bytes so far."""
        self._stream, self._most = stream, size
        self._plain, self._packed = hashlib.sha256(), hashlib.sha256()
        self._decompressor = zlib.decompressobj(wbits=_GZIP)
        self._ready, self._at = b"", 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._packed.hexdigest()}"

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._plain.hexdigest()}"

    def read(self, count: int) -> bytes:
        """Return so many bytes. Raises `PackError` where there are fewer."""
        return b"".join(self.pieces(count))

    def pieces(self, count: int) -> Iterator[bytes]:
        """Yield so many bytes in pieces. Raises `PackError` where there are fewer."""
        while count:
            piece = self._some(count)
            if not piece:
                raise PackError(
                    "the registry ended the environment's layer early; another try may get it"
                    " whole",
                    retry=True,
                )
            count -= len(piece)
            yield piece

    def end(self) -> None:
        """Read what is behind the end of the archive, which has to be zeros, and of the layer."""
        behind = 0
        while piece := self._some(_CHUNK):
            behind += len(piece)
            if behind > _BEHIND_END or piece.strip(b"\0"):
                raise _refused("its layer goes on behind its end")
        if self._decompressor.unused_data or self._next():
            raise _refused("its layer goes on behind its end")

    def _some(self, most: int) -> bytes:
        """Return some bytes, at most so many; none at the end."""
        while self._at == len(self._ready) and not self._decompressor.eof:
            data = self._decompressor.unconsumed_tail or self._next()
            try:
                self._ready, self._at = self._decompressor.decompress(data, _CHUNK), 0
            except zlib.error:
                raise _refused("its layer can't be decompressed") from None
            if not data and not self._ready:
                return b""
        piece = self._ready[self._at : self._at + most]
        self._at += len(piece)
        self._plain.update(piece)
        return piece

    def _next(self) -> bytes:
        data = self._stream.read(_CHUNK)
        self.size += len(data)
        if self.size > self._most:
            raise _refused("its layer is longer than its manifest says")
        self._packed.update(data)
        return data


def _entries(reader: _Reader) -> Iterator[tuple[_Entry, Iterator[bytes]]]:
    """Yield the entries of an archive, and the content of each, to be read before the next."""
    long: dict[bytes, str] = {}
    while any(header := reader.read(_RECORD)):
        try:
            found = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError, OverflowError):
            raise _refused("its layer is no archive") from None
        if found.type in {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}:
            if not 0 < found.size <= _LONGEST_PATH + 2 or found.type in long:
                raise _refused("it has a path that is too long")
            text = reader.read(found.size + -found.size % _RECORD)[: found.size]
            long[found.type] = text.removesuffix(b"\0").decode("utf-8", "surrogateescape")
            continue
        path = long.get(tarfile.GNUTYPE_LONGNAME, found.name)
        if found.size < 0 or (found.size and found.type != tarfile.REGTYPE):
            raise _refused(f"{_shown(path)} has a size that it can't have")
        content = reader.pieces(found.size)
        yield (
            _Entry(
                path=path.removesuffix("/") if found.isdir() else path,
                type=found.type,
                size=found.size,
                executable=bool(found.mode & 0o111),
                target=long.get(tarfile.GNUTYPE_LONGLINK, found.linkname),
            ),
            content,
        )
        for _ in content:  # what was not wanted
            pass
        reader.read(-found.size % _RECORD)
        long = {}


def _check_place(entry: _Entry, directories: set[str]) -> None:
    """Refuse what is not a file, a directory or the install container's link, in its place."""
    path, names = entry.path, entry.path.split("/")
    if (
        not {"", ".", ".."}.isdisjoint(names)
        or "\0" in path + entry.target
        or len(names) > _DEEPEST
        or len(os.fsencode(path)) > _LONGEST_PATH
        or any(len(os.fsencode(name)) > _LONGEST_NAME for name in names)
    ):
        raise _refused(f"{_shown(path)} is no path that an environment may have")
    if names[0] not in _TOPS:
        raise _refused(f"{_shown(path)} is nothing that an environment has")
    if entry.type == tarfile.SYMTYPE:
        if not _LINK.fullmatch(path) or not entry.target:
            raise _refused(f"{_shown(path)} is a link, which a package must not have")
    elif entry.type not in {tarfile.REGTYPE, tarfile.DIRTYPE}:
        raise _refused(f"{_shown(path)} is neither a file nor a directory")
    if len(names) > 1 and "/".join(names[:-1]) not in directories:
        raise _refused(f"{_shown(path)} is in no directory of it")
    if entry.type == tarfile.DIRTYPE:
        directories.add(path)
        if len(directories) > _DIRECTORIES:
            raise _refused(f"it has more than {_DIRECTORIES:,} directories")


def _make(entry: _Entry, content: Iterator[bytes], root: int) -> bool:
    """Make an entry; return whether there was room for it."""
    path = os.fsencode(entry.path)
    try:
        if entry.type == tarfile.DIRTYPE:
            os.mkdir(path, 0o755, dir_fd=root)
        elif entry.type == tarfile.SYMTYPE:
            os.symlink(os.fsencode(entry.target), path, dir_fd=root)
        else:
            mode = 0o755 if entry.executable else 0o644
            file = os.open(path, _NEW, mode, dir_fd=root)
            with os.fdopen(file, "wb", buffering=0) as output:
                for piece in content:
                    left = memoryview(piece)
                    while left:
                        left = left[output.write(left) :]
    except OSError as error:
        if error.errno in FULL:
            return False
        if error.errno == errno.EEXIST:
            raise _refused(f"{_shown(entry.path)} is in it twice") from None
        raise PackError(
            f"{_shown(entry.path)} can't be written to the claim: {error.strerror or error}; see"
            " what the file system of the claim can hold",
            retry=True,
        ) from None
    return True


def _refused(why: str) -> PackError:
    return PackError(
        f"the environment in the registry is not one that flowdeps has made: {why}; see who else"
        " writes to the repository, and delete it there to have it made anew"
    )


def _shown(path: str) -> str:
    text = printable(os.fsencode(path).decode("utf-8", "replace"))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
