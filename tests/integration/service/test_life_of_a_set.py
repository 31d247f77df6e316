"""From kubectl apply to a pool's template and back, in a real API server with a real Prefect."""

import json
from collections.abc import Mapping
from typing import Any

from flowdeps.api.names import artifact_key, mounted_name
from flowdeps.reconcile.announcements.page import document_of
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect_api import PrefectApi
from tests.support.fixtures import StartOperator
from tests.support.sets import apply, get, get_set, names, set_body, wait, wait_ready


def test_an_applied_set_is_locked_published_and_offered(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """After kubectl apply, the lock is in ConfigMaps, the pool offers the set's key, and Prefect
    has its page and an event."""
    index.add("alpha", "1.1")
    index.add("beta", "2.0", requires=["alpha"])
    prefect_api.create_pool("life", image="example.com/flows:1")
    before = prefect_api.template("life")
    start_operator(prefect={"artifacts": True, "events": True})
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

    def pages() -> list[Mapping[str, Any]]:
        keys = {"key": {"any_": [artifact_key("ml", pool="life")]}}
        return [
            document_of(one["data"])
            for one in prefect_api.call("POST", "/artifacts/filter", {"artifacts": keys})
        ]

    def published() -> list[Mapping[str, Any]]:
        name = {"name": ["flowdeps.lock.published"]}
        wanted = {"event": name, "resource": {"id": ["flowdeps.set.default.ml"]}}
        found: list[Mapping[str, Any]] = prefect_api.call(
            "POST", "/events/filter", {"filter": wanted}
        )["events"]
        return found

    wait(lambda: bool(pages()), what="the page")
    (page,) = pages()
    assert page["requirements.txt"] == current["data"]["requirements.txt"]
    assert page["lock.json"] == about
    assert page["digest"] == current["data"]["digest"] == lock["digest"]
    wait(lambda: bool(published()), what="the event")
    (event,) = published()
    assert event["payload"]["digest"] == lock["digest"]
    pool = prefect_api.call("GET", "/work_pools/life")["id"]
    assert [one["prefect.resource.id"] for one in event["related"]] == [f"prefect.work-pool.{pool}"]

    cluster.kubectl("delete", "fds", "ml", "--timeout=180s")
    assert prefect_api.template("life") == before
    wait(
        lambda: not any(n.startswith("flowdeps-") for n in names(cluster, "cm")),
        what="the ConfigMaps to go",
    )
    wait(lambda: not pages(), what="the page to go")


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
