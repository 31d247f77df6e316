"""The watch of runs that fail to install: from now on, each once, and nothing else that fails."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from flowdeps.clients.kubernetes.client import Cluster, FailedInstall
from flowdeps.clients.kubernetes.errors import ClusterError
from tests.unit.clients.api_server import Body, kubeconfig

RUN = FailedInstall("jobs", pod="run", lock="flowdeps-k-ml")


def _pod(*, code: int | None, container: str = "flowdeps-install", reason: str = "Error") -> Body:
    end = {"exitCode": code, "reason": reason}
    state: Body = {"running": {}} if code is None else {"terminated": end}
    statuses = [{"name": "first", "state": {}}, {"name": container, "state": state}]
    return {
        "metadata": {"namespace": "jobs", "name": "run"},
        "spec": {"volumes": [{"name": "flowdeps-lock", "configMap": {"name": "flowdeps-k-ml"}}]},
        "status": {"phase": "Failed", "initContainerStatuses": statuses},
    }


async def _counted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: Sequence[Body],
    *,
    namespace: str = "jobs",
) -> tuple[list[FailedInstall | None], list[str]]:
    """What is found in a watch that brings these changes, and the requests for it."""
    asked: list[str] = []

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(f"{request.path}?{request.query_string}")
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "17"}, "items": [{}]})
        text = "".join(json.dumps(one) + "\n" for one in changes)
        return web.Response(text=text)

    async with RawTestServer(respond) as server:
        kubeconfig(tmp_path, monkeypatch, url=str(server.make_url("")))
        async with Cluster.connect() as cluster:
            return [one async for one in cluster.failed_installs(namespace)], asked


async def test_a_pod_counts_once_when_its_install_container_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when its Job takes note of it, not when it goes, and not when something else failed."""
    failed = _pod(code=1)
    changes = [
        {"type": "ADDED", "object": failed},
        {"type": "MODIFIED", "object": failed},
        {"type": "DELETED", "object": failed},
        {"type": "ADDED", "object": _pod(code=0)},
        {"type": "ADDED", "object": _pod(code=None)},
        {"type": "ADDED", "object": _pod(code=1, container="other")},
        {"type": "ADDED", "object": {"metadata": {"namespace": "jobs"}, "status": {}}},
        {"type": "ADDED", "object": _pod(code=137)},
    ]
    found, asked = await _counted(tmp_path, monkeypatch, changes)
    assert found == [None, RUN, RUN]
    # No pod that failed before is sent, however many there are.
    list_, watch = asked
    assert list_ == "/api/v1/namespaces/jobs/pods?limit=1"
    assert watch.startswith("/api/v1/namespaces/jobs/pods?watch=true&fieldSelector=status.phase")
    assert "labelSelector=flowdeps.dev/set&resourceVersion=17" in watch


async def test_what_a_node_ended_it_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory, or disk in the node's words. Other evictions, and those of the flow, are none."""
    full = 'Usage of EmptyDir volume "flowdeps-site" exceeds the limit "1Gi".\x1b'
    low = "The node was low on resource: memory."
    pods = [
        _pod(code=137, reason="OOMKilled"),
        _pod(code=137, reason="ContainerStatusUnknown") | {"spec": {"volumes": [{}]}},
        _pod(code=None),
        _pod(code=0),
    ]
    for pod, message in zip(pods[1:], (full, low, full), strict=True):
        pod["status"] |= {"reason": "Evicted", "message": message}
    pods[2]["spec"] = {"volumes": [{"name": "flowdeps-lock"}]}
    changes = [{"type": "ADDED", "object": one} for one in pods]
    found, _ = await _counted(tmp_path, monkeypatch, changes)
    disk = f"disk ({full[:-1]}\N{REPLACEMENT CHARACTER})"
    assert found == [
        None,
        replace(RUN, killed="memory"),
        replace(RUN, lock="", killed=disk),
        replace(RUN, lock=""),
    ]


async def test_all_namespaces_are_one_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no namespace is named."""
    _, asked = await _counted(tmp_path, monkeypatch, [], namespace="")
    assert [one.partition("?")[0] for one in asked] == ["/api/v1/pods"] * 2


async def test_a_watch_that_ends_in_an_error_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version that it began with may be too old by now."""
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    with pytest.raises(ClusterError) as raised:
        await _counted(tmp_path, monkeypatch, [{"type": "ERROR", "object": gone}])
    assert raised.value.status == 410
