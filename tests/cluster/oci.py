"""Container images written by hand: layers are plain tar files, an archive is an OCI layout.

One archive may hold several images; layers that they share are in it once.
"""

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, kw_only=True)
class Image:
    """A name, layers from the bottom up, and the ``config`` part of its configuration."""

    name: str
    layers: Sequence[Path]
    config: Mapping[str, Any]


def layer_of_tree(tree: Path, output: Path, *, members: Sequence[str] = (".",)) -> None:
    """A layer of what stands in a directory, with its owners and modes."""
    options = [f"--file={output}", f"--directory={tree}", "--numeric-owner", "--sort=name"]
    subprocess.run(["tar", "--create", *options, *members], check=True, capture_output=True)


def layer_of_files(files: Mapping[str, tuple[bytes, int]], output: Path) -> None:
    """A layer of single files: path to content and mode, all owned by root."""
    with tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as archive:
        for path, (content, mode) in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))


def write_archive(images: Sequence[Image], output: Path) -> None:
    """An OCI image layout as a tar file, for ``ctr images import``."""
    with tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as archive:
        writer = _Writer(archive)
        manifests = [writer.image(image) for image in images]
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
        writer.file("index.json", _json(index))
        writer.file("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))


class _Writer:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._present: dict[str, dict[str, Any]] = {}

    def file(self, name: str, content: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o644
        self._archive.addfile(entry, io.BytesIO(content))

    def image(self, image: Image) -> dict[str, Any]:
        """Write an image's blobs; return its entry for the index."""
        layers = [self._layer(path) for path in image.layers]
        config = {
            "architecture": _ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": dict(image.config),
            # The layers are not compressed, so their digests are those of their content.
            "rootfs": {"type": "layers", "diff_ids": [one["digest"] for one in layers]},
            # Optional, but buildah counts it when it builds upon the image.
            "history": [{"created_by": path.parent.name} for path in image.layers],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._blob(_json(config), media_type=_CONFIG),
            "layers": layers,
        }
        described = self._blob(_json(manifest), media_type=_MANIFEST)
        return {**described, "annotations": {"io.containerd.image.name": image.name}}

    def _layer(self, path: Path) -> dict[str, Any]:
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            if digest not in self._present:
                entry = tarfile.TarInfo(f"blobs/sha256/{digest}")
                entry.size, entry.mode = path.stat().st_size, 0o644
                content.seek(0)
                self._archive.addfile(entry, content)
        return self._described(digest, size=path.stat().st_size, media_type=_LAYER)

    def _blob(self, content: bytes, *, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._present:
            self.file(f"blobs/sha256/{digest}", content)
        return self._described(digest, size=len(content), media_type=media_type)

    def _described(self, digest: str, *, size: int, media_type: str) -> dict[str, Any]:
        descriptor = {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}
        return self._present.setdefault(digest, descriptor)


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
