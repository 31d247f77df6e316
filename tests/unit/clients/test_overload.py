"""What the client does while the API server refuses, fails, or does not answer."""

from pathlib import Path

import pytest

from flowdeps.clients.fence import Fence
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from tests.unit.clients.api_server import ApiServer, Fault

_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "n", "name": "m"}}


async def _write(cluster: Cluster) -> None:
    await cluster.apply_config_map(_MAP)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_request_that_is_to_come_back_does(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As late as the server asks, and the caller sees nothing of it."""
    server = ApiServer(faults=[Fault(status, later=1)])
    async with server.client(tmp_path, monkeypatch) as cluster:
        await _write(cluster)
    assert len(server.written) == 1
    first, second = server.times
    assert second - first >= 1.0


async def test_tries_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller, and the pauses of its queue, go on from there."""
    server = ApiServer(faults=[Fault(429, later=0)] * 100)
    async with server.client(tmp_path, monkeypatch) as cluster:
        with pytest.raises(ClusterError, match="too much to do") as caught:
            await _write(cluster)
    assert caught.value.status == 429
    assert len(server.requests) == 4


async def test_while_the_server_asks_for_a_long_pause_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other request either: each fails at once, as one that is worth another try."""
    server = ApiServer(faults=[Fault(429, later=50)])
    async with server.client(tmp_path, monkeypatch) as cluster:
        for _ in range(5):
            with pytest.raises(ClusterError, match="pause of") as caught:
                await cluster.get_config_map("n", "m")
            assert caught.value.is_passing
    assert len(server.requests) == 1


@pytest.mark.parametrize("later", ["soon", "-1", "1e9", "²"])
async def test_an_odd_time_to_come_back_is_none(
    later: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only whole seconds count."""
    server = ApiServer(faults=[Fault(503, later=later)])  # type: ignore[arg-type]
    async with server.client(tmp_path, monkeypatch) as cluster:
        with pytest.raises(ClusterError, match="too much to do"):
            await _write(cluster)
        await _write(cluster)
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504, 0])
@pytest.mark.parametrize("committed", [False, True])
async def test_what_may_have_been_carried_out_is_not_repeated_here(
    committed: bool, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next reconcile finds out. The error is one that passes."""
    server = ApiServer(faults=[Fault(status, committed=committed)])
    async with server.client(tmp_path, monkeypatch) as cluster:
        with pytest.raises(ClusterError) as caught:
            await _write(cluster)
    assert caught.value.is_passing
    assert len(server.requests) == 1
    assert len(server.written) == committed


async def test_a_write_that_waits_is_asked_again_whether_it_may_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Lease may be lost meanwhile: each try passes the fence."""
    fence = Fence.open()
    server = ApiServer(faults=[Fault(429, later=0)] * 2)
    respond = server.respond

    async def close_after_the_first(request: object) -> object:
        answer = await respond(request)  # type: ignore[arg-type]
        fence.close()
        return answer

    monkeypatch.setattr(server, "respond", close_after_the_first)
    async with server.client(tmp_path, monkeypatch, fence=fence) as cluster:
        with pytest.raises(ClusterError, match="not the active one"):
            await _write(cluster)
    assert len(server.requests) == 1
