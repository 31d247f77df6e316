"""Every request of ours that may change something passes the fence."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_CLIENT_RETRY_JITTER_FACTOR,
    temporary_settings,
)

from flowdeps.clients.fence import Fence
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.prefect.client import Pools
from flowdeps.clients.prefect.errors import PoolsError
from tests.cluster.controlplane import ControlPlane
from tests.support.faults import CLUSTER_WRITES

_BODY = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "fenced", "namespace": "default", "uid": "1", "resourceVersion": "1"},
}
_ARGUMENTS: dict[str, Any] = {
    "body": _BODY,
    "regarding": _BODY,
    "namespace": "default",
    "finalizers": [],
    "status": {},
}


@pytest.mark.cluster
@pytest.mark.parametrize("name", sorted(CLUSTER_WRITES))
async def test_no_write_to_the_cluster_leaves_while_the_fence_is_closed(
    name: str, cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever it is; reads go through. The connection is there already, and nobody is asked."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    seen: list[tuple[str, str]] = []
    fence = Fence()

    def observe(method: str, outcome: str, _seconds: float) -> None:
        seen.append((method, outcome))

    async with Cluster.connect(fence=fence, observe=observe) as client:
        assert await client.get_config_map("default", "fenced") is None
        write: Callable[..., Any] = getattr(client, name)
        arguments = {
            parameter.name: _ARGUMENTS.get(parameter.name, "fenced")
            for parameter in inspect.signature(write).parameters.values()
            if parameter.default is inspect.Parameter.empty
        }
        given = [arguments.pop("body")] if "body" in arguments else []
        with pytest.raises(ClusterError, match="not the active one"):
            await write(*given, **arguments)
        assert await client.get_config_map("default", "fenced") is None
    assert seen == [("GET", "404"), ("GET", "404")]


async def test_a_template_is_not_tried_again_when_the_fence_has_closed_meanwhile() -> None:
    """Prefect's client makes further tries by itself: each of them is asked whether it may."""
    fence, tries = Fence.open(), list[str]()

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "PATCH":
            return web.Response(status=404)
        tries.append(request.path)
        if len(tries) == 2:
            fence.close()
        return web.Response(status=503, headers={"Retry-After": "0"})

    settings: dict[Any, Any] = {
        PREFECT_CLIENT_MAX_RETRIES: 5,
        PREFECT_CLIENT_RETRY_JITTER_FACTOR: 0,
    }
    with temporary_settings(settings, restore_defaults=[PREFECT_API_URL]):
        async with (
            RawTestServer(respond) as server,
            Pools.connect(f"{server.make_url('/')}api", fence=fence) as pools,
        ):
            with pytest.raises(PoolsError, match="not the active one"):
                await pools.write("k", {"note": 1})
    assert len(tries) == 2


async def test_a_template_is_not_written_while_the_fence_is_closed() -> None:
    """Not even asked for: nothing arrives."""
    arrived = []

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        arrived.append(request.method)
        return web.Response(status=204)

    with temporary_settings({}, restore_defaults=[PREFECT_API_URL]):
        async with (
            RawTestServer(respond) as server,
            Pools.connect(f"{server.make_url('/')}api", fence=Fence()) as pools,
        ):
            with pytest.raises(PoolsError, match="not the active one"):
                await pools.write("k", {"note": 1})
    assert "PATCH" not in arrived
