"""Images that `flowdeps pack` derives, with the real oras and real registries."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from flowdeps.environments.layout import architecture
from tests.cluster.pki import Authority
from tests.cluster.registry import Registry
from tests.integration.environments.test_pack import LOCK, Packer, new_packer

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_RUN = {
    "Env": ["PATH=/usr/bin:/bin", "LANG=C.UTF-8"],
    "Entrypoint": ["/usr/bin/tini"],
    "Cmd": ["python3"],
    "User": "1000",
    "WorkingDir": "/work",
    "Labels": {"team": "a"},
}
_TARGET = "flowdeps/team-a"
_ACCEPT = {"Accept": f"{_MANIFEST}, {_DOCKER}"}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Flows:
    """The repository of flows' images in a registry."""

    registry: Registry
    name: str = "flows/base"

    def blob(self, content: bytes, *, media_type: str) -> dict[str, Any]:
        """Push a blob."""
        with self.registry.client() as client:
            place = client.post(f"{self.name}/blobs/uploads/").raise_for_status()
            digest = _digest(content)
            where = httpx.URL(place.headers["location"]).copy_merge_params({"digest": digest})
            client.put(where, content=content).raise_for_status()
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def manifest(self, content: Mapping[str, Any], *, tag: str = "") -> dict[str, Any]:
        """Push a manifest."""
        body, media_type = json.dumps(content).encode(), str(content["mediaType"])
        with self.registry.client() as client:
            client.put(
                f"{self.name}/manifests/{tag or _digest(body)}",
                content=body,
                headers={"Content-Type": media_type},
            ).raise_for_status()
        return {"mediaType": media_type, "digest": _digest(body), "size": len(body)}

    def push(
        self,
        *,
        run: Mapping[str, Any] = _RUN,
        cpu: str = architecture(),
        types: Sequence[str] = (_MANIFEST, _CONFIG, _LAYER),
        tag: str = "",
    ) -> dict[str, Any]:
        """Push an image of two layers, and return its descriptor."""
        manifest, config, layer = types
        layers = [_layer(f"{cpu}-{number}") for number in range(2)]
        about = {
            "architecture": cpu,
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": dict(run),
            "rootfs": {"type": "layers", "diff_ids": [_digest(gzip.decompress(o)) for o in layers]},
            "history": [{"created_by": "one"}, {"created_by": "two"}],
        }
        return self.manifest(
            {
                "schemaVersion": 2,
                "mediaType": manifest,
                "config": self.blob(json.dumps(about).encode(), media_type=config),
                "layers": [self.blob(one, media_type=layer) for one in layers],
            },
            tag=tag,
        )

    def env(self, pushed: Mapping[str, Any]) -> dict[str, str]:
        """What the operator says of an image that a node ran."""
        name = f"{self.registry.address}/{self.name}"
        return {
            "FLOWDEPS_IMAGES": "1",
            "FLOWDEPS_IMAGE": f"{name}:1",
            "FLOWDEPS_IMAGE_ID": f"{name}@{pushed['digest']}",
        }


def _layer(name: str) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        data = (name * 5000).encode()
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(output.getvalue(), mtime=0)


@dataclass
class Image:
    """An image as a registry has it."""

    manifest: dict[str, Any]
    config: dict[str, Any]
    layers: list[bytes]


def read(registry: Registry, digest: str, *, repository: str = _TARGET) -> Image:
    """Read an image, of which each part is what its descriptor says."""

    def blob(described: Mapping[str, Any]) -> bytes:
        path = f"{repository}/blobs/{described['digest']}"
        content = client.get(path).raise_for_status().content
        assert (_digest(content), len(content)) == (described["digest"], described["size"])
        return content

    with registry.client() as client:
        answer = client.get(f"{repository}/manifests/{digest}", headers=_ACCEPT).raise_for_status()
        assert _digest(answer.content) == digest
        manifest = answer.json()
        assert answer.headers["content-type"] == manifest["mediaType"]
        layers = [blob(one) for one in manifest["layers"]]
        return Image(manifest, json.loads(blob(manifest["config"])), layers)


@pytest.fixture
def packer(tmp_path: Path) -> Packer:
    """A tree as an installation leaves it, and the lock's ConfigMap."""
    return new_packer(tmp_path)


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Registry]:
    """A registry with TLS and one user."""
    authority = Authority(tmp_path.with_name(f"{tmp_path.name}-pki"))
    pair = authority.server("registry", names=["localhost"], addresses=["127.0.0.1"])
    with Registry(certificate=pair, username="puller", password="s3cret") as one:
        secret = tmp_path / "pull-secrets" / "0"
        secret.mkdir(parents=True)
        (secret / ".dockerconfigjson").write_text(one.docker_config())
        (secret / "ca.crt").write_bytes(authority.own.certificate.read_bytes())
        yield one


def uploads(registry: Registry, *, since: int = 0) -> list[str]:
    """How blobs came into the repository of the environments: what each upload began with."""
    path = f"/v2/{_TARGET}/blobs/uploads/"
    return [one for method, one in registry.requests()[since:] if method == "POST" and path in one]


def test_an_image_is_derived_beside_the_environment(packer: Packer, registry: Registry) -> None:
    """It is the flow's image with one layer and two variables more; all else is as it was. It has a
    tag, and its layers were not uploaded again."""
    flows = Flows(registry)
    pushed = flows.push()
    base = read(registry, pushed["digest"], repository=flows.name)
    status, said = packer.run(registry.address, more=flows.env(pushed))
    assert (status, "imageError" in said) == (0, False)
    derived = read(registry, said["image"]["digest"])
    *kept, added = derived.layers
    assert kept == base.layers
    assert said["image"]["size"] == sum(map(len, derived.layers))
    run = derived.config["config"]
    home = "/opt/flowdeps"
    path = ":".join(f"{home}/{one}" for one in ("boot", "site", *(f"image/{n}" for n in range(4))))
    assert run == {
        **_RUN,
        "Env": [*_RUN["Env"], f"PYTHONPATH={path}", f"FLOWDEPS_LOCK={LOCK.digest}"],
    }
    diff_ids = derived.config["rootfs"]["diff_ids"]
    assert diff_ids == [_digest(gzip.decompress(one)) for one in derived.layers]
    assert derived.config["history"][:2] == base.config["history"]
    assert len(derived.config["history"]) == 3
    same = {"architecture", "os", "created"}
    assert {k: derived.config[k] for k in same} == {k: base.config[k] for k in same}
    with tarfile.open(fileobj=io.BytesIO(added), mode="r:gz") as archive:
        names = [one.name for one in archive]
    assert names[:2] == [home[1:], f"{home[1:]}/.wh..wh..opq"]
    assert f"{home[1:]}/site/alpha/__init__.py" in names
    assert all(one.startswith(home[1:]) for one in names)
    begun = uploads(registry)
    mounted = [one for one in begun if "mount=" in one]
    for one in base.manifest["layers"]:
        assert sum(one["digest"].partition(":")[2] in text for text in mounted) == 1
    # Beside these: configuration, layer and list of the environment, and two of the image.
    assert len([one for one in begun if "mount=" not in one]) == len({0, 1, 2, 3, 4, 5})
    with registry.client() as client:
        tags = client.get(f"{_TARGET}/tags/list").json()["tags"]
    for digest in (said["digest"], said["image"]["digest"]):
        assert any(tag.endswith(digest.removeprefix("sha256:")[:10]) for tag in tags)


def test_the_environment_is_the_same_with_and_without_an_image(
    packer: Packer, registry: Registry
) -> None:
    """And a second build comes to the same image and sends nothing."""
    flows = Flows(registry)
    env = flows.env(flows.push())
    _, alone = packer.run(registry.address, more={**env, "FLOWDEPS_IMAGES": ""})
    assert "image" not in alone
    _, first = packer.run(registry.address, more=env)
    assert {**first, "image": None} == {**alone, "image": None}
    before = len(registry.requests())
    for path in packer.tree.rglob("*"):
        os.utime(path, (1, 1))
    _, second = packer.run(registry.address, more=env)
    assert second == first
    assert uploads(registry, since=before) == []


def test_an_image_of_docker_stays_one(packer: Packer, registry: Registry) -> None:
    """Its own PYTHONPATH comes after ours."""
    flows = Flows(registry)
    run = {**_RUN, "Env": ["PYTHONPATH=/app:/lib", *_RUN["Env"]]}
    pushed = flows.push(run=run, types=(_DOCKER, _DOCKER_CONFIG, _DOCKER_LAYER))
    _, said = packer.run(registry.address, more=flows.env(pushed))
    derived = read(registry, said["image"]["digest"])
    assert derived.manifest["mediaType"] == _DOCKER
    assert {one["mediaType"] for one in derived.manifest["layers"]} == {_DOCKER_LAYER}
    assert derived.config["config"]["Env"] == [
        "PYTHONPATH=/opt/flowdeps/boot:/opt/flowdeps/site:/app:/lib",
        *_RUN["Env"],
        f"FLOWDEPS_LOCK={LOCK.digest}",
    ]


def test_of_several_platforms_that_of_the_node_counts(packer: Packer, registry: Registry) -> None:
    """Others are not looked at."""
    flows = Flows(registry)
    other = {"amd64": "arm64", "arm64": "amd64"}[architecture()]
    described = [
        {**flows.push(cpu=cpu), "platform": {"os": "linux", "architecture": cpu}}
        for cpu in (other, architecture())
    ]
    index = flows.manifest({"schemaVersion": 2, "mediaType": _INDEX, "manifests": described})
    _, said = packer.run(registry.address, more=flows.env(index))
    derived = read(registry, said["image"]["digest"])
    assert derived.config["architecture"] == architecture()
    _, alone = packer.run(registry.address, more=flows.env(described[1]))
    # They tell apart what a node was given, and nothing else.
    names = ("config", "layers")
    other_image = read(registry, alone["image"]["digest"])
    assert [derived.manifest[one] for one in names] == [other_image.manifest[one] for one in names]
    _, said = packer.run(registry.address, more=flows.env(described[0]))
    assert said["ok"]
    assert "can't be read" in said["imageError"] or other in said["imageError"]


def test_an_image_of_another_registry_is_copied(
    packer: Packer, registry: Registry, private: Registry
) -> None:
    """With the pull secret of the namespace, which the other registry does not get."""
    flows = Flows(private)
    pushed = flows.push()
    _, said = packer.run(registry.address, more=flows.env(pushed))
    assert "imageError" not in said
    base = read(private, pushed["digest"], repository=flows.name)
    assert read(registry, said["image"]["digest"]).layers[:-1] == base.layers
    assert "puller" not in registry.process.log.read_text()


def test_an_environment_is_there_whatever_becomes_of_the_image(
    packer: Packer, registry: Registry, private: Registry
) -> None:
    """What is wrong is one line, without any secret, which says what to do."""
    flows = Flows(private)
    env = flows.env(flows.push())
    secret = packer.directory / "pull-secrets" / "0" / ".dockerconfigjson"
    secret.write_text(private.docker_config(password="s3cret-of-yesterday"))
    gone = f"{private.address}/flows/base@sha256:{'0' * 64}"
    name = env["FLOWDEPS_IMAGE"]
    for changes, told in (
        ({}, "pods.imagePullSecrets"),
        ({"FLOWDEPS_IMAGE_ID": gone}, "pods.imagePullSecrets"),
        ({"FLOWDEPS_IMAGE_ID": f"sha256:{'0' * 64}"}, f"the node has {name} from no registry"),
        ({"FLOWDEPS_IMAGE": "flows:1"}, "flows:1 names no registry"),
    ):
        status, said = packer.run(registry.address, more={**env, **changes})
        assert (status, said["ok"], "image" in said) == (0, True, False)
        assert told in said["imageError"]
        assert "\n" not in said["imageError"]
    digest = said["digest"]
    with registry.client() as client:
        assert client.head(f"{_TARGET}/manifests/{digest}", headers=_ACCEPT).is_success
