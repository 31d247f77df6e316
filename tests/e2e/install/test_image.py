"""The operator's image, looked at from within: a pod that may do no more than the operator's."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flowdeps
from tests.cluster import operator_image
from tests.e2e.install.site import SECONDS, Site
from tests.integration.chart.helm import NAMESPACE

pytestmark = pytest.mark.node

_LOOK = """
import importlib.metadata, json, os, pathlib, platform, shutil, subprocess, sys

def said(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).strip()

def writable(top):
    found = []
    for directory, names, files in os.walk(top):
        if pathlib.Path(directory).is_relative_to("/tmp"):
            names.clear()
        found += [one for name in files if os.access(one := f"{directory}/{name}", os.W_OK)]
    return found

try:
    pathlib.Path("/written").touch()
    read_only = False
except OSError:
    read_only = True
print(json.dumps({
    "user": os.getuid(),
    "read_only": read_only,
    "version": said("flowdeps", "--version"),
    "check": said("uv", "pip", "check", "--no-cache", "--python", sys.executable),
    "compile": said("uv", "pip", "compile", "--no-cache", "--offline", "/dev/null"),
    "python": platform.python_version(),
    "installed": {one.name: one.version for one in importlib.metadata.distributions()},
    "programs": [name for name in NAMES if shutil.which(name)],
    "own": sorted(os.listdir(os.path.dirname(sys.executable))),
    "writable": writable("/opt") + writable("/etc"),
}))
"""
_COMPILERS = ("gcc", "cc", "g++", "make", "ld", "go", "rustc")


@pytest.fixture(scope="module")
def seen(site: Site) -> dict[str, Any]:
    """What a restricted pod with a read-only root file system tells."""
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "look", "namespace": NAMESPACE},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "look",
                    "image": operator_image.NAME,
                    "command": ["python3", "-I", "-c", f"NAMES = {_COMPILERS}\n{_LOOK}"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }
    here = ("-n", NAMESPACE)
    site.node.kubectl("apply", "-f", "-", input=json.dumps(body))
    ended = "--for=jsonpath={.status.containerStatuses[0].state.terminated}"
    site.node.kubectl("wait", "pod/look", *here, ended, f"--timeout={SECONDS:.0f}s")
    said = site.node.kubectl("logs", "look", *here)
    site.node.kubectl("delete", "pod", "look", *here, "--wait=false")
    told: dict[str, Any] = json.loads(said)
    return told


@pytest.fixture(scope="module")
def config(site: Site) -> dict[str, Any]:
    """The image's configuration, with its history."""
    with tarfile.open(site.image) as archive:

        def read(name: str) -> dict[str, Any]:
            file = archive.extractfile(name)
            assert file is not None
            content: dict[str, Any] = json.load(file)
            return content

        def blob(described: dict[str, Any]) -> dict[str, Any]:
            return read("blobs/" + described["digest"].replace(":", "/"))

        (manifest,) = read("index.json")["manifests"]
        return blob(blob(manifest)["config"])


def test_the_program_works_with_a_read_only_root(seen: dict[str, Any]) -> None:
    """As a user that has a number and no name; nothing but /tmp can be written, though the kubelet
    gives such a user root's group."""
    assert seen["user"] == 65532
    assert seen["read_only"] is True
    assert seen["version"] == [0, f"flowdeps {flowdeps.__version__}"]
    assert seen["writable"] == []


def test_it_has_what_the_lock_pins_and_no_more(seen: dict[str, Any]) -> None:
    """Each distribution at the lock's version, for the image's own Python; and flowdeps."""
    environment = operator_image.environment(seen["python"])
    pins = {
        one.name: str(one.specifier).removeprefix("==")
        for one, _ in operator_image.pins()
        if one.marker is None or one.marker.evaluate(environment)
    }
    assert len(pins) > 50
    assert _normalized(seen["installed"]) == _normalized(pins | {"flowdeps": flowdeps.__version__})
    assert "prefect-kubernetes" not in _normalized(seen["installed"])


def test_its_packages_fit_each_other(seen: dict[str, Any]) -> None:
    """uv, which is there and works, finds no requirement that is not met."""
    code, said = seen["check"]
    assert code == 0, said
    assert seen["compile"][0] == 0, seen["compile"][1]


def test_no_tool_of_the_build_is_left(seen: dict[str, Any]) -> None:
    """Neither compilers nor pip."""
    assert seen["programs"] == []
    assert not [name for name in seen["own"] if name.startswith("pip")]


def test_the_image_says_what_it_is_and_runs_as_nobody(config: dict[str, Any]) -> None:
    """A user by number, so that `runAsNonRoot` can be checked; the program; a version."""
    running = config["config"]
    assert running["User"] == "65532:65532"
    assert running["Entrypoint"] == ["flowdeps"]
    labels = running["Labels"]
    assert labels["org.opencontainers.image.title"] == "flowdeps"
    assert labels["org.opencontainers.image.version"] == flowdeps.__version__


def test_nothing_of_the_machine_that_built_it_is_in_it(config: dict[str, Any], site: Site) -> None:
    """No variable, no step of its history and no file tells where packages came from."""
    told = json.dumps(config)
    assert "PIP_" not in told
    assert str(operator_image.ROOT) not in told
    names = _files(site.image)
    assert "usr/lib/flowdeps/bin/flowdeps" in names
    secret = (".netrc", "pip.conf", ".pypirc", "uv.toml", "id_rsa")
    assert not [name for name in names if name.rpartition("/")[2] in secret]
    above = {name.split("/")[0] for name in names}
    assert "src" not in above
    assert "build" not in above
    assert "wheels" not in above


def _files(image: Path) -> set[str]:
    """The paths of all layers."""
    found: set[str] = set()
    with tarfile.open(image) as archive:
        for blob in _layers(archive):
            with tarfile.open(fileobj=archive.extractfile(blob), mode="r:*") as layer:
                found.update(name.removeprefix("./") for name in layer.getnames())
    return found


def _layers(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Its blobs that are layers: all that is larger than any manifest."""
    for member in archive:
        if member.name.startswith("blobs/") and member.size > 1_000_000:
            yield member


def _normalized(versions: dict[str, str]) -> dict[str, str]:
    return {name.lower().replace("_", "-").replace(".", "-"): one for name, one in versions.items()}
