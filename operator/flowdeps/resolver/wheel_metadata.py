"""Reads the Requires-Python of a wheel that an index says nothing of, without the rest of it.

A zip file's directory is at its end: where the server knows ranges, that and the metadata are all
that is read.
"""

import io
import zipfile
from collections.abc import Callable
from email.parser import BytesHeaderParser
from typing import Any
from urllib.error import HTTPError

_TAIL = 64 * 1024
_LARGEST_FILE = 64 * 1024**2
"""Of a server that knows no ranges."""
_LARGEST_METADATA = 4 * 1024**2

Open = Callable[[str, dict[str, str]], Any]
"""Opens a URL with further headers."""


def requires_python(url: str, *, promised: bool, opened: Open) -> str:
    """Return the Requires-Python of a wheel, empty where it says none or is too large to look;
    ``promised``: its metadata are a file of their own. Raises OSError, ValueError."""
    if promised:
        try:
            with opened(f"{url}.metadata", {}) as answer:
                return _field(answer.read(_LARGEST_METADATA))
        except OSError:
            pass  # as of a proxy that copies the page alone
    try:
        end = opened(url, {"Range": f"bytes=-{_TAIL}"})
    except HTTPError:  # 501, 416: a server that knows other ranges, or thinks that it has to fail
        end = opened(url, {})
    with end as answer:
        content = answer.read(_LARGEST_FILE + 1)
        size = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if not size and len(content) > _LARGEST_FILE:
        return ""
    file = _Ranges(url, int(size), content, opened) if size else io.BytesIO(content)
    try:
        with zipfile.ZipFile(file) as archive:
            for one in archive.infolist():
                if one.filename.endswith(".dist-info/METADATA") and one.filename.count("/") == 1:
                    with archive.open(one) as stream:
                        return _field(stream.read(_LARGEST_METADATA))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{error}") from error
    return ""


def _field(metadata: bytes) -> str:
    return str(BytesHeaderParser().parsebytes(metadata).get("Requires-Python", ""))


class _Ranges(io.RawIOBase):
    """A file of the network of which the end is known; other parts are asked for."""

    def __init__(self, url: str, size: int, tail: bytes, opened: Open) -> None:
        self._url, self._size, self._tail, self._opened = url, size, tail, opened
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if at < 0:
            raise OSError("before the beginning")  # zipfile expects it of what is too short
        self._at = at
        return at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        start, before = self._at, self._size - len(self._tail)
        self._at = max(start, end)
        if start >= end:
            return b""
        if start >= before:
            return self._tail[start - before : end - before]
        with self._opened(self._url, {"Range": f"bytes={start}-{end - 1}"}) as answer:
            content: bytes = answer.read(end - start)
        return content
