"""A derived image is the flow's image with a layer more, whatever that says of itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flowdeps.environments.derived import Derived, base_reference, read_base, write_derived
from flowdeps.environments.errors import PackError
from flowdeps.environments.layer import Layer
from flowdeps.environments.layout import MANIFEST, About, architecture, new_layer_file

_HEX = "0123456789abcdef" * 4
_DIGEST = f"sha256:{_HEX}"
_NAME = "registry.example.com:5000/flows/base"
_LAYER = Layer(
    digest=f"sha256:{'e' * 64}", diff_id=f"sha256:{'f' * 64}", size=7, unpacked=9, files=1
)
_ABOUT = About(set="team-a/ml", lock=f"sha256:{'1' * 64}", image=_NAME, image_id=_DIGEST)
_PART = {"mediaType": "application/example", "digest": _DIGEST, "size": 5}
_BASE = {"schemaVersion": 2, "mediaType": MANIFEST, "config": _PART, "layers": [_PART, _PART]}
_CONFIG: dict[str, Any] = {
    "architecture": architecture(),
    "os": "linux",
    "config": {"Env": ["A=1=2"], "Cmd": ["python"]},
    "rootfs": {"type": "layers", "diff_ids": [_DIGEST, _DIGEST]},
    "more": {"kept": True},
}


def derive(
    directory: Path, *, base: Mapping[str, Any] = _BASE, config: Any = None
) -> tuple[Derived, dict[str, Any], dict[str, Any]]:
    """The image, its manifest and its configuration."""
    layout = directory / "layout"
    new_layer_file(layout).touch()
    text = config if isinstance(config, bytes) else json.dumps(config or _CONFIG).encode()
    read = read_base(json.dumps(base).encode())
    derived = write_derived(layout, _LAYER, base=read, config=text, about=_ABOUT)
    blobs = layout / "blobs" / "sha256"
    manifest = json.loads((blobs / derived.digest.removeprefix("sha256:")).read_bytes())
    name = manifest["config"]["digest"].removeprefix("sha256:")
    return derived, manifest, json.loads((blobs / name).read_bytes())


@pytest.mark.parametrize(
    ("image", "image_id", "reference"),
    [
        (f"{_NAME}:1", f"{_NAME}@{_DIGEST}", f"{_NAME}@{_DIGEST}"),
        (f"{_NAME}@sha256:{'a' * 64}", f"{_NAME}@{_DIGEST}", f"{_NAME}@{_DIGEST}"),
        (f"{_NAME}:1@sha256:{'a' * 64}", f"{_NAME}@{_DIGEST}", f"{_NAME}@{_DIGEST}"),
        (_NAME, f"theirs.example.com/other@{_DIGEST}", f"{_NAME}@{_DIGEST}"),
        ("localhost/flow:1", f"x@{_DIGEST}", f"localhost/flow@{_DIGEST}"),
    ],
)
def test_an_image_is_read_where_its_name_says_by_the_digest_that_ran(
    image: str, image_id: str, reference: str
) -> None:
    """By which other name a node has it is decided by pods of others."""
    assert base_reference(image, image_id) == reference


@pytest.mark.parametrize(
    ("image", "image_id", "problem"),
    [
        (f"{_NAME}:1", _DIGEST, "from no registry"),
        (f"{_NAME}:1", f"{_NAME}@sha256:1", "from no registry"),
        ("flow:1", f"flow@{_DIGEST}", "names no registry"),
        ("team/flow", f"flow@{_DIGEST}", "names no registry"),
    ],
)
def test_an_image_that_is_in_no_known_registry_is_not_derived_from(
    image: str, image_id: str, problem: str
) -> None:
    with pytest.raises(PackError, match=problem):
        base_reference(image, image_id)


def test_nothing_else_changes(tmp_path: Path) -> None:
    """Not even what we don't know; an image without a history gets none."""
    derived, manifest, config = derive(tmp_path)
    assert derived.size == 5 + 5 + 7
    assert manifest["layers"][:2] == [_PART, _PART]
    assert manifest["config"]["mediaType"] == _PART["mediaType"]
    run = config.pop("config")
    assert run.pop("Env")[0] == "A=1=2"
    assert run == {"Cmd": ["python"]}
    assert config.pop("rootfs")["diff_ids"] == [_DIGEST, _DIGEST, _LAYER.diff_id]
    assert config == {k: v for k, v in _CONFIG.items() if k not in {"config", "rootfs"}}


def test_what_refers_to_others_or_says_what_it_is_stays_with_the_base(tmp_path: Path) -> None:
    """A derived image is a plain image, with the annotations of both."""
    base = {**_BASE, "subject": _PART, "artifactType": "x", "annotations": {"theirs": "1"}}
    _, manifest, _ = derive(tmp_path, base=base)
    assert set(manifest) == {"schemaVersion", "mediaType", "config", "layers", "annotations"}
    assert manifest["annotations"] == {"theirs": "1", **_ABOUT.annotations()}


@pytest.mark.parametrize("env", [None, ["PYTHONPATH="], ["PATH=/bin", "PYTHONPATH"]])
def test_an_image_without_a_path_of_its_own_has_the_templates(tmp_path: Path, env: Any) -> None:
    """An empty entry would be the working directory."""
    _, _, config = derive(tmp_path, config={**_CONFIG, "config": {"Env": env}})
    found = dict(one.partition("=")[::2] for one in config["config"]["Env"])
    links = ":".join(f"/opt/flowdeps/image/{number}" for number in range(4))
    assert found["PYTHONPATH"] == f"/opt/flowdeps/boot:/opt/flowdeps/site:{links}"
    assert found["FLOWDEPS_LOCK"] == _ABOUT.lock


@pytest.mark.parametrize(
    "base",
    [
        [],
        {},
        {**_BASE, "mediaType": "application/vnd.oci.image.index.v1+json"},
        {**_BASE, "mediaType": ["a"]},
        {**_BASE, "layers": {}},
        {**_BASE, "layers": [1]},
        {**_BASE, "config": None},
        {**_BASE, "layers": [{**_PART, "size": -1}]},
        {**_BASE, "layers": [{**_PART, "size": True}]},
        {**_BASE, "layers": [{**_PART, "size": 10**30}]},
        {**_BASE, "layers": [{**_PART, "digest": "sha256:../../x"}]},
        {**_BASE, "config": {**_PART, "mediaType": 1}},
    ],
)
def test_a_manifest_that_is_none_of_an_image_is_an_error(base: Any) -> None:
    """Of one line; an attacker may have written it."""
    with pytest.raises(PackError):
        read_base(json.dumps(base).encode())


@pytest.mark.parametrize(
    "config",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        json.dumps({**_CONFIG, "created": float("nan")}).encode(),
        [1],
        {**_CONFIG, "os": "windows"},
        {**_CONFIG, "architecture": "s390x"},
        {**_CONFIG, "rootfs": None},
        {**_CONFIG, "rootfs": {"diff_ids": [_DIGEST]}},
        {**_CONFIG, "config": [1]},
        {**_CONFIG, "config": {"Env": "A=1"}},
        {**_CONFIG, "config": {"Env": [1]}},
    ],
)
def test_a_configuration_that_does_not_fit_is_an_error(tmp_path: Path, config: Any) -> None:
    """Else runtimes would refuse the image, and say nothing of why."""
    with pytest.raises(PackError):
        derive(tmp_path, config=config)
