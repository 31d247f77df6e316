"""A run whose set has an environment starts with it in place; any other run installs."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.cluster import images
from tests.cluster.prefect_api import FlowRun
from tests.e2e.environments.place import Place, installs, mounts
from tests.e2e.install.site import SITE, TEAM

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def environment(place: Place) -> Mapping[str, Any]:
    """That of the set `ready`, which has alpha and beta."""
    return place.offer("ready", "alpha", "beta")


@pytest.fixture(scope="module")
def runs(place: Place, environment: Mapping[str, Any]) -> Mapping[str, FlowRun]:
    """Runs that were started together."""
    assert environment
    return {
        "ready": place.start("ready", "alpha", "beta", "prefect"),
        "none": place.start("none", "alpha", "prefect"),
        "extras": place.start("ready", "alpha", "gamma", extras="gamma"),
        "another image": place.start("ready", "alpha", image=images.FLOW_PIP),
    }


def test_a_set_tells_of_its_environment(place: Place, environment: Mapping[str, Any]) -> None:
    """By digest, in the repository of its namespace, for the image that it was made for."""
    repository, _, digest = environment["reference"].partition("@")
    assert repository == f"{place.registry.address}/flowdeps/{TEAM}"
    assert environment["digest"] == digest
    assert environment["image"] == images.FLOW_UV
    assert environment["files"] > 0
    assert environment["size"] > 0
    assert environment["importSeconds"] >= 0


def test_a_run_mounts_the_environment(
    place: Place, environment: Mapping[str, Any], runs: Mapping[str, FlowRun]
) -> None:
    """By its digest, without an install container, and sees the packages where others see them."""
    seen = place.site.seen(runs["ready"])
    assert mounts(place.pod(runs["ready"])) == environment["reference"]
    for name in ("alpha", "beta"):
        own = {"version": "1.0", "file": f"{SITE}/{name}/__init__.py"}
        assert seen["packages"][name] == own
    assert not seen["packages"]["prefect"]["file"].startswith(SITE)
    assert seen["set"] == "ready"
    assert seen["lock"] == place.status("ready")["lock"]["digest"]


def test_a_run_that_chooses_nothing_starts_at_once(
    place: Place, runs: Mapping[str, FlowRun]
) -> None:
    """Nothing of ours runs before it, and it sees its image."""
    seen = place.site.seen(runs["none"])
    assert not installs(place.pod(runs["none"]))
    assert seen["packages"]["alpha"]["version"] is None


def test_a_run_with_extras_installs(place: Place, runs: Mapping[str, FlowRun]) -> None:
    """Nothing can be added to an environment."""
    seen = place.site.seen(runs["extras"])
    assert mounts(place.pod(runs["extras"])) is None
    assert seen["packages"]["gamma"]["version"] == "1.0"


def test_a_run_in_another_image_installs(place: Place, runs: Mapping[str, FlowRun]) -> None:
    """An environment is for one image only."""
    seen = place.site.seen(runs["another image"])
    assert mounts(place.pod(runs["another image"])) is None
    assert seen["packages"]["alpha"]["file"].startswith(SITE)


def test_a_changed_set_has_another_environment(
    place: Place, environment: Mapping[str, Any]
) -> None:
    """Which the next run gets."""
    changed = place.offer("ready", "alpha", "beta", "gamma")
    assert changed["reference"] != environment["reference"]
    run = place.start("ready", "gamma")
    assert place.site.seen(run)["packages"]["gamma"]["version"] == "1.0"
    assert mounts(place.pod(run)) == changed["reference"]
