"""A derived image: a flow's image with an environment in it, for pools that only take an image.

It has the layers of the flow's image, and one more: the environment where runs have it. So it is
another layer than that of the artifact, whose root is what a run mounts there. The configuration is
that of the flow's image, but for two variables: PYTHONPATH leads interpreters to the packages as
the template of a pool does, and FLOWDEPS_LOCK says what has to be there. All of it depends on the
image and the environment alone. What the flow's image says of itself is not believed: pure.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowdeps.delivery.methods.install import ENV_LOCK, IMAGE_PATH, PYTHON_PATH
from flowdeps.delivery.methods.method import HOME
from flowdeps.environments import layout as oci
from flowdeps.environments.errors import PackError
from flowdeps.environments.layer import Layer

DIRECTORY = HOME.removeprefix("/")
"""Where the tree is in the image."""
_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_LAYERS = {oci.MANIFEST: oci.LAYER, _DOCKER: _DOCKER_LAYER}
"""The media types of a manifest, and of a layer of it."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOST = 10**15
_CREATED = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, kw_only=True)
class Derived:
    """An image that is a flow's image with an environment in it."""

    digest: str
    """Of its manifest."""
    size: int
    """Bytes of all its layers, which a node pulls that has none of them."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """The manifest of a flow's image, for one platform, as it is in its registry."""

    content: Mapping[str, Any]
    media_type: str

    @property
    def config(self) -> str:
        """The digest of its configuration."""
        digest: str = self.content["config"]["digest"]
        return digest


def base_reference(image: str, image_id: str) -> str:
    """Return the image that a node ran as `<repository>@sha256:…`. Raises `PackError`.

    The repository is that of the name which runs give: a node may have the same image by the name
    of another pod.
    """
    digest = image_id.rpartition("@")[2]
    if "@" not in image_id or not _DIGEST.fullmatch(digest):
        raise PackError(
            f"the node has {image} from no registry; push it to one, and let nodes pull it"
        )
    name = image.partition("@")[0]
    path, slash, last = name.rpartition("/")
    host = name.partition("/")[0]
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        raise PackError(
            f"{image} names no registry, and each node decides which one is meant; write its host"
            " first, in the work pool or in spec.python.image"
        )
    return f"{path}/{last.partition(':')[0]}@{digest}"


def read_base(manifest: bytes) -> Base:
    """Read the manifest of a flow's image. Raises `PackError`."""
    content = _parse(manifest, what="manifest")
    config, layers = content.get("config"), content.get("layers")
    media_type = content.get("mediaType") or oci.MANIFEST
    known = isinstance(media_type, str) and media_type in _LAYERS
    if not known or not isinstance(layers, list):
        raise PackError(f"the flow's image has a manifest of another kind: {str(media_type)[:100]}")
    for one in (config, *layers):
        if not (
            isinstance(one, dict)
            and isinstance(one.get("mediaType"), str)
            and _DIGEST.fullmatch(str(one.get("digest")))
            and type(one.get("size")) is int
            and 0 <= one["size"] <= _MOST
        ):
            raise PackError("the flow's image has a manifest that does not say what is in it")
    return Base(content=content, media_type=media_type)


def write_derived(
    layout: Path, layer: Layer, *, base: Base, config: bytes, about: oci.About
) -> Derived:
    """Write the layout of a derived image, without the layers of its base.

    ``layer``: which is there, at `new_layer_file`. ``config``: that of the base. Raises
    `PackError`.
    """
    described = base.content["config"]
    changed = _with_layer(_parse(config, what="configuration"), layer, base=base, about=about)
    oci.place_layer(layout, layer)
    ours = oci.descriptor(layer.digest, layer.size, media_type=_LAYERS[base.media_type])
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": base.media_type,
        "config": oci.write_blob(layout, oci.as_bytes(changed), media_type=described["mediaType"]),
        "layers": [*base.content["layers"], ours],
    }
    if base.media_type == oci.MANIFEST:
        theirs = base.content.get("annotations")
        manifest["annotations"] = {
            **(theirs if isinstance(theirs, dict) else {}),
            **about.annotations(),
        }
    written = oci.write_blob(layout, oci.as_bytes(manifest), media_type=base.media_type)
    oci.write_index(layout, written)
    size = sum(one["size"] for one in manifest["layers"])
    return Derived(digest=written["digest"], size=size)


def _with_layer(
    config: dict[str, Any], layer: Layer, *, base: Base, about: oci.About
) -> dict[str, Any]:
    """Return the configuration of an image with a layer more, and what interpreters need."""
    rootfs, history = config.get("rootfs"), config.get("history")
    rootfs = rootfs if isinstance(rootfs, dict) else {}
    diff_ids = rootfs.get("diff_ids")
    run = config.get("config") or {}
    env = run.get("Env") or [] if isinstance(run, dict) else None
    if (
        not isinstance(diff_ids, list)
        or len(diff_ids) != len(base.content["layers"])
        or not isinstance(env, list)
        or not all(isinstance(one, str) for one in env)
    ):
        raise PackError("the flow's image has a configuration that does not fit its layers")
    platform = (config.get("os"), config.get("architecture"))
    if platform != ("linux", oci.architecture()):
        raise PackError(
            f"the flow's image is for {str(platform[0])[:20]}/{str(platform[1])[:20]}, and the"
            f" environment was made on linux/{oci.architecture()}"
        )
    more = {}
    if isinstance(history, list):  # else it would say that the image has one layer
        done = {"created": _CREATED, "created_by": f"flowdeps: {about.set} by {about.lock}"}
        more["history"] = [*history, done]
    return {
        **config,
        "config": {**run, "Env": _env(env, lock=about.lock)},
        "rootfs": {**rootfs, "diff_ids": [*diff_ids, layer.diff_id]},
        **more,
    }


def _env(env: list[str], *, lock: str) -> list[str]:
    """Return variables with those that lead interpreters to the packages.

    Where the image has no PYTHONPATH, it has the entries that say so to `boot`.
    """
    given = dict(one.partition("=")[::2] for one in env)
    own = given.get("PYTHONPATH")
    path = ":".join((*PYTHON_PATH, *([own] if own else IMAGE_PATH)))
    return [f"{k}={v}" for k, v in {**given, "PYTHONPATH": path, ENV_LOCK: lock}.items()]


def _parse(text: bytes, *, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise PackError(f"the flow's image has a {what} that can't be read")
    return found


def _refuse(name: str) -> None:
    raise ValueError(name)
