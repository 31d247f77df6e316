"""Keeps the database of known vulnerabilities up to date: from files, or over HTTP.

``load`` checks whether anything changed (names, sizes and times of files; the ETag of a URL), and
only then reads, in a thread. Whatever fails, the last good database stays `current`, and `problem`
says what is wrong. Neither a password nor a query of the URL is ever shown.
"""

import asyncio
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import IO, TypeVar
from urllib.parse import urlsplit

import httpx

from flowdeps.vulnerabilities.osv import Database
from flowdeps.vulnerabilities.read import (
    Bounds,
    LoadedDatabase,
    LoadError,
    RecordReader,
    read_files,
)

log = logging.getLogger(__name__)

T = TypeVar("T")


class Advisories:
    """The database at ``location``: a directory of ``*.json`` and ``*.zip`` files, one such file,
    or the http(s) URL of a zip file. One ``load`` at a time."""

    def __init__(self, location: str, *, bounds: Bounds | None = None) -> None:
        self._location, self._shown = location, _shown(location)
        self._bounds = bounds or Bounds()
        self._fingerprint = self._logged = ""
        self.current: Database | None = None
        self.problem: str | None = f"{self._shown}: not read yet"

    @property
    def version(self) -> str:
        """The digest of `current`; empty without one."""
        return self.current.digest if self.current else ""

    async def load(self) -> bool:
        """Bring `current` and `problem` up to date; True if `current` changed. Raises nothing."""
        before = self.version
        try:
            found = await (self._fetch() if _is_url(self._location) else self._read())
        except LoadError as error:
            self.problem = f"{self._shown}: {error}"
            return False
        except OSError as error:
            self.problem = f"{self._shown}: can't be read ({error.strerror or error})"
            return False
        self.problem = None
        if found:
            self.current, self._fingerprint = found.database, found.fingerprint
            log.info("%s: %d advisories", self._shown, found.database.records)
            if found.unreadable and found.unreadable != self._logged:
                log.warning("%s: %s", self._shown, found.unreadable)
            self._logged = found.unreadable
        return self.version != before

    async def _read(self) -> LoadedDatabase | None:
        root, known = Path(self._location), self._fingerprint
        return await self._in_thread(lambda reader: read_files(root, known=known, reader=reader))

    async def _fetch(self) -> LoadedDatabase | None:
        with tempfile.TemporaryFile() as file:
            etag = await self._download(file)
            if etag is None:
                return None
            raw = FileIO(os.dup(file.fileno()))

            def read(reader: RecordReader) -> LoadedDatabase:
                reader.archive("the archive", raw)
                return reader.result(etag)

            return await self._in_thread(read)

    async def _in_thread(self, read: Callable[[RecordReader], T]) -> T:
        """Run ``read`` in a thread; a cancellation asks it to stop, and waits until it has."""
        stopped = threading.Event()
        reader = RecordReader(self._bounds, stopped)
        task = asyncio.create_task(asyncio.to_thread(read, reader))
        try:
            return await asyncio.shield(task)
        finally:
            stopped.set()
            await asyncio.gather(task, return_exceptions=True)

    async def _download(self, file: IO[bytes]) -> str | None:
        """Write the archive to ``file``; returns its ETag, or None for the one that we know."""
        known = self._fingerprint
        headers = {"Accept-Encoding": "identity"} | ({"If-None-Match": known} if known else {})
        size = 0
        try:
            async with (
                asyncio.timeout(self._bounds.timeout),
                httpx.AsyncClient(follow_redirects=True, timeout=self._bounds.silence) as client,
                client.stream("GET", self._location, headers=headers) as response,
            ):
                if known and response.status_code == httpx.codes.NOT_MODIFIED:
                    return None
                if response.status_code != httpx.codes.OK:
                    raise LoadError(f"the answer is {response.status_code}")
                async for chunk in response.aiter_bytes():
                    size += len(chunk)
                    if size > self._bounds.download:
                        raise LoadError(f"more than {self._bounds.download:,} bytes")
                    file.write(chunk)
                file.flush()
                return str(response.headers.get("ETag", ""))
        except httpx.InvalidURL:
            raise LoadError("not a URL") from None
        except (httpx.HTTPError, TimeoutError) as error:
            why = str(error) or "no answer in time"
            raise LoadError(f"can't be fetched ({why})") from None


def _is_url(location: str) -> bool:
    return location.lower().startswith(("http://", "https://"))


def _shown(location: str) -> str:
    if not _is_url(location):
        return location
    try:
        parts = urlsplit(location)
        host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    except ValueError:
        return "the URL"
    # A password with a slash in it ends in what looks like the path.
    return "the URL" if "@" in parts.path else f"{parts.scheme}://{host}{parts.path}"
