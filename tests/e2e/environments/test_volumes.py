"""Runs mount environments from a claim, where their pool says so."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowdeps.api.names import INSTALL_CONTAINER, SITE_VOLUME
from tests.e2e.environments.place import Place
from tests.e2e.install.site import JOBS, SECONDS, SITE, TEAM
from tests.support import sets

pytestmark = pytest.mark.node
CLAIM = "environments"


@pytest.fixture(scope="module")
def claim(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory behind a claim of the namespace of runs, which the pool's runs mount; at the
    end they get environments as images again."""
    directory = tmp_path_factory.mktemp("claim")
    directory.chmod(0o777)
    size: dict[str, Any] = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": CLAIM},
        "spec": {**size, "capacity": {"storage": "1Gi"}, "hostPath": {"path": str(directory)}},
    }
    wanted = {"resources": {"requests": {"storage": "1Gi"}}, "volumeName": CLAIM}
    claimed = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM, "namespace": JOBS},
        "spec": {**size, **wanted},
    }
    sets.apply(place.site.node, volume, claimed)
    place.offer("claimed", "alpha")
    place.install(delivery="Volume", volume={"claimName": CLAIM})
    place.wait_delivery("claimed", "Volume")
    yield directory
    place.install()


def test_a_run_mounts_what_is_on_the_claim(place: Place, claim: Path) -> None:
    """The first one, and the one after the set has changed; nothing is installed in either."""
    run = place.start("claimed", "alpha", "prefect")
    seen = place.site.seen(run)
    assert seen["packages"]["alpha"] == {"version": "1.0", "file": f"{SITE}/alpha/__init__.py"}
    assert not seen["packages"]["prefect"]["file"].startswith(SITE)
    assert seen["lock"] == place.status("claimed")["lock"]["digest"]
    spec = place.pod(run)["spec"]
    assert INSTALL_CONTAINER not in [one["name"] for one in spec.get("initContainers", [])]
    [volume] = [one for one in spec["volumes"] if one["name"] == SITE_VOLUME]
    assert volume["persistentVolumeClaim"] == {"claimName": CLAIM, "readOnly": True}
    first = place.status("claimed")["environment"]["digest"]
    place.site.offer(place.site.image_set("claimed", "alpha", "beta"))
    assert place.status("claimed")["environment"]["digest"] != first
    run = place.start("claimed", "alpha", "beta")
    assert place.site.seen(run)["packages"]["beta"]["version"] == "1.0"
    assert (claim / first.replace(":", "-")).is_dir()  # runs that began before have it


def test_a_run_that_chooses_nothing_sees_its_image(place: Place, claim: Path) -> None:
    """Its directory on the claim has nothing in it."""
    run = place.start("none", "alpha", "prefect")
    assert place.site.seen(run)["packages"]["alpha"]["version"] is None
    assert list((claim / "none").iterdir()) == []


def test_a_killed_operator_leaves_nothing_half_made(place: Place, claim: Path) -> None:
    """Killed while a pod puts an environment on the claim: the next one finishes."""
    node = place.site.node
    sets.apply(node, place.site.image_set("killed", "gamma"))

    def populates() -> bool:
        found = json.loads(node.kubectl("get", "pods", "-n", JOBS, "-o", "json"))["items"]
        return any(one["metadata"]["name"].startswith("flowdeps-populate") for one in found)

    sets.wait(populates, what="a pod to put it on the claim", seconds=SECONDS)
    place.restart_operator()
    sets.wait_ready(node, "killed", namespace=TEAM, seconds=SECONDS)
    place.wait_delivery("killed", "Volume")
    assert place.site.seen(place.start("killed", "gamma"))["packages"]["gamma"]["version"] == "1.0"
    directories = [one for one in claim.iterdir() if one.name.startswith("sha256-")]
    assert directories
    assert all((one / "manifest.json").is_file() for one in directories)
