"""How much of the cluster is held at once, whoever made how much of it."""

from pathlib import Path

import pytest

from flowdeps.clients.kubernetes import transport
from flowdeps.clients.kubernetes.errors import TooLongError
from tests.unit.clients.api_server import ApiServer, Body


def _config_map(number: int, size: int) -> Body:
    meta = {"name": f"flowdeps-{number}", "namespace": "flows", "uid": f"u{number}"}
    return {"metadata": meta, "data": {"requirements.txt": "x" * size}}


async def test_a_page_is_read_up_to_a_limit_and_then_asked_for_with_fewer_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """217 ConfigMaps of a megabyte come one after the other, and none comes twice."""
    monkeypatch.setattr(transport, "PAGE_BYTES", 4096)
    server = ApiServer([_config_map(number, 3000) for number in range(40)])
    read: list[int] = []
    request = transport.Transport.request_bytes

    async def noted(self: transport.Transport, *given: object, **more: object) -> bytes:
        data = await request(self, *given, **more)  # type: ignore[arg-type]
        read.append(len(data))
        return data

    monkeypatch.setattr(transport.Transport, "request_bytes", noted)
    async with server.client(tmp_path, monkeypatch) as cluster:
        found = [one["metadata"]["uid"] async for one in cluster.each_config_map(selector="a=b")]
    assert found == [f"u{number}" for number in range(40)]
    assert max(read) <= 4096
    assert server.limits[:4] == [32, 8, 2, 1]
    assert set(server.limits[3:]) == {
        1
    }  # a page that is nearly full is not asked for twice as long


async def test_small_objects_come_in_large_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand small ones are no reason for as many requests."""
    server = ApiServer([_config_map(number, 10) for number in range(10_000)])
    async with server.client(tmp_path, monkeypatch) as cluster:
        found = [one["metadata"]["uid"] async for one in cluster.each_config_map(selector="a=b")]
    assert len(set(found)) == 10_000
    assert len(server.limits) <= 10_000 / transport.PAGE + 6
    assert max(server.limits) == transport.PAGE


async def test_pages_get_smaller_and_larger_with_what_is_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large ones among small ones, wherever their names put them, are found out at each page."""
    monkeypatch.setattr(transport, "PAGE_BYTES", 16_384)
    sizes = [10] * 60 + [7000] * 8 + [10] * 200
    server = ApiServer([_config_map(number, size) for number, size in enumerate(sizes)])
    async with server.client(tmp_path, monkeypatch) as cluster:
        found = [one["metadata"]["uid"] async for one in cluster.each_config_map(selector="a=b")]
    assert found == [f"u{number}" for number in range(len(sizes))]
    assert min(server.limits) <= 2
    assert max(server.limits[server.limits.index(min(server.limits)) :]) >= 32


async def test_an_object_that_is_longer_than_any_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What answers is no API server, or one without limits: nothing is held of it."""
    monkeypatch.setattr(transport, "ANSWER_BYTES", 4096)
    monkeypatch.setattr(transport, "PAGE_BYTES", 4096)
    server = ApiServer([_config_map(0, 5000)])
    async with server.client(tmp_path, monkeypatch) as cluster:
        with pytest.raises(TooLongError, match="more than 4096 bytes"):
            [one async for one in cluster.each_config_map(selector="a=b")]


async def test_of_a_pod_only_what_is_asked_for_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever labels pods like ours may make them long."""
    pod = {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "annotations": {"a": "x" * 1000}},
        "spec": {
            "containers": [{"name": "c", "image": "i", "env": [{"name": "E", "value": "x" * 1000}]}]
        },
        "status": {"phase": "Running"},
    }
    async with ApiServer([pod]).client(tmp_path, monkeypatch) as cluster:
        [found] = await cluster.list_pods(selector="a=b")
    assert found["metadata"]["name"] == "p"
    assert found["spec"] == {"containers": [{"name": "c", "image": "i"}]}
    assert found["status"] == {"phase": "Running"}
    assert "xxx" not in repr(found)
