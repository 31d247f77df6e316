"""Specs that can't work, outages of the index, and how a set comes out of both."""

from flowdeps.delivery.choice import find
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


def test_an_unsatisfiable_change_is_stalled_and_the_last_lock_stays(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """An impossible requirement is Stalled with uv's reason; the last good lock stays in service
    and a mended spec recovers without a restart."""
    index.add("alpha", "1.0")
    index.add("alpha", "2.0")
    index.add("beta", "1.0", requires=["alpha<2"])
    prefect_api.create_pool("unsatisfiable", image="example.com/flows:1")
    start_operator()
    apply(cluster, set_body("wish", ["alpha"], pools=["unsatisfiable"]))
    good = wait_ready(cluster, "wish")["status"]["lock"]
    served = get(cluster, "cm", "flowdeps-wish")["data"]

    apply(cluster, set_body("wish", ["alpha>=2", "beta"], pools=["unsatisfiable"]))
    body = wait_reason(cluster, "wish", "Unsatisfiable")
    assert condition(body, "Ready")["status"] == "False"
    assert condition(body, "Stalled")["status"] == "True"
    assert condition(body, "Reconciling") == {}
    assert "beta" in condition(body, "Resolved")["message"]
    assert good["revision"] in condition(body, "Ready")["message"]
    assert body["status"]["lock"] == good
    assert get(cluster, "cm", "flowdeps-wish")["data"] == served
    assert "wish" in _keys(prefect_api, "unsatisfiable")

    apply(cluster, set_body("wish", ["beta"], pools=["unsatisfiable"]))
    body = wait_ready(cluster, "wish")
    assert condition(body, "Stalled") == {}
    assert "alpha==1.0" in get(cluster, "cm", "flowdeps-wish")["data"]["requirements.txt"]


def test_an_index_outage_is_retried_and_not_stalled(
    cluster: ControlPlane, index: Index, start_operator: StartOperator
) -> None:
    """While the index is away the set is Reconciling with the cause; when it is back, it recovers
    by itself."""
    index.add("alpha", "1.0")
    index.down()
    start_operator()
    apply(cluster, set_body("patient", ["alpha"]))
    body = wait_reason(cluster, "patient", "IndexUnavailable")
    assert condition(body, "Reconciling")["status"] == "True"
    assert condition(body, "Stalled") == {}

    index.up()
    wait_ready(cluster, "patient")


def test_what_the_schema_cannot_see_ends_in_a_condition(
    cluster: ControlPlane, index: Index, start_operator: StartOperator
) -> None:
    """A requirement that only a parser can refuse is InvalidSpec with its field, and mends."""
    index.add("alpha", "1.0")
    start_operator()
    # The schema's pattern takes any version-like text; PEP 440 does not know this one.
    apply(cluster, set_body("typo", ["alpha==1.0.dev.x"]))
    body = wait_reason(cluster, "typo", "InvalidSpec")
    assert "spec.requirements[0]" in condition(body, "Ready")["message"]
    assert condition(body, "Stalled")["status"] == "True"

    apply(cluster, set_body("typo", ["alpha==1.0"]))
    wait_ready(cluster, "typo")


def test_a_new_requirement_keeps_the_other_pins_and_a_refresh_moves_them(
    cluster: ControlPlane, index: Index, start_operator: StartOperator
) -> None:
    """Pins move when a refresh is asked for, not when a requirement is added."""
    index.add("alpha", "1.0")
    index.add("beta", "1.0")
    start_operator()
    apply(cluster, set_body("steady", ["alpha"]))
    wait_ready(cluster, "steady")
    index.add("alpha", "2.0")

    apply(cluster, set_body("steady", ["alpha", "beta"]))
    wait_ready(cluster, "steady")
    assert "alpha==1.0" in get(cluster, "cm", "flowdeps-steady")["data"]["requirements.txt"]

    cluster.kubectl(
        "annotate", "fds", "steady", "flowdeps.dev/refresh-requested-at=2026-01-01T00:00:00Z"
    )
    wait(
        lambda: "alpha==2.0" in get(cluster, "cm", "flowdeps-steady")["data"]["requirements.txt"],
        what="the refresh",
    )
    wait(
        lambda: (
            get_set(cluster, "steady")["status"].get("lastHandledRefreshAt")
            == "2026-01-01T00:00:00Z"
        ),
        what="the refresh to be acknowledged",
    )
    body = wait_ready(cluster, "steady")
    assert "alpha 1.0 → 2.0" in body["status"]["revisions"][0]["summary"]


def test_a_suspended_set_is_left_as_it_is(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """suspend: true stops refreshes and changes; what is published and offered stays."""
    index.add("alpha", "1.0")
    index.add("beta", "1.0")
    prefect_api.create_pool("suspended", image="example.com/flows:1")
    start_operator()
    apply(cluster, set_body("asleep", ["alpha"], pools=["suspended"]))
    lock = wait_ready(cluster, "asleep")["status"]["lock"]

    apply(cluster, set_body("asleep", ["beta"], pools=["suspended"], suspend=True))
    wait(
        lambda: condition(get_set(cluster, "asleep"), "Ready").get("reason") == "Suspended",
        what="Suspended",
    )
    assert get_set(cluster, "asleep")["status"]["lock"] == lock
    assert "asleep" in _keys(prefect_api, "suspended")

    apply(cluster, set_body("asleep", ["beta"], pools=["suspended"]))
    wait_ready(cluster, "asleep")
    assert "beta==1.0" in get(cluster, "cm", "flowdeps-asleep")["data"]["requirements.txt"]


def test_history_keeps_as_many_revisions_as_asked(
    cluster: ControlPlane, index: Index, start_operator: StartOperator
) -> None:
    """Beyond revisionHistoryLimit the oldest revisions go; the one in service never does."""
    for version in ("1.0", "2.0", "3.0", "4.0"):
        index.add("alpha", version)
    start_operator()
    revisions = []
    for version in ("1.0", "2.0", "3.0", "4.0"):
        apply(cluster, set_body("past", [f"alpha=={version}"], revisionHistoryLimit=1))
        revisions.append(wait_ready(cluster, "past")["status"]["lock"]["revision"])
    wait(
        lambda: (
            [r["name"] for r in get_set(cluster, "past")["status"]["revisions"]] == revisions[:1:-1]
        ),
        what="two revisions in status",
    )


def _keys(prefect: PrefectApi, pool: str) -> list[str]:
    live = find(prefect.template(pool))
    return list(live.keys) if live else []
