"""A pod that has the label of a set and nothing else of flowdeps starts with the set's packages, or
is refused. Prefect knows nothing of its pool."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from flowdeps.api.names import SET_LABEL, SITE_VOLUME
from tests.cluster import images
from tests.cluster.controlplane import KubectlError
from tests.e2e.environments.place import USER, Place
from tests.e2e.install.site import JOBS, SECONDS, SITE, TEAM
from tests.support import sets

pytestmark = pytest.mark.node

_POOL, _SET = "workers", "labelled"
_LOOK = """\
import json, os, alpha, prefect
print(json.dumps([alpha.__file__, os.environ["FLOWDEPS_LOCK"], os.environ["PYTHONPATH"]]))
"""


@pytest.fixture(scope="module")
def labels(place: Place) -> Iterator[Place]:
    """The place with a pool of pods that choose by their label."""
    entry = {"name": _POOL, "namespaces": [TEAM], "image": images.FLOW_UV}
    place.install({**entry, "jobNamespaces": [JOBS], "labels": True})
    yield place
    place.install()


def _pod(choice: str) -> dict[str, Any]:
    """A pod such as a Dask worker's: its own command and PYTHONPATH, and the label."""
    container = {
        "name": "worker",
        "image": images.FLOW_UV,
        "command": ["python3", "-c", _LOOK],
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "PYTHONPATH", "value": "/app"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    whole = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "worker", "namespace": JOBS, "labels": {SET_LABEL: choice}},
        "spec": {"restartPolicy": "Never", "securityContext": whole, "containers": [container]},
    }


def test_a_pod_gets_the_packages_of_its_label(labels: Place) -> None:
    """Once they are there: until then it is refused, and the message says of what."""
    place = labels

    def refusal() -> str:
        try:
            sets.apply(place.site.node, {**_pod("nothing")})
        except KubectlError as error:
            return str(error)
        place.site.node.kubectl("delete", "pod", "worker", "-n", JOBS)
        return ""

    says = f"no ready environment for the label {SET_LABEL}=nothing"
    sets.wait(lambda: says in refusal(), what="pods to be refused", seconds=SECONDS)
    body = place.site.image_set(_SET, "alpha")
    body["spec"]["workPools"] = [{"name": _POOL}]
    place.site.offer(body)

    def delivery() -> str:
        return str([one.get("delivery") for one in place.status(_SET).get("workPools", [])])

    sets.wait(
        lambda: delivery() == "['Label']",
        what="pods to get the set",
        show=lambda: f"{delivery()} {place.told(_SET)}",
        seconds=SECONDS,
    )
    kubectl = place.site.node.kubectl
    sets.apply(place.site.node, _pod(_SET))
    place.wait_pod("worker", "Succeeded")
    found = json.loads(kubectl("logs", "worker", "-n", JOBS))
    pod = json.loads(kubectl("get", "pod", "worker", "-n", JOBS, "-o", "json"))
    kubectl("delete", "pod", "worker", "-n", JOBS, "--wait=false")
    status = place.status(_SET)
    assert found[:2] == [f"{SITE}/alpha/__init__.py", status["lock"]["digest"]]
    assert found[2].endswith(":/app")
    [volume] = [one for one in pod["spec"]["volumes"] if one["name"] == SITE_VOLUME]
    assert volume["image"]["reference"] == status["environment"]["reference"]
    assert "initContainers" not in pod["spec"]
