"""An environment as an OCI image layout: what is pushed, with digests that depend on content alone.

It is an image as any runtime mounts it: a configuration of an image, which says what its one layer
is when it is unpacked, and a manifest. Another manifest, with the components, refers to it.
`flowdeps.environments.derived` makes a layout of another image with the same parts.
"""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowdeps.environments.layer import Layer

ARTIFACT = "application/vnd.flowdeps.environment.v1"
ANNOTATION = "dev.flowdeps."
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_EMPTY = "application/vnd.oci.empty.v1+json"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, kw_only=True)
class About:
    """What an environment was made of."""

    set: str
    """The set: `namespace/name`."""
    lock: str
    """The digest of its lock."""
    image: str
    image_id: str

    def annotations(self) -> dict[str, str]:
        """Return them for a manifest."""
        names = {"set": self.set, "lock": self.lock, "image": self.image}
        found = {**names, "image-id": self.image_id}
        return {f"{ANNOTATION}{name}": value for name, value in found.items()}


def architecture() -> str:
    """Return this machine's as images name it."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def new_layer_file(layout: Path) -> Path:
    """Return where the layer of a new layout goes, which makes its directories."""
    _blobs(layout).mkdir(parents=True)
    return _blobs(layout) / "layer"


def write_layout(layout: Path, layer: Layer, *, about: About, listed: bytes) -> str:
    """Write all but the layer, which is there; return the digest of the environment's manifest.

    ``listed``: the list of its components.
    """
    from flowdeps.environments import components  # heavy, and populators read names from here

    place_layer(layout, layer)
    config = {
        "architecture": architecture(),
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
    }
    manifest = _manifest(
        layout,
        artifact=ARTIFACT,
        config=write_blob(layout, as_bytes(config), media_type=_CONFIG),
        layers=[descriptor(layer.digest, layer.size, media_type=LAYER)],
        annotations=about.annotations(),
    )
    referrer = _manifest(
        layout,
        artifact=components.MEDIA_TYPE,
        config=write_blob(layout, b"{}", media_type=_EMPTY),
        layers=[write_blob(layout, listed, media_type=components.MEDIA_TYPE)],
        subject=manifest,
    )
    write_index(layout, manifest, referrer)
    digest: str = manifest["digest"]
    return digest


def place_layer(layout: Path, layer: Layer) -> None:
    """Give the layer of a new layout the name of a blob."""
    (_blobs(layout) / "layer").rename(_blobs(layout) / layer.digest.removeprefix("sha256:"))


def write_index(layout: Path, *manifests: Mapping[str, Any]) -> None:
    """Write what a layout begins with, by the descriptors of its manifests."""
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
    (layout / "index.json").write_bytes(as_bytes(index))
    (layout / "oci-layout").write_bytes(as_bytes({"imageLayoutVersion": "1.0.0"}))


def write_blob(layout: Path, content: bytes, *, media_type: str) -> dict[str, Any]:
    """Write a blob of a layout, and return its descriptor."""
    digest = hashlib.sha256(content).hexdigest()
    (_blobs(layout) / digest).write_bytes(content)
    return descriptor(f"sha256:{digest}", len(content), media_type=media_type)


def descriptor(digest: str, size: int, *, media_type: str) -> dict[str, Any]:
    """Return the descriptor of a blob."""
    return {"mediaType": media_type, "digest": digest, "size": size}


def as_bytes(content: Mapping[str, Any]) -> bytes:
    """Return JSON, always the same for the same content."""
    return json.dumps(content, sort_keys=True).encode()


def _manifest(layout: Path, *, artifact: str, **fields: Any) -> dict[str, Any]:
    content = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact, **fields}
    return write_blob(layout, as_bytes(content), media_type=MANIFEST)


def _blobs(layout: Path) -> Path:
    return layout / "blobs" / "sha256"
