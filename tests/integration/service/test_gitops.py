"""Sets that a tool delivers from Git: nothing that the operator writes is a difference to it."""

import json
from typing import Any

from flowdeps.api.names import REFRESH_REQUESTED_ANNOTATION
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect_api import PrefectApi
from tests.support.fixtures import StartOperator
from tests.support.sets import Body, set_body, wait, wait_ready

_TOOL = "argocd"


def test_nothing_of_ours_is_drift(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """Sets that came from Git and are Ready, also after a refresh, are no different from Git, by
    server-side apply or by three ways; and what the tool manages is what it managed before the
    operator saw them."""
    index.add("alpha", "1.0")
    prefect_api.create_pool("delivered", image="example.com/flows:1")
    manifest = set_body("delivered", ["alpha"], pools=["delivered"])
    plain = set_body("plain", ["alpha"], pools=["delivered"])
    cluster.kubectl("apply", "-f", "-", input=json.dumps(plain))
    server_side = ("--server-side", f"--field-manager={_TOOL}")
    cluster.kubectl("apply", *server_side, "-f", "-", input=json.dumps(manifest))
    before = _managed(cluster, "delivered")
    assert [one["manager"] for one in before] == [_TOOL]

    start_operator()
    wait_ready(cluster, "delivered")
    body = wait_ready(cluster, "plain")
    cluster.kubectl("annotate", "fds", "delivered", f"{REFRESH_REQUESTED_ANNOTATION}=now")
    wait(
        lambda: _get(cluster, "delivered")["status"].get("lastHandledRefreshAt") == "now",
        what="the refresh",
    )

    # kubectl diff fails where there is a difference.
    assert cluster.kubectl("diff", *server_side, "-f", "-", input=json.dumps(manifest)) == ""
    assert cluster.kubectl("diff", "-f", "-", input=json.dumps(plain)) == ""
    after = _managed(cluster, "delivered")
    assert [one for one in after if one["manager"] == _TOOL] == before
    ours = [one for one in after if one["manager"] == "flowdeps"]
    assert {tuple(one["fieldsV1"]) for one in ours} == {("f:metadata",), ("f:status",)}
    [metadata] = [one["fieldsV1"]["f:metadata"] for one in ours if not one.get("subresource")]
    assert set(metadata) == {"f:finalizers"}
    assert body["metadata"]["generation"] == 1


def _managed(cluster: ControlPlane, name: str) -> list[Any]:
    managed: list[Any] = _get(cluster, name)["metadata"]["managedFields"]
    return managed


def _get(cluster: ControlPlane, name: str) -> Body:
    found: Body = json.loads(
        cluster.kubectl("get", "fds", name, "-o", "json", "--show-managed-fields")
    )
    return found
