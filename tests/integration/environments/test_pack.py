"""`flowdeps pack` with a real tree, the real oras and a real registry."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from packaging.utils import canonicalize_name

from flowdeps.environments.errors import PackError
from flowdeps.environments.layer import pack_layer
from flowdeps.environments.layout import About, new_layer_file, write_layout
from flowdeps.environments.registry import Credentials, push
from flowdeps.locks.lock import Lock, Pin
from flowdeps.locks.target import Target
from tests.cluster import binaries, ports, tools
from tests.cluster.pki import Authority
from tests.cluster.registry import Registry

_ROOT = Path(__file__).parents[3]
_PLATFORMS = ("linux/amd64", "linux/arm64")
_HASHES = (f"sha256:{'a' * 64}", f"sha256:{'b' * 64}")
_PIN = Pin(canonicalize_name("alpha"), "1.0", _HASHES, _PLATFORMS)
LOCK = Lock(Target("3.11", _PLATFORMS), (_PIN,))
_TAG = "0123456789-abcdef0123"
_REPOSITORY = "flowdeps/team-a"


@dataclass
class Packer:
    """What a build's pod has beside the registry."""

    directory: Path
    oras: Path

    @property
    def tree(self) -> Path:
        return self.directory / "tree"

    def run(
        self,
        address: str,
        *,
        plain_http: bool = True,
        more: Mapping[str, str] | None = None,
        **env: str,
    ) -> tuple[int, dict[str, Any]]:
        """The exit status and what the last line says; no secret is in any line."""
        given = {
            "PATH": f"{self.oras.parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(
                [str(_ROOT / "operator"), os.environ.get("PYTHONPATH", "")]
            ),
            "FLOWDEPS_REPOSITORY": f"{address}/{_REPOSITORY}",
            "FLOWDEPS_TAG": _TAG,
            "FLOWDEPS_IMAGE": "registry.example.com/flow:1",
            "FLOWDEPS_IMAGE_ID": f"sha256:{'c' * 64}",
            "FLOWDEPS_PLAIN_HTTP": "1" if plain_http else "",
            "TMPDIR": str(self.directory),
            **env,
            **(more or {}),
        }
        known = ("tree", "lock", "credentials", "pull-secrets")
        places = [f"--{name}={self.directory / name}" for name in known]
        done = subprocess.run(
            [sys.executable, "-m", "flowdeps", "pack", *places],
            env=tools.environment(given),
            capture_output=True,
            text=True,
            check=False,
        )
        assert "s3cret" not in done.stdout + done.stderr
        assert done.stderr == ""
        *_, last = done.stdout.splitlines()
        assert last.startswith("flowdeps-pack: ")
        assert {one.name for one in self.directory.iterdir()} <= set(known)
        return done.returncode, json.loads(last.removeprefix("flowdeps-pack: "))

    def give(self, config: str) -> None:
        """Mount credentials."""
        (self.directory / "credentials").mkdir(exist_ok=True)
        (self.directory / "credentials" / ".dockerconfigjson").write_text(config)


@pytest.fixture
def packer(tmp_path: Path) -> Packer:
    """A tree as an installation leaves it, and the lock's ConfigMap."""
    return new_packer(tmp_path)


def new_packer(tmp_path: Path) -> Packer:
    """Make what a build's pod has beside the registry."""
    oras = binaries.ensure(["oras"])["oras"]
    tree, lock = tmp_path / "tree", tmp_path / "lock"
    for directory in (tree / "site" / "alpha", tree / "boot", lock):
        directory.mkdir(parents=True)
    (tree / "site" / "alpha" / "__init__.py").write_text("value = 1\n")
    (tree / "site" / ".lock").touch()
    (tree / "boot" / "sitecustomize.py").write_text("pass\n")
    manifest = json.dumps({"set": "team-a/ml", "key": "ml", "digest": LOCK.digest})
    (lock / "lock.json").write_text(manifest)
    (lock / "requirements.txt").write_text(LOCK.render())
    (tree / "lock.json").write_text(manifest)
    (tree / "manifest.json").write_text("{}")
    return Packer(tmp_path, oras)


@pytest.fixture
def protected() -> Iterator[Registry]:
    """A registry with one user."""
    with Registry(username="pusher", password="s3cret") as one:
        yield one


def blob(client: httpx.Client, descriptor: dict[str, Any]) -> bytes:
    """A blob's content, which is what its descriptor says."""
    answer = client.get(f"{_REPOSITORY}/blobs/{descriptor['digest']}").raise_for_status()
    assert f"sha256:{hashlib.sha256(answer.content).hexdigest()}" == descriptor["digest"]
    assert len(answer.content) == descriptor["size"]
    return answer.content


def manifest_of(client: httpx.Client, reference: str) -> tuple[str, dict[str, Any]]:
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    answer = client.get(f"{_REPOSITORY}/manifests/{reference}", headers=accept).raise_for_status()
    return f"sha256:{hashlib.sha256(answer.content).hexdigest()}", answer.json()


def children() -> set[str]:
    """The programs that this process has started and that have not ended."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids}


def test_what_is_pushed_is_an_image_of_the_tree(packer: Packer, registry: Registry) -> None:
    """The digest that is printed is that of the manifest under the tag; a runtime finds in it the
    configuration of an image, and what its layer is when it is unpacked."""
    status, said = packer.run(registry.address)
    assert (status, said["ok"]) == (0, True)
    with registry.client() as client:
        tag = f"{_TAG}-{said['digest'].removeprefix('sha256:')[:10]}"
        digest, manifest = manifest_of(client, tag)
        assert said["digest"] == digest
        (described,) = manifest["layers"]
        layer, config = blob(client, described), json.loads(blob(client, manifest["config"]))
    assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert manifest["artifactType"] == "application/vnd.flowdeps.environment.v1"
    assert manifest["annotations"] == {
        "dev.flowdeps.set": "team-a/ml",
        "dev.flowdeps.lock": LOCK.digest,
        "dev.flowdeps.image": "registry.example.com/flow:1",
        "dev.flowdeps.image-id": f"sha256:{'c' * 64}",
    }
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:gz") as archive:
        files = {one.name: one.size for one in archive if one.isreg()}
    unpacked = gzip.decompress(layer)
    assert config["rootfs"] == {
        "type": "layers",
        "diff_ids": [f"sha256:{hashlib.sha256(unpacked).hexdigest()}"],
    }
    assert list(files) == [
        "boot/sitecustomize.py",
        "lock.json",
        "manifest.json",
        "site/alpha/__init__.py",
    ]
    assert said == {
        "ok": True,
        "digest": digest,
        "size": len(layer),
        "files": 4,
        "unpacked": sum(files.values()),
    }


def test_its_components_refer_to_it(packer: Packer, registry: Registry) -> None:
    """By the list of referrers under the tag that stands for the API where a registry has none."""
    _, said = packer.run(registry.address)
    digest = said["digest"]
    with registry.client() as client:
        accept = {"Accept": "application/vnd.oci.image.index.v1+json"}
        path = f"{_REPOSITORY}/manifests/{digest.replace(':', '-')}"
        (referrer,) = client.get(path, headers=accept).raise_for_status().json()["manifests"]
        assert referrer["artifactType"] == "application/vnd.cyclonedx+json"
        _, manifest = manifest_of(client, referrer["digest"])
        assert manifest["subject"]["digest"] == digest
        (described,) = manifest["layers"]
        listed = json.loads(blob(client, described))
    (component,) = listed["components"]
    assert (component["name"], component["version"]) == ("alpha", "1.0")
    assert component["purl"] == "pkg:pypi/alpha@1.0"
    assert [one["content"] for one in component["hashes"]] == ["a" * 64, "b" * 64]
    assert "timestamp" not in listed["metadata"]


def test_a_second_build_uploads_nothing(packer: Packer, registry: Registry) -> None:
    """It comes to the same digest, whenever its files were written."""
    _, first = packer.run(registry.address)
    before = registry.requests()
    assert any(method == "PATCH" or "/blobs/uploads/" in path for method, path in before)
    for path in packer.tree.rglob("*"):
        os.utime(path, (1, 1))
    status, second = packer.run(registry.address)
    assert (status, second) == (0, first)
    later = registry.requests()[len(before) :]
    assert later
    assert not [path for _, path in later if "/blobs/" in path]


def test_what_was_deleted_is_pushed_again(packer: Packer, registry: Registry) -> None:
    """Its list of components, which refers to it, stays where the registry deletes it alone."""
    _, said = packer.run(registry.address)
    registry.delete(f"{registry.address}/{_REPOSITORY}@{said['digest']}")
    assert packer.run(registry.address) == (0, said)
    with registry.client() as client:
        kinds = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        client.get(f"{_REPOSITORY}/manifests/{said['digest']}", headers=kinds).raise_for_status()


def tags(registry: Registry) -> set[str]:
    with registry.client() as client:
        return set(client.get(f"{_REPOSITORY}/tags/list").raise_for_status().json()["tags"] or ())


def test_what_no_lock_needs_is_deleted(packer: Packer, registry: Registry) -> None:
    """With its list of components; what others have tagged stays. What is there is said."""
    deletes = {"FLOWDEPS_DELETES": "1"}
    _, first = packer.run(registry.address, more=deletes)
    assert first["locks"] == ["0123456789"]
    other = {"FLOWDEPS_TAG": "abcdefabcd-abcdef0123"}
    (packer.tree / "site" / "alpha" / "__init__.py").write_text("value = 2\n")
    _, second = packer.run(registry.address, more=deletes | other)
    assert second["locks"] == ["0123456789", "abcdefabcd"]
    with registry.client() as client:
        digest, manifest = manifest_of(client, first["digest"])
        content = json.dumps(manifest, indent=3).encode()
        kind = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
        path = f"{_REPOSITORY}/manifests/latest"
        client.put(path, content=content, headers=kind).raise_for_status()
    status, third = packer.run(
        registry.address, more=deletes | other | {"FLOWDEPS_UNUSED": "0123456789,0000000000"}
    )
    assert (status, third["ok"], third["locks"]) == (0, True, ["abcdefabcd"])
    assert tags(registry) >= {"latest", f"abcdefabcd-abcdef0123-{second['digest'][7:17]}"}
    gone = ("0123456789", digest.replace(":", "-"))
    assert not [one for one in tags(registry) if one.startswith(gone)]
    with registry.client() as client:
        kinds = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        assert client.get(f"{_REPOSITORY}/manifests/{digest}", headers=kinds).status_code == 404
        client.get(f"{_REPOSITORY}/manifests/{second['digest']}", headers=kinds).raise_for_status()


def test_a_registry_that_deletes_nothing_keeps_nothing_else_from_its_end(packer: Packer) -> None:
    """The environment is there, and why the others stay is said."""
    with Registry(deletes=False) as registry:
        deletes = {"FLOWDEPS_DELETES": "1"}
        packer.run(registry.address, more=deletes)
        status, said = packer.run(
            registry.address, more=deletes | {"FLOWDEPS_UNUSED": _TAG.partition("-")[0]}
        )
    assert (status, said["ok"]) == (0, True)
    assert "does not support the deletion (" in said["unusedError"]


def test_credentials_come_from_the_secret(packer: Packer, protected: Registry) -> None:
    """Those for a part of a registry count for what is below it, as they do for the kubelet."""
    config = json.loads(protected.docker_config())
    (entry,) = config["auths"].values()
    wrong = json.loads(protected.docker_config(password="other"))["auths"]
    packer.give(json.dumps({"auths": {**wrong, f"http://{protected.address}/flowdeps/": entry}}))
    assert packer.run(protected.address)[0] == 0


def test_credentials_that_are_refused_are_an_error(packer: Packer, protected: Registry) -> None:
    """With the name of the Secret, and nothing that is in it."""
    packer.give(protected.docker_config(password="s3cret-of-yesterday"))
    status, said = packer.run(protected.address)
    assert (status, said["ok"], said["retry"]) == (1, False, True)
    assert said["error"].startswith(f"the registry {protected.address} refuses the credentials (")
    assert "environments.pushSecretRef" in said["error"]


def test_a_registry_that_wants_credentials_says_so(packer: Packer, protected: Registry) -> None:
    """Where there is no Secret."""
    status, said = packer.run(protected.address)
    assert (status, said["ok"]) == (1, False)
    assert "wants credentials, and there are none for it" in said["error"]


def test_a_secret_that_is_none_of_a_registry_is_an_error(
    packer: Packer, registry: Registry
) -> None:
    """Before anything is packed."""
    for config in ("s3cret", "[]", "{}", '{"auths": ["s3cret"]}', '{"auths": {"a": 1}}'):
        packer.give(config)
        status, said = packer.run(registry.address)
        assert (status, said["retry"]) == (1, True), config
        assert "make it with kubectl create secret docker-registry" in said["error"]
    assert not [path for _, path in registry.requests() if _REPOSITORY in path]


def test_a_registry_that_takes_nothing_is_an_error(packer: Packer, registry: Registry) -> None:
    """Read-only, then stopped, and then it goes well."""
    registry.down()
    status, said = packer.run(registry.address)
    assert (status, said["ok"], said["retry"]) == (1, False, True)
    assert "can't be reached from the build's pod" in said["error"]
    registry.up(read_only=True)
    status, said = packer.run(registry.address)
    assert (status, said["ok"], said["retry"]) == (1, False, True)
    assert "does not support the push" in said["error"]
    registry.down()
    registry.up()
    assert packer.run(registry.address)[0] == 0


def test_a_registry_with_tls_is_trusted_by_its_authority(packer: Packer, tmp_path: Path) -> None:
    """Which is in the Secret, or in SSL_CERT_FILE of the image."""
    directory = tmp_path.with_name(f"{tmp_path.name}-pki")
    authority = Authority(directory)
    pair = authority.server("registry", names=["localhost"], addresses=["127.0.0.1"])
    with Registry(certificate=pair) as registry:
        status, said = packer.run(registry.address, plain_http=False)
        assert (status, said["ok"]) == (1, False)
        assert "has a certificate that is not trusted" in said["error"]
        assert "as ca.crt to the Secret environments.pushSecretRef" in said["error"]
        trusted = {"SSL_CERT_FILE": str(authority.own.certificate)}
        assert packer.run(registry.address, plain_http=False, more=trusted)[0] == 0
        packer.give('{"auths": {}}')
        certificate = authority.own.certificate.read_bytes()
        (packer.directory / "credentials" / "ca.crt").write_bytes(certificate)
        assert packer.run(registry.address, plain_http=False)[0] == 0


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("tree/manifest.json", "the tree has no manifest.json: its installation has not ended"),
        ("lock/requirements.txt", "the lock's ConfigMap is not there, or damaged"),
        ("lock/lock.json", "the lock's ConfigMap is not there, or damaged"),
    ],
)
def test_half_of_a_build_is_not_packed(packer: Packer, change: str, error: str) -> None:
    """It ends before it asks the registry, which is not there."""
    (packer.directory / change).unlink()
    status, said = packer.run(f"127.0.0.1:{ports.free()}")
    assert (status, said["retry"]) == (1, True)
    assert said["error"].startswith(error)


def test_a_lock_that_is_not_that_of_its_manifest_is_not_packed(packer: Packer) -> None:
    """Else the artifact would say of itself what it is not."""
    lock = packer.directory / "lock" / "requirements.txt"
    lock.write_text(lock.read_text().replace("1.0", "1.1"))
    status, said = packer.run(f"127.0.0.1:{ports.free()}")
    assert status == 1
    assert "damaged" in said["error"]


def test_variables_that_are_missing_are_named(packer: Packer) -> None:
    """By their names."""
    status, said = packer.run("127.0.0.1:1", FLOWDEPS_TAG="", FLOWDEPS_IMAGE="")
    assert status == 1
    assert said["error"].startswith("FLOWDEPS_TAG, FLOWDEPS_IMAGE must be set")


async def test_a_registry_that_does_not_answer_is_waited_for_no_longer_than_asked(
    tmp_path: Path, packer: Packer, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then oras has ended too."""
    monkeypatch.setenv("PATH", f"{packer.oras.parent}:{os.environ['PATH']}")
    (tmp_path / "work").mkdir()
    layout = tmp_path / "work" / "layout"
    layer = pack_layer(packer.tree, new_layer_file(layout))
    about = About(set="team-a/ml", lock=LOCK.digest, image="i", image_id="i")
    digest = write_layout(layout, layer, about=about, listed=b"{}")
    registry.process.pause()
    with pytest.raises(PackError, match="did not take the environment within 1 s") as error:
        await push(
            layout,
            digest,
            repository=f"{registry.address}/{_REPOSITORY}",
            tag=_TAG,
            credentials=Credentials(),
            plain_http=True,
            seconds=1,
        )
    assert error.value.retry
    running = children()
    assert "docker-registry" in running
    assert "oras" not in running
