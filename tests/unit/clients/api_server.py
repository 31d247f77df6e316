"""An API server as small as the client's requests: it counts them, and fails as it is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from flowdeps.clients.fence import Fence
from flowdeps.clients.kubernetes.client import Cluster

Body = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """How a request fails."""

    status: int
    """0: the connection is dropped."""
    later: int | None = None
    """The seconds of Retry-After."""
    committed: bool = False
    """Whether it is carried out before."""


@dataclass
class ApiServer:
    """Answers one list, and takes whatever is written."""

    objects: Sequence[Body] = ()
    """What each list brings."""
    faults: list[Fault] = field(default_factory=list)
    """Of the next requests, in turn."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of each request that came."""
    times: list[float] = field(default_factory=list)
    """When each came, in the loop's time."""
    limits: list[int] = field(default_factory=list)
    """How many objects were asked for, list by list."""
    written: list[Body] = field(default_factory=list)
    """What was carried out."""

    def __post_init__(self) -> None:
        # As Go writes it.
        self._texts = [json.dumps(one).replace("<", "\\u003c").encode() for one in self.objects]

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        self.times.append(asyncio.get_running_loop().time())
        fault = self.faults.pop(0) if self.faults else None
        if request.method != "GET" and (fault is None or fault.committed):
            self.written.append(json.loads(await request.read() or b"{}"))
        if fault and not fault.status:
            assert request.transport
            request.transport.abort()
            return web.Response()
        if fault:
            headers = {} if fault.later is None else {"Retry-After": str(fault.later)}
            status = {"kind": "Status", "message": "the server has too much to do", "reason": "X"}
            return web.json_response(status, status=fault.status, headers=headers)
        if request.method != "GET":
            return web.json_response(self.written[-1] or {"kind": "Status"})
        if "limit" not in request.query:
            return web.json_response({"kind": "ConfigMap"})
        limit, start = int(request.query["limit"]), int(request.query.get("continue", 0))
        self.limits.append(limit)
        end = start + limit
        meta = {"continue": str(end)} if end < len(self.objects) else {}
        items = b",".join(self._texts[start:end])
        body = b'{"items": [%s], "metadata": %s}' % (items, json.dumps(meta).encode())
        return web.Response(body=body, content_type="application/json")

    @asynccontextmanager
    async def client(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fence: Fence | None = None
    ) -> AsyncIterator[Cluster]:
        """A client of this server."""
        async with RawTestServer(self.respond) as server:
            kubeconfig(tmp_path, monkeypatch, url=str(server.make_url("")))
            async with Cluster.connect(fence=fence) as cluster:
                yield cluster


def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, url: str) -> None:
    """Name a server as the one that clients find by KUBECONFIG."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(file))
