"""Rollback, pin, and the way back, by one field of the spec."""

from flowdeps.api.names import mounted_name
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect_api import PrefectApi
from tests.support.fixtures import StartOperator
from tests.support.sets import (
    apply,
    condition,
    get,
    get_set,
    set_body,
    wait,
    wait_ready,
    wait_reason,
)


def test_a_revision_is_served_again_without_a_resolution(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """spec.revision brings back old pins everywhere with the index away; removing it brings back
    the newest."""
    index.add("alpha", "1.0")
    index.add("alpha", "2.0")
    if "jobs-1" not in cluster.kubectl("get", "ns", "-o", "name"):
        cluster.kubectl("create", "namespace", "jobs-1")
    prefect_api.create_pool("undo", image="example.com/flows:1", namespace="jobs-1")
    operator = start_operator()
    apply(cluster, set_body("past", ["alpha==1.0"], pools=["undo"]))
    old = wait_ready(cluster, "past")["status"]["lock"]
    apply(cluster, set_body("past", ["alpha"], pools=["undo"]))
    wait(lambda: "alpha==1.0" in _lock(cluster, "jobs-1"), what="the lock, whose pin stays")
    annotation = "flowdeps.dev/refresh-requested-at=now"
    cluster.kubectl("annotate", "fds", "past", annotation)
    wait(lambda: "alpha==2.0" in _lock(cluster, "jobs-1"), what="the refresh")
    wait(
        lambda: get_set(cluster, "past")["status"].get("lastHandledRefreshAt") == "now",
        what="the refresh to be acknowledged",
    )
    new = wait_ready(cluster, "past")["status"]["lock"]
    resolutions = operator.metric("flowdeps_resolve_seconds_count")
    index.down()

    apply(cluster, set_body("past", ["alpha"], pools=["undo"], revision=old["revision"]))
    wait(lambda: "alpha==1.0" in _lock(cluster, "jobs-1"), what="the old lock in the job namespace")
    body = wait_ready(cluster, "past")
    assert body["status"]["lock"]["revision"] == old["revision"]
    assert condition(body, "Resolved")["reason"] == "Pinned"
    assert "nextRefreshAt" not in body["status"]
    assert "alpha==1.0" in _lock(cluster, "default")

    operator.down()
    operator.up()
    assert wait_ready(cluster, "past")["status"]["lock"]["revision"] == old["revision"]

    apply(cluster, set_body("past", ["alpha"], pools=["undo"]))
    wait(lambda: "alpha==2.0" in _lock(cluster, "jobs-1"), what="the newest lock")
    assert wait_ready(cluster, "past")["status"]["lock"]["revision"] == new["revision"]
    assert operator.metric("flowdeps_resolve_seconds_count") <= resolutions
    index.up()


def test_a_revision_that_is_not_kept_is_refused_and_the_lock_stays(
    cluster: ControlPlane, index: Index, start_operator: StartOperator
) -> None:
    """A name that is none of status.revisions is Stalled, and the message lists what there is."""
    index.add("alpha", "1.0")
    start_operator()
    apply(cluster, set_body("firm", ["alpha"]))
    lock = wait_ready(cluster, "firm")["status"]["lock"]
    apply(cluster, set_body("firm", ["alpha"], revision="firm-0123456789"))
    body = wait_reason(cluster, "firm", "RevisionNotFound")
    assert condition(body, "Stalled")["status"] == "True"
    assert lock["revision"] in condition(body, "Ready")["message"]
    assert get_set(cluster, "firm")["status"]["lock"] == lock


def _lock(cluster: ControlPlane, namespace: str) -> str:
    try:
        pool = "undo" if namespace == "jobs-1" else ""
        body = get(cluster, "cm", mounted_name("past", pool=pool), namespace=namespace)
    except LookupError:
        return ""
    text: str = body["data"]["requirements.txt"]
    return text
