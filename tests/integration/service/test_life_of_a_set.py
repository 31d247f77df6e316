"""From kubectl apply to a pool's template and back, in a real API server with a real Prefect."""

import json

from flowdeps.api.names import mounted_name
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect_api import PrefectApi
from tests.support.fixtures import StartOperator
from tests.support.sets import apply, get, get_set, names, set_body, wait, wait_ready


def test_an_applied_set_is_locked_published_and_offered(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """After kubectl apply, the lock stands in ConfigMaps and the pool offers the set's key."""
    index.add("alpha", "1.1")
    index.add("beta", "2.0", requires=["alpha"])
    prefect_api.create_pool("life", image="example.com/flows:1")
    before = prefect_api.template("life")
    start_operator()
    apply(cluster, set_body("ml", ["beta"], pools=["life"]))
    body = wait_ready(cluster, "ml")

    lock = body["status"]["lock"]
    assert lock["packages"] == 2
    current = get(cluster, "cm", "flowdeps-ml")
    revision = get(cluster, "cm", f"flowdeps-{lock['revision']}")
    assert current["data"] == revision["data"]
    copy = get(cluster, "cm", mounted_name("ml", pool="life"))
    assert copy["data"]["requirements.txt"] == current["data"]["requirements.txt"]
    about = json.loads(copy["data"]["lock.json"])
    assert (about["set"], about["key"], about["pool"]) == ("default/ml", "ml", "life")
    assert revision["immutable"] is True
    assert "beta==2.0" in current["data"]["requirements.txt"]
    assert "alpha==1.1" in current["data"]["requirements.txt"]
    schema = prefect_api.template("life")["variables"]["properties"]["dependency_set"]
    assert schema["else"]["enum"] == ["none", "ml"]
    assert schema["default"] == "none"

    cluster.kubectl("delete", "fds", "ml", "--timeout=180s")
    assert prefect_api.template("life") == before
    wait(
        lambda: not any(n.startswith("flowdeps-") for n in names(cluster, "cm")),
        what="the ConfigMaps to go",
    )


def test_a_settled_set_is_never_written_again(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """A restart of the operator leaves every resourceVersion and the template as they were."""
    index.add("alpha", "1.1")
    prefect_api.create_pool("settled", image="example.com/flows:1")
    operator = start_operator()
    apply(cluster, set_body("calm", ["alpha"], pools=["settled"]))
    wait_ready(cluster, "calm")
    versions = _versions(cluster)
    template = prefect_api.template("settled")

    operator.down()
    operator.up()
    looks = operator.metric("flowdeps_api_requests_total", target="prefect", method="GET")
    wait(
        lambda: (
            operator.metric("flowdeps_api_requests_total", target="prefect", method="GET")
            > looks + 2
        ),
        what="two more polls",
    )
    assert _versions(cluster) == versions
    assert prefect_api.template("settled") == template
    assert operator.metric("flowdeps_api_requests_total", method="PATCH") == 0
    assert operator.metric("flowdeps_resolve_seconds_count") == 0
    assert get_set(cluster, "calm")["status"]["conditions"][0]["reason"] == "Ready"


def _versions(cluster: ControlPlane) -> str:
    return cluster.kubectl(
        "get",
        "fds,cm",
        "-A",
        "-o",
        "jsonpath={range .items[*]}{.metadata.name}={.metadata.resourceVersion} {end}",
    )
