"""Layers that nobody has packed as flowdeps does, and their unpacking."""

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

from flowdeps.environments.layer import Bounds, Layer
from flowdeps.environments.unpack import unpack_layer

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"", **fields: object) -> Member:
    """A file, or what its fields make of it."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def directory(name: str) -> Member:
    return member(name, type=tarfile.DIRTYPE)


def archive(*members: Member) -> bytes:
    """A tar of these, in the format of GNU."""
    output = io.BytesIO()
    for info, content in members:
        output.write(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
        output.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
    return output.getvalue() + bytes(2 * tarfile.BLOCKSIZE)


def unpack(
    plain: bytes,
    to: Path,
    *,
    packed: bytes | None = None,
    size: int | None = None,
    digest: str | None = None,
    diff_id: str | None = None,
    room: int = 2**40,
    bounds: Bounds | None = None,
) -> Layer:
    """Unpack the layer of a tar into a new directory; arguments say what is wrong."""
    packed = gzip.compress(plain, 1, mtime=0) if packed is None else packed
    to.mkdir()
    root = os.open(to, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return unpack_layer(
            io.BytesIO(packed),
            root,
            digest=digest or f"sha256:{hashlib.sha256(packed).hexdigest()}",
            size=len(packed) if size is None else size,
            diff_id=diff_id or f"sha256:{hashlib.sha256(plain).hexdigest()}",
            room=room,
            bounds=bounds,
        )
    finally:
        os.close(root)
