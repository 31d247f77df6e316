"""What a person reads beside the status itself: kubectl's view of a set, and the operator's log."""

import json

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect_api import PrefectApi
from tests.support.fixtures import StartOperator
from tests.support.sets import Body, apply, condition, set_body, wait, wait_ready, wait_reason


def _messages(body: Body) -> dict[str, str]:
    return {one["type"]: one["message"] for one in body["status"]["conditions"]}


@pytest.mark.parametrize(
    ("changes", "reason", "field", "way_out"),
    [
        ({"requirements": ["nosuch"]}, "Unsatisfiable", "spec.requirements: ", "correct a name"),
        (
            {"requirements": ["alpha"], "constraints": ["alpha>9"]},
            "Unsatisfiable",
            "spec.requirements, spec.constraints: ",
            "Widen one side",
        ),
        ({"revision": "told-0123456789"}, "RevisionNotFound", "spec.revision: ", "there are"),
        ({"workPools": [{"name": "no-pool"}]}, "PoolNotFound", "work pool ", "create it"),
        ({"suspend": True}, "Suspended", "spec.suspend ", "nothing is refreshed"),
    ],
)
def test_kubectl_describe_reads_like_an_answer(
    cluster: ControlPlane,
    index: Index,
    start_operator: StartOperator,
    changes: Body,
    reason: str,
    field: str,
    way_out: str,
) -> None:
    """The message of Ready names the field and the way out, and says what stays in service; get
    -o wide shows it in the row of the set, describe in an event too."""
    index.add("alpha", "1.0")
    start_operator()
    apply(cluster, set_body("told", ["alpha"]))
    revision = wait_ready(cluster, "told")["status"]["lock"]["revision"]
    body = set_body("told", ["alpha"])
    apply(cluster, {**body, "spec": {**body["spec"], **changes}})
    told = wait_reason(cluster, "told", reason)
    message = condition(told, "Ready")["message"]
    assert message.startswith(field)
    assert way_out in message
    if reason != "PoolNotFound":
        assert message.endswith(f"(in service: {revision})")

    def described() -> str:
        return cluster.kubectl("describe", "fds", "told")

    note = message.split("(")[0].strip()[:80]
    # It is posted after the status.
    wait(lambda: note in described().partition("\nEvents:")[2], what="the event")
    assert message in described()
    row = cluster.kubectl("get", "fds", "told", "-o", "wide").splitlines()[1]
    assert (row.split()[2], message in row) == (reason, True)


def test_the_log_tells_a_set_by_its_passes(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """Each line is JSON; those of a set's passes carry it and the pass, also those of its
    resolution, which says how it began and ended; a restart with nothing to do tells of neither
    sets nor pools."""
    index.add("alpha", "1.0")
    prefect_api.create_pool("logged", image="example.com/flows:1")
    operator = start_operator()
    apply(cluster, set_body("logged", ["alpha"], pools=["logged"]))
    apply(cluster, set_body("broken", ["nosuch"], pools=["logged"]))
    wait_ready(cluster, "logged")
    wait_reason(cluster, "broken", "Unsatisfiable")
    operator.down()
    text = (operator.logs / "operator.log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    of_set = [line for line in lines if line.get("set") == "default/logged"]
    starts, ends, published = of_set[:3]
    assert starts["message"] == "a resolution of 1 requirements starts"
    assert (ends["outcome"], starts["pass"]) == ("Resolved", ends["pass"])
    assert ends["seconds"] > 0
    assert "LockPublished" in published["message"]
    assert published["pass"] != ends["pass"]
    outcomes = {line.get("outcome") for line in lines if line.get("set") == "default/broken"}
    assert "Unsatisfiable" in outcomes
    [write] = [line for line in lines if "offers logged" in line["message"]]
    assert (write["pool"], len(write["pass"])) == ("logged", 8)
    assert not [line for line in lines if ("set" in line or "pool" in line) and "pass" not in line]

    before = len(lines)
    operator.up()
    passes = {"kind": "set"}
    wait(
        lambda: operator.metric("flowdeps_pass_seconds_count", **passes) >= 2,
        what="a pass over each set",
    )
    again = operator.log()[before:]
    assert again
    assert not [line for line in again if line.get("set") == "default/logged" or "pool" in line]
