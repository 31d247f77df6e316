"""What runs get once the policy is gone. It comes last, for it does not come back."""

import pytest

from tests.e2e.environments.place import Place, mounts
from tests.integration.chart.helm import RELEASE

pytestmark = pytest.mark.node


def test_without_the_policy_runs_install(place: Place) -> None:
    """And the set says so, once the operator has looked, as it does when it begins."""
    place.offer("left", "alpha")
    kinds = "mutatingadmissionpolicybinding,mutatingadmissionpolicy"
    place.site.node.kubectl("delete", kinds, f"{RELEASE}-environments")
    place.restart_operator()
    place.wait_delivery("left", "Install")
    assert "MutatingAdmissionPolicy" in place.told("left")
    run = place.start("left", "alpha")
    assert place.site.seen(run)["packages"]["alpha"]["version"] == "1.0"
    assert mounts(place.pod(run)) is None
