"""Fetches an environment onto a claim, and removes unused ones: what `flowdeps populate` does.

What the registry says is believed as far as it follows from the digest that the operator has named:
the manifest by that, configuration and layer by the manifest. And as a flow's image might have
written all of it, it is unpacked as if it were hostile (`unpack`).
"""

import asyncio
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from flowdeps.environments import claim as claims
from flowdeps.environments.claim import Claim, Populated, Room
from flowdeps.environments.errors import PackError, writing
from flowdeps.environments.layer import Layer
from flowdeps.environments.layout import ANNOTATION, ARTIFACT
from flowdeps.environments.messages import PULL
from flowdeps.environments.registry import Source, open_source, read_credentials
from flowdeps.environments.slower import measure
from flowdeps.environments.unpack import FullError, unpack_layer

_REFERENCE = re.compile(r"([^@\s]+)@(sha256:[0-9a-f]{64})")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOST_BYTES = 1_000_000
_LARGEST = 32 * 10**9
_COMPLETE = ("lock.json", "manifest.json")
_KEPT = re.compile(r"[0-9a-f]{8,64}")
_MEDIA_TYPES = {
    "config": "application/vnd.oci.image.config.v1+json",
    "layer": "application/vnd.oci.image.layer.v1.tar+gzip",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be on the claim."""

    claim: Path
    """Where it is mounted."""
    credentials: Path
    """The directory of the Secret, which need not be there."""
    repository: str
    digest: str
    """Of the environment's manifest."""
    lock: str
    """The digest of the lock that has to be in it."""
    keep: frozenset[str] | None = None
    """How the digests begin of those that stay, used or not. None: all stay."""
    plain_http: bool = False
    proxy: str = ""

    @property
    def directory(self) -> str:
        """The name of the environment's directory."""
        return self.digest.replace(":", "-")


@dataclass(frozen=True, kw_only=True)
class _Blob:
    digest: str
    size: int


def read_request(env: Mapping[str, str], *, claim: Path, credentials: Path) -> Request:
    """Return what variables ask for, of these places. Raises `PackError`."""
    reference, lock = env.get("FLOWDEPS_REFERENCE", ""), env.get("FLOWDEPS_LOCK", "")
    found = _REFERENCE.fullmatch(reference)
    if not found:
        raise PackError("FLOWDEPS_REFERENCE must be a repository and a digest, such as a@sha256:…")
    if not _DIGEST.fullmatch(lock):
        raise PackError("FLOWDEPS_LOCK must be the digest of a lock, such as sha256:…")
    keep = env.get("FLOWDEPS_KEEP", "")
    for one in keep.split(",") if keep else ():
        if not _KEPT.fullmatch(one):
            raise PackError(
                f"FLOWDEPS_KEEP must be how digests begin, such as 0123456789, not {one!r}; nothing"
                " was removed"
            )
    return Request(
        claim=claim,
        credentials=credentials,
        repository=found[1],
        digest=found[2],
        lock=lock,
        keep=frozenset(keep.split(",")) if keep else None,
        plain_http=bool(env.get("FLOWDEPS_PLAIN_HTTP")),
        proxy=env.get("FLOWDEPS_PROXY", ""),
    )


async def populate(request: Request, *, say: Callable[[str], None]) -> Populated:
    """Make the claim be as it is to be. Raises `PackError`."""
    os.umask(0o022)  # the flow may run as another user
    claim, name = Claim(root=request.claim), request.directory
    there = claim.find(name, lock=request.lock)
    if there and claim.has_none():
        return there
    with claim.locked():
        claim.make_none()
        there = claim.find(name, lock=request.lock)  # another populator's, meanwhile
        if there:
            return there
        if request.keep is not None:
            for one in claim.tidy(request.keep):
                say(f"removed {one}, which nothing has used for {claims.UNUSED_DAYS} days")
        with writing():
            temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        with temporary:
            await _fetch(request, claim, Path(temporary.name) / "home", say)
        there = claim.find(name, lock=request.lock)
    if there is None:
        raise PackError(f"{name} has gone from the claim; see who else writes there", retry=True)
    return there


async def _fetch(request: Request, claim: Claim, home: Path, say: Callable[[str], None]) -> None:
    credentials = read_credentials(request.credentials, name=PULL.secret)
    source = open_source(
        home,
        repository=request.repository,
        credentials=credentials,
        plain_http=request.plain_http,
        proxy=request.proxy,
    )
    config, layer = await _manifest(source, request)
    [diff_id] = _diff_ids(await _json(source, "blob", config))
    with claim.new() as path:
        room = claim.room()
        unpacked = await _unpack(source, path, layer=layer, diff_id=diff_id, room=room)
        with claim.errors(room, needed=unpacked.unpacked):
            _check(path, lock=request.lock)
            await asyncio.to_thread(claims.sync_tree, path)
        slower = await asyncio.to_thread(measure, path)
        found = Populated(
            directory=request.directory,
            files=unpacked.files,
            bytes=unpacked.unpacked,
            slower=slower,
        )
        await asyncio.to_thread(claim.finish, path, found)
    say(f"unpacked {unpacked.files:,} files, {unpacked.unpacked / 1e6:,.1f} MB")


async def _unpack(source: Source, path: Path, *, layer: _Blob, diff_id: str, room: Room) -> Layer:
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return await source.fetch(
            "blob",
            layer.digest,
            lambda stream: unpack_layer(
                stream,
                root,
                digest=layer.digest,
                size=layer.size,
                diff_id=diff_id,
                room=room.bytes,
            ),
        )
    except FullError as error:
        raise room.lacking(error.needed, entries=error.entries) from None
    finally:
        os.close(root)


async def _manifest(source: Source, request: Request) -> tuple[_Blob, _Blob]:
    """Return the configuration and the layer of an environment, by its manifest."""
    found = await _json(source, "manifest", _Blob(digest=request.digest, size=-1))
    annotations = found.get("annotations")
    lock = annotations.get(f"{ANNOTATION}lock") if isinstance(annotations, dict) else None
    layers = found.get("layers")
    if found.get("artifactType") != ARTIFACT or not isinstance(layers, list) or len(layers) != 1:
        raise _foreign("its manifest is none of an environment")
    if lock != request.lock:
        raise _foreign(f"it is for the lock {str(lock)[:19]}, not for {request.lock[:19]}")
    return _blob(found.get("config"), "config"), _blob(layers[0], "layer")


def _blob(found: Any, kind: str) -> _Blob:
    if not (
        isinstance(found, dict)
        and found.get("mediaType") == _MEDIA_TYPES[kind]
        and isinstance(found.get("digest"), str)
        and _DIGEST.fullmatch(found["digest"])
        and type(found.get("size")) is int
        and 0 < found["size"] <= _LARGEST
    ):
        raise _foreign(f"its manifest has no {kind} that can be read")
    return _Blob(digest=found["digest"], size=found["size"])


def _diff_ids(config: dict[str, Any]) -> list[str]:
    rootfs = config.get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not (isinstance(found, list) and len(found) == 1 and isinstance(found[0], str)):
        raise _foreign("its configuration does not say what its layer holds")
    return found


async def _json(source: Source, what: str, blob: _Blob) -> dict[str, Any]:
    """Return a mapping of the registry that has this digest."""
    content = await source.fetch(what, blob.digest, _some)
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != blob.digest:
        raise PackError(
            f"the registry gave another {what} than that of {blob.digest[:19]}; see whether it, or"
            " a proxy before it, is damaged",
            retry=True,
        )
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _foreign(f"its {what} is no JSON")
    return found


def _some(stream: IO[bytes]) -> bytes:
    return stream.read(_MOST_BYTES)


def _check(path: Path, *, lock: str) -> None:
    """Refuse a tree that no run could use."""
    try:
        for name in _COMPLETE:
            if not (path / name).is_file():
                raise _foreign(f"it has no {name}")
        with (path / "lock.json").open("rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
        digest = found.get("digest") if isinstance(found, dict) else None
    except (ValueError, RecursionError):
        digest = None
    if digest != lock:
        raise _foreign(f"it has another lock in it than {lock[:19]}")


def _foreign(why: str) -> PackError:
    return PackError(
        f"the environment in the registry is not one that flowdeps has made: {why}; see who else"
        " writes to the repository, and delete it there to have it made anew"
    )
