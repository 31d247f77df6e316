"""What kubelets say of pods that can't start comes as it is said, one event after the other."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from flowdeps.clients.kubernetes import transport
from flowdeps.clients.kubernetes.client import Cluster, FailedPod
from flowdeps.clients.kubernetes.errors import ClusterError
from tests.unit.clients.api_server import Body, kubeconfig

REFERENCE = f"registry.example.com/environments/flows@sha256:{'a' * 64}"


def _event(kind: str = "ADDED", **changes: object) -> Body:
    event = {
        "metadata": {"namespace": "jobs", "name": "run.1"},
        "message": f'Failed to pull image "{REFERENCE}": not found',
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    return {"type": kind, "object": {**event, **changes}}


@asynccontextmanager
async def _server(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    parts: Sequence[bytes] = (),
    status: int = 200,
    paths: list[str] | None = None,
) -> AsyncIterator[Cluster]:
    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        if paths is not None:
            paths.append(f"{request.path}?{request.query_string}")
        if status != 200:
            body = {"kind": "Status", "reason": "Forbidden", "message": "may not watch"}
            return web.json_response(body, status=status)
        response = web.StreamResponse()
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(0)
        return response

    async with RawTestServer(respond) as server:
        kubeconfig(tmp_path, monkeypatch, url=str(server.make_url("")))
        async with Cluster.connect() as cluster:
            yield cluster


async def test_events_come_one_by_one_wherever_the_server_cuts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First it is known that the watch is there; what is deleted or a bookmark says nothing."""
    later = {"series": {"lastObservedTime": "2026-01-01T00:05:00Z"}}
    events = [_event(), _event("MODIFIED", **later), _event("DELETED"), _event("BOOKMARK")]
    text = b"".join(json.dumps(one).encode() + b"\n" for one in events)
    paths: list[str] = []
    parts = [text[:7], text[7:300], text[300:]]
    async with _server(tmp_path, monkeypatch, parts=parts, paths=paths) as cluster:
        found = [one async for one in cluster.failed_pods("jobs")]
    message = f'Failed to pull image "{REFERENCE}": not found'
    assert found == [
        None,
        FailedPod("jobs", message, datetime(2026, 1, 1, tzinfo=UTC)),
        FailedPod("jobs", message, datetime(2026, 1, 1, 0, 5, tzinfo=UTC)),
    ]
    [path] = paths
    assert path.startswith("/api/v1/namespaces/jobs/events?watch=true&fieldSelector=reason")


async def test_all_namespaces_are_one_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no namespace is named."""
    paths: list[str] = []
    async with _server(tmp_path, monkeypatch, paths=paths) as cluster:
        assert [one async for one in cluster.failed_pods()] == [None]
    assert paths[0].startswith("/api/v1/events?watch=true")


@pytest.mark.parametrize("status", [403, 410])
async def test_a_watch_that_is_refused_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Before it is there, or as its last event."""
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    parts = [json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n"]
    at_once = 403 if status == 403 else 200
    async with _server(tmp_path, monkeypatch, parts=parts, status=at_once) as cluster:
        with pytest.raises(ClusterError) as raised:
            async for _ in cluster.failed_pods("jobs"):
                pass
    assert raised.value.status == status


async def test_watches_leave_connections_for_other_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many namespaces of runs there are, a lease is renewed in time."""
    opened: set[str] = set()
    there, over, many = asyncio.Event(), asyncio.Event(), 120

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"metadata": {"name": "lease"}})
        response = web.StreamResponse()
        await response.prepare(request)
        opened.add(request.path)
        if len(opened) == many:
            there.set()
        await over.wait()
        return response

    async def watch(cluster: Cluster, namespace: str) -> None:
        async for _ in cluster.failed_pods(namespace):
            pass

    async with RawTestServer(respond) as server:
        kubeconfig(tmp_path, monkeypatch, url=str(server.make_url("")))
        async with Cluster.connect() as cluster, asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            for number in range(many):
                tasks.create_task(watch(cluster, f"jobs-{number}"))
            await there.wait()
            assert await cluster.get_lease("flowdeps", "lease")
            over.set()


async def test_what_a_kubelet_says_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may post events, and their words end up in statuses and logs."""
    text = json.dumps(_event(message="Failed\n\x1b[31mto pull")).encode() + b"\n"
    async with _server(tmp_path, monkeypatch, parts=[text]) as cluster:
        _, found = [one async for one in cluster.failed_pods("jobs")]
    assert found is not None
    assert found.message == "Failed \ufffd[31mto pull"


async def test_an_event_without_end_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever posts events does not decide how much of one is held."""
    monkeypatch.setattr(transport, "ANSWER_BYTES", 1000)
    async with _server(tmp_path, monkeypatch, parts=[b"x" * 5000]) as cluster:
        with pytest.raises(ClusterError, match="more than 1000 bytes"):
            async for _ in cluster.failed_pods("jobs"):
                pass
