"""A derived image runs with the packages of its set, and mounts nothing."""

import json
import subprocess
import tarfile
from collections.abc import Iterator

import pytest

from tests.cluster import binaries, images
from tests.e2e.environments.place import Place
from tests.e2e.install.site import SECONDS, SITE, TEAM
from tests.support import sets

pytestmark = pytest.mark.node

_LOOK = """\
import json, os, alpha
print(json.dumps([alpha.__file__, os.environ["FLOWDEPS_LOCK"]]))
"""


@pytest.fixture(scope="module")
def flow_image(place: Place, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of flows in the registry, where nodes pull it.

    It has a layer of its own: once a kubelet has pulled the image that tests load into their node,
    it takes it for loaded no longer, and other modules could not use it.
    """
    directory = tmp_path_factory.mktemp("image")
    (directory / "tree" / "opt").mkdir(parents=True)
    (directory / "tree" / "opt" / "pulled").touch()
    archive = images.flow_with(directory / "tree", name=images.FLOW_UV, directory=directory)
    with tarfile.open(archive) as layout:
        index = layout.extractfile("index.json")
        assert index is not None
        manifests = json.loads(index.read())["manifests"]
    [digest] = {one["digest"] for one in manifests if images.FLOW_UV in one["annotations"].values()}
    name = f"{place.registry.address}/flows/uv:1"
    oras = binaries.ensure(["oras"])["oras"]
    words = ("copy", "--to-plain-http", "--from-oci-layout", f"{archive}@{digest}", name)
    subprocess.run([oras, *words], check=True, capture_output=True)
    return name


@pytest.fixture(scope="module")
def imaging(place: Place) -> Iterator[Place]:
    """The place while images are derived; of other modules' images there are none in a registry."""
    place.install(images=True)
    yield place
    place.install()


def test_a_derived_image_has_the_packages_of_its_set(imaging: Place, flow_image: str) -> None:
    """In a pod that says nothing but the image, by the digest that the status has."""
    place = imaging
    body = place.site.image_set("imaged", "alpha")
    body["spec"]["python"] = {"image": flow_image}
    place.site.offer(body)
    sets.wait(
        lambda: bool(place.status("imaged").get("images")),
        what="an image to be derived",
        show=lambda: place.told("imaged"),
        seconds=SECONDS,
    )
    [derived] = place.status("imaged")["images"]
    assert derived["image"] == flow_image
    assert derived["reference"].endswith(f"/flowdeps/{TEAM}@{derived['digest']}")
    container = {
        "name": "flow",
        "image": derived["reference"],
        "command": ["python3", "-c", _LOOK],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    whole = {
        "runAsNonRoot": True,
        "runAsUser": 65534,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spec = {"restartPolicy": "Never", "securityContext": whole, "containers": [container]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "imaged", "namespace": TEAM},
        "spec": spec,
    }
    sets.apply(place.site.node, pod)
    kubectl, given = place.site.node.kubectl, ("-n", TEAM)
    ended = "--for=jsonpath={.status.phase}=Succeeded"
    kubectl("wait", "pod/imaged", ended, f"--timeout={SECONDS:.0f}s", *given)
    found = json.loads(kubectl("logs", "imaged", *given))
    kubectl("delete", "pod", "imaged", "--wait=false", *given)
    assert found == [f"{SITE}/alpha/__init__.py", place.status("imaged")["lock"]["digest"]]
