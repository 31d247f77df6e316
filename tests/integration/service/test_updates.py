"""Refreshes: what they propose, what they leave alone, and what an index that has changed does to
them."""

from typing import Any

from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect_api import PrefectApi
from tests.support.fixtures import StartOperator
from tests.support.sets import (
    Body,
    apply,
    condition,
    get,
    get_set,
    names,
    pins,
    read,
    resource_versions,
    set_body,
    wait,
    wait_ready,
    wait_reason,
)


def refresh(cluster: ControlPlane, name: str, stamp: str) -> None:
    """Ask for a refresh, as a person does."""
    annotation = f"flowdeps.dev/refresh-requested-at={stamp}"
    cluster.kubectl("annotate", "--overwrite", "fds", name, annotation)


def refreshed(cluster: ControlPlane, name: str, stamp: str) -> Body:
    """Ask for a refresh and wait until it is met; returns the set."""
    refresh(cluster, name, stamp)
    wait(
        lambda: get_set(cluster, name)["status"].get("lastHandledRefreshAt") == stamp,
        what=f"the refresh of {name}",
    )
    return get_set(cluster, name)


def events(cluster: ControlPlane, name: str, reason: str = "") -> list[str]:
    """What events say about a set, of one reason or all."""
    found = read(cluster, "/apis/events.k8s.io/v1/namespaces/default/events") or {}
    return [
        str(one["note"])
        for one in found["items"]
        if one["regarding"].get("name") == name and reason in ("", one["reason"])
    ]


def test_a_manual_refresh_is_proposed_and_served_when_it_is_approved(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """With updates: Manual newer versions become a revision that nobody serves, with its diff in
    status and an event; kubectl patch of spec.revision serves it, at once and without a look at the
    index."""
    index.add("alpha", "1.0")
    index.add("beta", "1.0")
    prefect_api.create_pool("manual", image="example.com/flows:1")
    operator = start_operator()
    apply(cluster, set_body("careful", ["alpha"], pools=["manual"], updates="Manual"))
    lock = wait_ready(cluster, "careful")["status"]["lock"]
    index.add("alpha", "2.0", requires=["beta"])

    body = refreshed(cluster, "careful", "first")
    wait(lambda: bool(events(cluster, "careful", "RevisionProposed")), what="the event")
    proposed = body["status"]["proposed"]
    assert proposed["summary"] == "alpha 1.0 → 2.0, +beta 1.0"
    assert body["status"]["lock"] == lock
    assert condition(body, "Ready")["status"] == "True"
    assert [one.get("proposed", False) for one in body["status"]["revisions"]] == [True, False]
    [note] = events(cluster, "careful", "RevisionProposed")
    assert proposed["revision"] in note
    assert "alpha 1.0 → 2.0, +beta 1.0" in note
    assert pins(cluster, "careful") == "alpha==1.0"
    kept = get(cluster, "cm", f"flowdeps-{proposed['revision']}")
    assert kept["immutable"] is True

    resolutions = operator.metric("flowdeps_resolve_seconds_count")
    index.down()
    patch = f'{{"spec": {{"revision": "{proposed["revision"]}"}}}}'
    cluster.kubectl("patch", "fds", "careful", "--type=merge", "-p", patch)
    wait(lambda: pins(cluster, "careful") == "alpha==2.0 beta==1.0", what="the approved lock")
    body = wait_ready(cluster, "careful")
    assert body["status"]["lock"]["revision"] == proposed["revision"]
    assert "proposed" not in body["status"]
    assert get(cluster, "cm", "flowdeps-careful")["data"] == kept["data"]
    assert operator.metric("flowdeps_resolve_seconds_count") == resolutions
    index.up()


def test_a_refresh_that_changes_nothing_writes_nothing_but_the_time(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """Where the newest versions are in service already, a refresh leaves every object as it is but
    the set's own status and the annotations of its ConfigMap at home, and tells nobody."""
    index.add("alpha", "1.0")
    if "jobs-1" not in names(cluster, "ns"):
        cluster.kubectl("create", "namespace", "jobs-1")
    prefect_api.create_pool("unmoved", image="example.com/flows:1", namespace="jobs-1")
    operator = start_operator()
    apply(cluster, set_body("unmoved", ["alpha"], pools=["unmoved"]))
    before = wait_ready(cluster, "unmoved")["status"]
    wait(lambda: bool(events(cluster, "unmoved", "Ready")), what="the event")
    wait(lambda: operator.idle, what="the operator to have done all")
    home = get(cluster, "cm", "flowdeps-unmoved")["data"]
    versions = resource_versions(cluster, "fds", "cm", "secret")
    template = prefect_api.call("GET", "/work_pools/unmoved")
    told = events(cluster, "unmoved")
    patches = operator.metric("flowdeps_api_requests_total", method="PATCH")

    after = refreshed(cluster, "unmoved", "now")["status"]
    wait_ready(cluster, "unmoved")
    wait(lambda: operator.idle, what="the operator to have done all")
    assert operator.metric("flowdeps_resolve_seconds_count") == 2
    now = resource_versions(cluster, "fds", "cm", "secret")
    assert {name for name in {*versions, *now} if versions.get(name) != now.get(name)} == {
        "FlowDependencySet default/unmoved",
        "ConfigMap default/flowdeps-unmoved",
    }
    assert get(cluster, "cm", "flowdeps-unmoved")["data"] == home
    assert after["nextRefreshAt"] >= before["nextRefreshAt"]
    assert _timeless(after) == _timeless(before)
    assert operator.metric("flowdeps_api_requests_total", method="PATCH") == patches + 2
    assert prefect_api.call("GET", "/work_pools/unmoved") == template
    assert events(cluster, "unmoved") == told


def _timeless(status: dict[str, Any]) -> dict[str, Any]:
    lock = {name: value for name, value in status["lock"].items() if name != "resolvedAt"}
    times = ("nextRefreshAt", "lastHandledRefreshAt")
    return {name: value for name, value in status.items() if name not in times} | {"lock": lock}


def test_what_becomes_of_releases_after_they_were_locked(
    cluster: ControlPlane, index: Index, start_operator: StartOperator
) -> None:
    """A refresh takes another version for one that was withdrawn or has vanished. A withdrawn one
    that a requirement insists on is noted; where nothing else fits, the set says what vanished, and
    the last lock stays in service."""
    for version in ("1.0", "2.0"):
        index.add("alpha", version)
        index.add("beta", version)
    index.add("gamma", "1.0")
    start_operator()
    apply(
        cluster,
        set_body("withdrawn", ["alpha"]),
        set_body("insisting", ["alpha==2.0"]),
        set_body("vanished", ["beta"]),
        set_body("vanished-for-good", ["beta==2.0", "gamma"]),
        set_body("changed", ["beta==2.0"]),
    )
    refreshed_ = ("withdrawn", "insisting", "vanished", "vanished-for-good")
    for name in (*refreshed_, "changed"):
        wait_ready(cluster, name)
    lock = get_set(cluster, "vanished-for-good")["status"]["lock"]
    assert pins(cluster, "withdrawn") == "alpha==2.0"
    index.yank("alpha", "2.0", "it eats files")
    index.remove("beta", "2.0")

    for name in refreshed_:
        refresh(cluster, name, "now")
    wait(lambda: pins(cluster, "withdrawn") == "alpha==1.0", what="a version that is not withdrawn")
    wait(lambda: pins(cluster, "vanished") == "beta==1.0", what="a version that there is")
    wait(
        lambda: "beta 2.0 → 1.0" in str(get_set(cluster, "vanished")["status"]["revisions"]),
        what="the status to say so",
    )
    wait_ready(cluster, "vanished")
    wait(
        lambda: "yanked" in condition(get_set(cluster, "insisting"), "Ready")["message"],
        what="the note",
    )
    ready = condition(get_set(cluster, "insisting"), "Ready")
    assert ready["status"] == "True"
    assert "alpha 2.0 was yanked (it eats files)" in ready["message"]
    assert pins(cluster, "insisting") == "alpha==2.0"
    said = condition(wait_reason(cluster, "vanished-for-good", "Unsatisfiable"), "Ready")["message"]
    assert "beta" in said
    assert f"(in service: {lock['revision']})" in said
    assert pins(cluster, "vanished-for-good") == "beta==2.0 gamma==1.0"

    # A change that keeps the pins can tell what is gone.
    apply(cluster, set_body("changed", ["beta>=2"]))
    said = condition(wait_reason(cluster, "changed", "Unsatisfiable"), "Ready")["message"]
    assert said.startswith(
        "spec.requirements: The last lock has beta 2.0, which the index no longer has."
    )
    assert pins(cluster, "changed") == "beta==2.0"
