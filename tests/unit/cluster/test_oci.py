"""Image archives: every blob under its digest, shared layers once."""

import hashlib
import json
import tarfile
from pathlib import Path

from tests.cluster import oci


def test_images_share_layers_and_every_blob_is_what_its_name_says(tmp_path: Path) -> None:
    base, top = tmp_path / "base.tar", tmp_path / "top.tar"
    oci.layer_of_files({"etc/base": (b"base", 0o644)}, base)
    oci.layer_of_files({"bin/top": (b"top", 0o755)}, top)
    images = [
        oci.Image(name="example.com/one:1", layers=[base], config={"User": "1000"}),
        oci.Image(name="example.com/two:1", layers=[base, top], config={"User": "1000"}),
    ]
    oci.write_archive(images, tmp_path / "archive.tar")
    with tarfile.open(tmp_path / "archive.tar") as archive:
        names = archive.getnames()
        content = {name: archive.extractfile(name) for name in names}
        blobs = {name: file.read() for name, file in content.items() if file is not None}
    assert len(names) == len(set(names))
    for name, bytes_ in blobs.items():
        if name.startswith("blobs/"):
            assert hashlib.sha256(bytes_).hexdigest() == Path(name).name

    def at(descriptor: dict[str, str]) -> bytes:
        return blobs["blobs/" + descriptor["digest"].replace(":", "/")]

    index = json.loads(blobs["index.json"])
    found = {}
    for entry in index["manifests"]:
        manifest = json.loads(at(entry))
        config = json.loads(at(manifest["config"]))
        assert config["rootfs"]["diff_ids"] == [one["digest"] for one in manifest["layers"]]
        found[entry["annotations"]["io.containerd.image.name"]] = [
            at(one) for one in manifest["layers"]
        ]
    assert found == {
        "example.com/one:1": [base.read_bytes()],
        "example.com/two:1": [base.read_bytes(), top.read_bytes()],
    }
