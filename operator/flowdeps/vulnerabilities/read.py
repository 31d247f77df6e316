"""Reads a database of OSV records: JSON files, one record each, loose or in zip archives.

A record is parsed, made compact and forgotten before the next one. What can't be read is counted,
and does no harm to the rest. Nothing is unpacked to disk, and everything is bounded: an archive's
list of members, each record, and all records together.
"""

import hashlib
import json
import os
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from typing import IO

from flowdeps.vulnerabilities.osv import Builder, Database

_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,  # a password, an unknown compression, JSON that is too deep
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What reading may take, in bytes and seconds."""

    download: int = 512 * 1024**2
    listing: int = 64 * 1024**2
    """Of an archive's list of members."""
    record: int = 8 * 1024**2
    """Of one record, unpacked."""
    total: int = 2 * 1024**3
    """Of all records, unpacked."""
    timeout: float = 600
    """Of a download."""
    silence: float = 60
    """Within a download."""


class LoadError(Exception):
    """The database can't be used; the text says why."""


@dataclass(frozen=True)
class LoadedDatabase:
    """A database that was read."""

    database: Database
    fingerprint: str
    """By which it is recognised while it is unchanged."""
    unreadable: str
    """What of it couldn't be read, in one line."""


class RecordReader:
    """Reads records into a database; ends with `LoadError` once ``stopped`` is set."""

    def __init__(self, bounds: Bounds, stopped: threading.Event) -> None:
        self._bounds, self._stopped = bounds, stopped
        self._builder = Builder()
        self._size = self._broken = 0
        self._first = ""

    def result(self, fingerprint: str) -> LoadedDatabase:
        """Return what was read. Raises `LoadError` if it is nothing."""
        broken = f"{self._broken} can't be read, first {self._first}" if self._broken else ""
        if not self._builder.records:
            raise LoadError("; ".join(filter(None, ("no advisory about PyPI packages", broken))))
        return LoadedDatabase(self._builder.database(), fingerprint, broken)

    def file(self, name: str, path: Path) -> None:
        """Read a file: a record or an archive."""
        try:
            # Opening a pipe would wait for a writer.
            if not stat.S_ISREG(path.stat().st_mode):
                raise ValueError("not a file")
            if path.suffix == ".zip":
                self.archive(name, FileIO(path))
            else:
                with path.open("rb") as stream:
                    self._record(stream, path.stat().st_size)
        except _UNREADABLE as error:
            self.count(name, error)

    def archive(self, name: str, raw: FileIO) -> None:
        """Read the members of the zip file ``raw``, and close it."""
        try:
            with _Listing(raw, self._bounds.listing) as file, zipfile.ZipFile(file) as archive:
                for member in archive.infolist():
                    if member.filename.endswith(".json"):
                        self._member(f"{name}/{member.filename}", archive, member)
        except _UNREADABLE as error:
            self.count(name, error)

    def count(self, name: str, error: Exception) -> None:
        """Note that ``name`` couldn't be read."""
        self._broken += 1
        self._first = self._first or f"{name[-100:]!r} ({str(error)[:100]!r})"

    def _member(self, name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
        try:
            # Other compressions take as much memory as the archive says.
            if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise ValueError("not compressed with deflate")
            with archive.open(member) as stream:
                self._record(stream, member.file_size)
        except _UNREADABLE as error:
            self.count(name, error)

    def _record(self, stream: IO[bytes], size: int) -> None:
        if self._stopped.is_set():
            raise LoadError("stopped")
        if size > self._bounds.record:
            raise ValueError(f"more than {self._bounds.record:,} bytes")
        data = stream.read(self._bounds.record)
        self._size += len(data)
        if self._size > self._bounds.total:
            raise LoadError(f"more than {self._bounds.total:,} bytes, unpacked")
        self._builder.add(json.loads(data))


class _Listing(BufferedReader):
    """A file for `zipfile`, which reads an archive's whole list of members in one piece."""

    def __init__(self, raw: FileIO, most: int) -> None:
        super().__init__(raw)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._most:
            raise zipfile.BadZipFile("its list of members is too long")
        return super().read(size)


def read_files(root: Path, *, known: str, reader: RecordReader) -> LoadedDatabase | None:
    """Read the database in ``root``; None if its files are those ``known``. Raises `LoadError`."""
    if not root.exists():
        raise LoadError("there is no such file or directory")
    paths = sorted(_paths(root, reader))
    if not paths:
        raise LoadError("there is no *.json or *.zip file in it")
    fingerprint = _fingerprint(paths)
    if known == fingerprint:
        return None
    for path in paths:
        reader.file(path.name if path == root else str(path.relative_to(root)), path)
    return reader.result(fingerprint)


def _paths(root: Path, reader: RecordReader) -> Iterator[Path]:
    """Yield the files in ``root``, without hidden ones, such as those of a mounted ConfigMap."""
    if not root.is_dir():
        yield root
        return
    for folder, folders, files in os.walk(
        root, onerror=lambda error: reader.count(str(error.filename), error)
    ):
        folders[:] = [one for one in folders if not one.startswith(".")]
        for name in files:
            if name.endswith((".json", ".zip")) and not name.startswith("."):
                yield Path(folder, name)


def _fingerprint(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            continue  # reading it will say so
        digest.update(f"{found.st_size} {found.st_mtime_ns} {found.st_ino} ".encode())
        digest.update(os.fsencode(path) + b"\0")
    return digest.hexdigest()
