"""What an environment needs goes away: runs start as before, or install, and the set says why."""

import pytest

from tests.e2e.environments.place import Place, mounts
from tests.e2e.install.site import JOBS, SECONDS, TEAM
from tests.integration.chart.helm import NAMESPACE, RELEASE
from tests.support import sets

pytestmark = pytest.mark.node

_BUILDING = ("-n", TEAM, "-l", "flowdeps.dev/purpose=build")


@pytest.fixture(scope="module", autouse=True)
def offered(place: Place) -> None:
    """The set `solid` has an environment, which the node has pulled."""
    place.offer("solid", "alpha")


def test_a_run_starts_while_everything_else_is_gone(place: Place) -> None:
    """Without the operator, the index and the registry: nothing of it is asked."""
    site = place.site
    site.node.kubectl("scale", f"deployment/{RELEASE}", "--replicas=0", "-n", NAMESPACE)
    sets.wait(lambda: not site.pods(), what="the operator to end", seconds=SECONDS)
    asked = site.index.requests
    place.registry.down()
    run = place.start("solid", "alpha")
    assert site.seen(run)["packages"]["alpha"]["version"] == "1.0"
    place.registry.up()
    assert mounts(place.pod(run))
    assert site.index.requests == asked
    site.node.kubectl("scale", f"deployment/{RELEASE}", "--replicas=1", "-n", NAMESPACE)


def test_an_environment_that_cannot_be_pulled_is_taken_out(place: Place) -> None:
    """New runs install, the set names the pull, and one that waits is seen within a minute; its
    log says what it waits for. An environment that is gone is made again."""
    environment = place.offer("lost", "beta")
    place.registry.delete(environment["reference"])
    place.site.node.forget_image(environment["reference"])
    waiting = place.start("lost", "beta")
    wait_pull_failed(place, "lost")
    references = {line["reference"] for line in place.lines().values()}
    assert environment["reference"] not in references
    sets.wait(
        lambda: any(environment["reference"] in line for line in place.site.api.logs(waiting)),
        what="the run's log to name the environment",
        seconds=60,
    )
    run = place.start("lost", "beta")
    assert place.site.seen(run)["packages"]["beta"]["version"] == "1.0"
    assert mounts(place.pod(run)) is None
    # Each pull that fails is news; without one, a pod tries after a minute.
    place.site.node.kubectl("delete", "jobs", "--all", "-n", JOBS)
    place.wait_delivery("lost", "Image", seconds=2 * SECONDS)  # it was made again
    assert place.status("lost")["environment"]["reference"] == environment["reference"]
    assert sets.condition(place.body("lost"), "Built")["reason"] == "Built"
    place.site.node.kubectl("delete", "fds", "lost", "-n", TEAM)


def test_a_corrupt_environment_reaches_no_run(place: Place) -> None:
    """The node compares what it pulls with the digest: new runs install, and the set says why."""
    environment = place.offer("corrupt", "alpha", "gamma")
    place.registry.spoil(environment["reference"])
    place.site.node.forget_image(environment["reference"])
    place.start("corrupt", "alpha")
    wait_pull_failed(place, "corrupt")
    run = place.start("corrupt", "alpha")
    assert place.site.seen(run)["packages"]["alpha"]["version"] == "1.0"
    assert mounts(place.pod(run)) is None
    place.site.node.kubectl("delete", "fds", "corrupt", "-n", TEAM)
    place.site.node.kubectl("delete", "jobs", "--all", "-n", JOBS)


def test_kills_at_any_time_end_in_one_environment(place: Place) -> None:
    """Of the pod that builds, and of the operator: what is there at the end is whole."""
    node = place.site.node
    body = place.site.image_set("killed", "beta", "gamma")
    sets.apply(node, body)
    sets.wait(
        lambda: node.kubectl("get", "pods", *_BUILDING, "-o", "name") != "",
        what="a pod that builds",
        seconds=SECONDS,
    )
    node.kubectl("delete", "pods", *_BUILDING, "--now", "--wait=false")
    place.restart_operator()
    place.wait_delivery("killed", "Image")
    assert node.kubectl("get", "pods", *_BUILDING, "-o", "name") == ""
    run = place.start("killed", "beta", "gamma")
    assert place.site.seen(run)["packages"]["gamma"]["version"] == "1.0"
    assert mounts(place.pod(run)) == place.status("killed")["environment"]["reference"]


def wait_pull_failed(place: Place, name: str) -> None:
    """Wait for what must be said within a minute."""
    sets.wait(
        lambda: sets.condition(place.body(name), "Built").get("reason") == "PullFailed",
        what="the failed pull to be told",
        show=lambda: place.told(name),
        seconds=60,
    )
