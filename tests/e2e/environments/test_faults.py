"""What an environment needs goes away: runs start as before, or install, and the set says why."""

import pytest

from tests.e2e.environments.place import Place, mounts
from tests.e2e.install.site import JOBS, SECONDS, TEAM
from tests.integration.chart.helm import NAMESPACE, RELEASE
from tests.support import sets

pytestmark = pytest.mark.node


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
    """New runs install, the set names the pull, and one that waits is seen within a minute."""
    environment = place.offer("lost", "beta")
    place.registry.delete(environment["reference"])
    place.site.node.forget_image(environment["reference"])
    place.start("lost", "beta")
    sets.wait(
        lambda: sets.condition(place.body("lost"), "Built").get("reason") == "PullFailed",
        what="the failed pull to be told",
        seconds=60,
    )
    references = {line["reference"] for line in place.lines().values()}
    assert environment["reference"] not in references
    run = place.start("lost", "beta")
    assert place.site.seen(run)["packages"]["beta"]["version"] == "1.0"
    assert mounts(place.pod(run)) is None
    place.site.node.kubectl("delete", "fds", "lost", "-n", TEAM)
    place.site.node.kubectl("delete", "jobs", "--all", "-n", JOBS)
