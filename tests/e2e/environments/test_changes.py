"""What changes around an environment: its image's tag, its set, the nodes, and how many runs want
it at once."""

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import images, rootfs
from tests.e2e.environments.place import Place, mounts
from tests.e2e.install.site import JOBS, SECONDS, TEAM
from tests.integration.chart.helm import NAMESPACE, RELEASE
from tests.support import sets

pytestmark = pytest.mark.node

_MOVING = "example.com/flowdeps/flow:moving"
_AT_ONCE = 10


def test_a_moved_tag_ends_a_run_with_one_line(place: Place, tmp_path: Path) -> None:
    """An image with another version of what the lock builds on: nothing of the environment is
    imported. Once the operator has looked, there is one for the new image."""
    site = place.site
    site.index.add("builder", "1.0", requires=["packaging"])
    site.node.tag_image(images.FLOW_UV, _MOVING)
    body = site.image_set("moving", "builder")
    body["spec"]["python"]["image"] = _MOVING
    site.offer(body)
    place.wait_delivery("moving", "Image")
    before = place.status("moving")["environment"]["reference"]
    scale = ("scale", f"deployment/{RELEASE}", "-n", NAMESPACE)
    site.node.kubectl(*scale, "--replicas=0")
    sets.wait(lambda: not site.pods(), what="the operator to end", seconds=SECONDS)
    site.node.load_image(_with_other_packaging(tmp_path))
    run = place.start("moving", "builder", image=_MOVING)
    ended = site.api.wait(run, seconds=SECONDS)
    assert ended.state in {"CRASHED", "FAILED"}
    name = place.pod(run)["metadata"]["name"]
    said = site.node.kubectl("logs", name, "-n", JOBS, "-c", "prefect-job").splitlines()
    [line] = [one for one in said if one.startswith("flowdeps: ")]
    assert "packaging" in line
    assert "images.recheck" in line
    assert mounts(place.pod(run)) == before
    site.node.kubectl(*scale, "--replicas=1")
    sets.wait(
        lambda: place.status("moving").get("environment", {}).get("reference", before) != before,
        what="an environment for the new image",
        show=lambda: place.told("moving"),
        seconds=SECONDS,
    )
    place.wait_delivery("moving", "Image")
    run = place.start("moving", "builder", image=_MOVING)
    assert site.seen(run)["packages"]["builder"]["version"] == "1.0"
    assert mounts(place.pod(run)) == place.status("moving")["environment"]["reference"]


def _with_other_packaging(directory: Path) -> Path:
    """An archive of the flow image whose `packaging` says that it is another version."""
    with tarfile.open(rootfs.prefect_layer()) as layer:
        found = [
            re.fullmatch(r"(.*/site-packages/)(packaging-[^/]*\.dist-info)", one)
            for one in layer.getnames()
        ]
    [(where, before)] = [(one[1], one[2]) for one in found if one]
    place = directory / "tree" / where.removeprefix("./")
    (place / "packaging-24.0.dist-info").mkdir(parents=True)
    (place / f".wh.{before}").touch()  # by which a layer takes away what is below it
    text = "Metadata-Version: 2.1\nName: packaging\nVersion: 24.0\n"
    (place / "packaging-24.0.dist-info" / "METADATA").write_text(text)
    return images.flow_with(directory / "tree", name=_MOVING, directory=directory)


def test_many_runs_that_start_at_once_pull_once(place: Place) -> None:
    """The node asks the registry for a layer a single time, and each pod has all of it."""
    environment = place.offer("crowd", "alpha", "beta", "gamma")
    run = place.start("crowd", "alpha")
    place.site.seen(run)
    place.site.node.forget_image(environment["reference"])
    before = len(place.registry.requests())
    names = [f"crowd-{number}" for number in range(_AT_ONCE)]
    for name in names:
        place.copy(run, name, "test", "-f", "/opt/flowdeps/lock.json")
    for name in names:
        place.wait_pod(name, "Succeeded")
    asked = [path for method, path in place.registry.requests()[before:] if method == "GET"]
    blobs = [path for path in asked if "/blobs/" in path]
    assert 1 <= len(blobs) == len(set(blobs))
    place.site.node.kubectl("delete", "pods", *names, "-n", JOBS)


def test_a_run_keeps_what_it_started_with(place: Place) -> None:
    """Through a change of the set, and the end of its environment in the registry."""
    environment = place.offer("steady", "alpha")
    run = place.start("steady", "alpha")
    place.site.seen(run)
    look = "while sleep 1; do sha256sum /opt/flowdeps/lock.json /opt/flowdeps/site/alpha/*.py; done"
    place.copy(run, "steady", "/bin/sh", "-c", look)
    place.wait_pod("steady", "Running")
    changed = place.offer("steady", "alpha", "beta")
    assert changed["reference"] != environment["reference"]
    place.registry.delete(environment["reference"])
    begun = len(_log(place, "steady"))
    sets.wait(lambda: len(_log(place, "steady")) > begun + 4, what="more lines", seconds=60)
    assert len(set(_log(place, "steady"))) == 2
    place.site.node.kubectl("delete", "pod", "steady", "-n", JOBS, "--now")


def _log(place: Place, name: str) -> list[str]:
    return place.site.node.kubectl("logs", name, "-n", JOBS).splitlines()


def test_a_node_of_another_runtime_has_runs_install(place: Place) -> None:
    """As soon as one reports it; once it is gone, runs mount again."""
    place.offer("nodes", "beta")
    node: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "old"}}
    sets.apply(place.site.node, {**node, "spec": {"unschedulable": False}})
    info = {"containerRuntimeVersion": "containerd://1.7.27", "operatingSystem": "linux"}
    patch = json.dumps({"status": {"nodeInfo": info}})
    place.site.node.kubectl("patch", "node", "old", "--subresource=status", "-p", patch)
    place.restart_operator()
    place.wait_delivery("nodes", "Install")
    assert "old (containerd://1.7.27)" in place.told("nodes")
    run = place.start("nodes", "beta")
    assert place.site.seen(run)["packages"]["beta"]["version"] == "1.0"
    assert mounts(place.pod(run)) is None
    place.site.node.kubectl("delete", "node", "old")
    place.restart_operator()
    place.wait_delivery("nodes", "Image")
    assert TEAM in place.status("nodes")["environment"]["reference"]
