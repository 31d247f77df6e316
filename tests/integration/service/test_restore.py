"""What a backup must hold: docs/how-to/backup.md, on a real API server."""

import json
from typing import Any

from flowdeps.api.names import REFRESH_REQUESTED_ANNOTATION, choice_of
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect_api import PrefectApi
from tests.support.fixtures import StartOperator
from tests.support.sets import apply, get, get_set, names, pins, set_body, wait, wait_ready

_OF_THE_SERVER = ("uid", "resourceVersion", "creationTimestamp", "managedFields")


def test_restored_locks_serve_without_a_resolution(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """ConfigMaps without owners and a set without status, restored while no operator runs, serve
    the pins of before, are owned by the new set, and move as ever; without them pins are free."""
    index.add("alpha", "1.0")
    prefect_api.create_pool("restored", image="example.com/flows:1")
    operator = start_operator()
    manifest = set_body("kept", ["alpha"], pools=["restored"])
    apply(cluster, manifest)
    wait_ready(cluster, "kept")
    operator.down()
    locks = json.loads(cluster.kubectl("get", "cm", "-l", "flowdeps.dev/set=kept", "-o", "json"))
    assert len(locks["items"]) == 4, "the set's own and the pool's, each with a revision"
    _lose(cluster)

    index.add("alpha", "1.1")
    _restore(cluster, *map(_exported, locks["items"]), manifest)
    operator.up()
    wait_ready(cluster, "kept")
    assert pins(cluster, "kept") == "alpha==1.0"
    assert operator.metric("flowdeps_resolve_seconds_count") == 0
    uid = get_set(cluster, "kept")["metadata"]["uid"]
    for one in locks["items"]:
        owners = get(cluster, "cm", one["metadata"]["name"])["metadata"]["ownerReferences"]
        assert [owner["uid"] for owner in owners] == [uid]
    patch = f'{{"metadata": {{"annotations": {{"{REFRESH_REQUESTED_ANNOTATION}": "now"}}}}}}'
    cluster.kubectl("patch", "fds", "kept", "--type=merge", "-p", patch)
    wait(lambda: pins(cluster, "kept") == "alpha==1.1", what="the refresh")

    operator.down()
    _lose(cluster)
    index.add("alpha", "1.2")
    _restore(cluster, manifest)
    operator.up()
    wait_ready(cluster, "kept")
    assert pins(cluster, "kept") == "alpha==1.2"


def test_locks_without_their_set_are_cleared_away(
    cluster: ControlPlane, index: Index, start_operator: StartOperator
) -> None:
    """So a restore under a running operator loses what it restores before the set."""
    index.add("alpha", "1.0")
    operator = start_operator()
    apply(cluster, set_body("kept", ["alpha"]))
    wait_ready(cluster, "kept")
    locks = json.loads(cluster.kubectl("get", "cm", "-l", "flowdeps.dev/set=kept", "-o", "json"))
    operator.down()
    _lose(cluster)
    _restore(cluster, *map(_exported, locks["items"]))
    operator.up()
    wait(lambda: not _ours(cluster), what="the locks to go")


def _restore(cluster: ControlPlane, *bodies: dict[str, Any]) -> None:
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
    cluster.kubectl("apply", "--server-side", "-f", "-", input=listed)


def _lose(cluster: ControlPlane) -> None:
    """The set and its locks go, and nobody cleans up after them."""
    patch = '{"metadata": {"finalizers": []}}'
    cluster.kubectl("patch", "fds", "kept", "--type=merge", "-p", patch)
    cluster.kubectl("delete", "fds", "kept", "--timeout=30s")
    cluster.kubectl("delete", "cm", "-l", "flowdeps.dev/set=kept")
    assert not _ours(cluster)


def _ours(cluster: ControlPlane) -> set[str]:
    return {name for name in names(cluster, "cm") if choice_of(name).startswith("kept")}


def _exported(body: dict[str, Any]) -> dict[str, Any]:
    """An object as it is written to another cluster: without what the server says, and owners."""
    left_out = (*_OF_THE_SERVER, "ownerReferences")
    metadata = {name: value for name, value in body["metadata"].items() if name not in left_out}
    return {**body, "metadata": metadata}
