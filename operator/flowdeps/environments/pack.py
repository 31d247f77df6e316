"""Packs a tree and pushes it: what `flowdeps pack` does.

The tree is of a flow's image, so nothing in it is believed: what the artifact says of itself comes
from the lock's ConfigMap and from variables, which are the operator's.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flowdeps.environments.base import Access, open_base
from flowdeps.environments.components import components_of
from flowdeps.environments.derived import (
    DIRECTORY,
    Derived,
    base_reference,
    read_base,
    write_derived,
)
from flowdeps.environments.errors import PackError, writing
from flowdeps.environments.layer import pack_layer
from flowdeps.environments.layout import About, architecture, new_layer_file, write_layout
from flowdeps.environments.registry import Credentials, open_source, push, read_credentials
from flowdeps.environments.unused import remove_unused
from flowdeps.locks.lock import Lock, LockError, parse_lock

_COMPLETE = ("lock.json", "manifest.json")
"""Files without which no run could use a tree."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is packed, and where it goes."""

    tree: Path
    lock: Path
    """The directory of the lock's ConfigMap."""
    credentials: Path
    """The directory of the Secret, which need not be there."""
    repository: str
    tag: str
    """How its tag begins, which ends with ten hex digits of its digest."""
    image: str
    image_id: str
    plain_http: bool = False
    proxy: str = ""
    images: bool = False
    """Whether an image is derived from the flow's, with the environment in it."""
    unused: frozenset[str] | None = None
    """The locks, ten hex digits each, whose environments are removed; None: it is not looked."""
    pull_secrets: Path = Path("/etc/flowdeps-pull")
    """A directory for each pull secret of the namespace, with which the flow's image is read."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """An environment that is in the registry."""

    digest: str
    """Of its manifest."""
    size: int
    """Bytes to pull."""
    unpacked: int
    """Bytes of its files."""
    files: int
    image: Derived | None = None
    """The derived image that is there too."""
    image_error: str = ""
    """Why there is none, if there should be."""
    locks: Sequence[str] = ()
    """The locks of which there are environments, ten hex digits each, where it was looked."""
    unused_error: str = ""
    """Why it is not known, or what should be removed was not."""


def read_request(
    env: Mapping[str, str], *, tree: Path, lock: Path, credentials: Path, pull_secrets: Path
) -> Request:
    """Return what variables ask for, of these places. Raises `PackError`."""
    needed = ("FLOWDEPS_REPOSITORY", "FLOWDEPS_TAG", "FLOWDEPS_IMAGE", "FLOWDEPS_IMAGE_ID")
    missing = [name for name in needed if not env.get(name)]
    if missing:
        raise PackError(
            f"{', '.join(missing)} must be set; the operator does that in a build's pod"
        )
    repository, tag, image, image_id = (env[name] for name in needed)
    return Request(
        tree=tree,
        lock=lock,
        credentials=credentials,
        repository=repository,
        tag=tag,
        image=image,
        image_id=image_id,
        plain_http=bool(env.get("FLOWDEPS_PLAIN_HTTP")),
        proxy=env.get("FLOWDEPS_PROXY", ""),
        images=bool(env.get("FLOWDEPS_IMAGES")),
        unused=frozenset(env.get("FLOWDEPS_UNUSED", "").split(","))
        if env.get("FLOWDEPS_DELETES")
        else None,
        pull_secrets=pull_secrets,
    )


async def pack(request: Request, *, say: Callable[[str], None]) -> Packed:
    """Pack a tree, and push it where the registry lacks it. Raises `PackError`."""
    set_name, lock = _read_lock(request.lock)
    credentials = read_credentials(request.credentials)
    for name in _COMPLETE:
        if not (request.tree / name).is_file():
            raise PackError(f"the tree has no {name}: its installation has not ended", retry=True)
    with writing():
        temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with temporary:
        layout = Path(temporary.name) / "layout"
        with writing(), _timed(say) as done:
            layer = pack_layer(request.tree, new_layer_file(layout))
            about = About(
                set=set_name, lock=lock.digest, image=request.image, image_id=request.image_id
            )
            listed = components_of(lock, name=set_name, platform=f"linux/{architecture()}")
            digest = write_layout(layout, layer, about=about, listed=listed)
            sizes = f"{layer.unpacked / 1e6:,.1f} MB as {layer.size / 1e6:,.1f} MB"
            done.append(f"packed {layer.files:,} files, {sizes}")
        await _push(layout, digest, request, credentials, say=say)
        packed = Packed(digest=digest, size=layer.size, unpacked=layer.unpacked, files=layer.files)
        if request.unused is not None:
            packed = await _remove(request, request.unused, packed, credentials, layout, say=say)
        if not request.images:
            return packed
        shutil.rmtree(layout)  # it is in the registry, and what follows needs the room
        place = Path(temporary.name) / "image"
        try:
            with writing():
                place.mkdir()
            derived = await _derive(request, place, credentials, about=about, say=say)
        except Exception as error:  # whatever it is: the environment is there, and serves
            why = str(error) if isinstance(error, PackError) else f"{type(error).__name__}: {error}"
            return replace(packed, image_error=why)
        return replace(packed, image=derived)


async def _remove(
    request: Request,
    unused: Set[str],
    packed: Packed,
    credentials: Credentials,
    layout: Path,
    *,
    say: Callable[[str], None],
) -> Packed:
    """Remove environments that nothing names. Whatever goes wrong, the new one is there."""
    try:
        source = open_source(
            layout.with_name("unused"),
            repository=request.repository,
            credentials=credentials,
            plain_http=request.plain_http,
            proxy=request.proxy,
        )
        return replace(packed, locks=await remove_unused(source, unused, say=say))
    except PackError as error:
        return replace(packed, unused_error=str(error))


async def _derive(
    request: Request,
    place: Path,
    credentials: Credentials,
    *,
    about: About,
    say: Callable[[str], None],
) -> Derived:
    """Push an image that is the flow's with the tree in it. Raises `PackError`."""
    layout, platform = place / "layout", f"linux/{architecture()}"
    base = open_base(
        base_reference(request.image, request.image_id),
        to=Access(
            repository=request.repository,
            credentials=credentials,
            plain_http=request.plain_http,
        ),
        pull_secrets=request.pull_secrets,
        home=place / "base",
        proxy=request.proxy,
    )
    manifest = await base.manifest(platform=platform)
    read = read_base(manifest)
    config = await base.blob(read.config)
    with writing(), _timed(say) as done:
        layer = pack_layer(request.tree, new_layer_file(layout), below=DIRECTORY)
        derived = write_derived(layout, layer, base=read, config=config, about=about)
        done.append("packed the layer of an image")
    with _timed(say) as done:
        await base.copy(manifest)
        done.append(f"copied the layers of {request.image}")
    await _push(layout, derived.digest, request, credentials, say=say)
    return derived


async def _push(
    layout: Path,
    digest: str,
    request: Request,
    credentials: Credentials,
    *,
    say: Callable[[str], None],
) -> None:
    # Sets of a namespace may have one lock, but each has its name in its artifact. One without
    # a tag of its own would be garbage to the registry.
    tag = f"{request.tag}-{digest.removeprefix('sha256:')[:10]}"
    with _timed(say) as done:
        await push(
            layout,
            digest,
            repository=request.repository,
            tag=tag,
            credentials=credentials,
            plain_http=request.plain_http,
            proxy=request.proxy,
        )
        done.append(f"pushed to {request.repository}:{tag}")


@contextmanager
def _timed(say: Callable[[str], None]) -> Iterator[list[str]]:
    """Say what was done, and how long it took."""
    started, done = time.monotonic(), list[str]()
    yield done
    say(f"{' '.join(done)} in {time.monotonic() - started:.1f} s")


def _read_lock(directory: Path) -> tuple[str, Lock]:
    """Return the name of the set, and its lock."""
    try:
        manifest: dict[str, Any] = json.loads((directory / "lock.json").read_bytes())
        lock = parse_lock((directory / "requirements.txt").read_text("utf-8"))
        set_name, digest = str(manifest["set"]), manifest["digest"]
    except (OSError, LockError, ValueError, KeyError, TypeError):
        digest = None
    if digest is None or digest != lock.digest:
        raise PackError(
            "the lock's ConfigMap is not there, or damaged; flowdeps makes it anew", retry=True
        )
    return set_name, lock
