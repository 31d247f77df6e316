"""The watch, by the real kopf, of an API server that has too much to do."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from flowdeps.api.config import Config
from flowdeps.app import handlers
from flowdeps.app.service import Service
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.reconcile.runs_namespace.lines import environments
from tests.unit.clients.api_server import kubeconfig
from tests.unit.delivery.test_pods import ENVIRONMENTS
from tests.unit.state.bodies import set_body

_RESOURCES = {
    "/api/v1": ("configmaps", "namespaces"),
    "/apis/apiextensions.k8s.io/v1": ("customresourcedefinitions",),
    "/apis/flowdeps.dev/v1alpha1": ("flowdependencysets", "runenvironments"),
}


def _discovery(path: str) -> Any:
    if path == "/api":
        return {"versions": ["v1"]}
    if path == "/apis":
        groups = [one.split("/")[2:] for one in _RESOURCES if one.startswith("/apis/")]
        versions = [(name, {"version": version}) for name, version in groups]
        return {
            "groups": [
                {"name": name, "versions": [one], "preferredVersion": one} for name, one in versions
            ]
        }
    verbs = ["list", "watch", "patch"]
    return {
        "resources": [
            {"name": one, "singularName": one[:-1], "kind": one, "namespaced": True, "verbs": verbs}
            for one in _RESOURCES[path]
        ]
    }


@pytest.fixture(scope="module", autouse=True)
def _collected() -> Iterator[None]:
    """What kopf's tasks ended with, and nobody asked for, is said before another module's tests:
    CPython 3.11 fails in `ast.parse` if a collection in it runs code of Python."""
    yield
    gc.collect()


@pytest.mark.stalls  # an API server of the test is in the same loop
@pytest.mark.parametrize("status", [429, 503])
async def test_the_watch_outlives_an_overload(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kopf gives up after a minute of errors. The process does not end for it: what has changed is
    seen when the API server is well again."""
    seen: asyncio.Queue[str] = asyncio.Queue()
    refused: list[str] = []

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path in {"/api", "/apis", *_RESOURCES}:
            return web.json_response(_discovery(path))
        if len(refused) < 12:
            refused.append(path)
            body = {"kind": "Status", "code": status, "message": "overload"}
            return web.json_response(body, status=status)
        if "watch" in request.query:
            await asyncio.Event().wait()
        told = environments("flows", {}, owner="")
        told["metadata"] |= {"uid": "1", "resourceVersion": "1"}
        things = {"flowdependencysets": [set_body("a")], "runenvironments": [told]}
        items = things.get(path.rpartition("/")[2], [])
        return web.json_response({"items": items, "metadata": {"resourceVersion": "1"}})

    settings = kopf.OperatorSettings

    def hasty() -> kopf.OperatorSettings:
        made = settings()
        made.networking.error_backoffs = (0.001, 0.001)
        return made

    monkeypatch.setattr(kopf, "OperatorSettings", hasty)
    monkeypatch.setattr(handlers, "_ANEW_SECONDS", 0.001)
    async with RawTestServer(respond) as server:
        kubeconfig(tmp_path, monkeypatch, url=str(server.make_url("")))
        async with Cluster.connect() as cluster:
            config = SimpleNamespace(watch_namespaces=("flows",), environments=ENVIRONMENTS)
            service = SimpleNamespace(
                context=SimpleNamespace(config=config, cluster=cluster),
                set_event=lambda _, body: seen.put_nowait(body["metadata"]["name"]),
                environments_event=lambda _, body: seen.put_nowait(body["metadata"]["name"]),
            )
            watching = asyncio.create_task(handlers.watch(cast("Service", service)))
            try:
                both = asyncio.gather(seen.get(), seen.get())
                futures: set[asyncio.Future[Any]] = {watching, both}
                await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
                assert both.done(), watching
                assert {*await both} == {"a", "flowdeps-runs"}
            finally:
                both.cancel()
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
    assert len(refused) == 12


async def test_a_mistake_in_the_watch_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only errors of the API server begin anew."""

    async def operator(**_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(kopf, "operator", operator)
    service = SimpleNamespace(context=SimpleNamespace(config=Config()))
    with pytest.raises(ZeroDivisionError):
        await handlers.watch(cast("Service", service))
