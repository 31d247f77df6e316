"""How much memory a start takes where ConfigMaps with our labels are large."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from aiohttp.test_utils import RawTestServer

from tests.unit.clients.api_server import ApiServer, kubeconfig
from tests.unit.state.bodies import config_map

_MAPS = 100
_CHILD = """
import asyncio, resource
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.state.store import view_config_map

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

async def main():
    async with Cluster.connect() as cluster:
        before = most()
        listed = cluster.each_config_map(selector="a=b")
        views = [view_config_map(body) async for body in listed]
        print(len(views), most() - before)

asyncio.run(main())
"""


@pytest.fixture(params=["x", "<"], ids=["plain", "escaped"])
def server(request: pytest.FixtureRequest) -> ApiServer:
    """One with these ConfigMaps, written down before an event loop runs."""
    lock = json.dumps([request.param * 1_000_000])
    data = {"requirements.txt": "", "lock.json": lock, "digest": ""}
    return ApiServer([config_map(f"flowdeps-{number}", data=data) for number in range(_MAPS)])


@pytest.mark.slow
async def test_large_config_maps_do_not_fill_the_memory_of_a_start(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred of a megabyte each, the lists of which no page holds, and of which nothing is kept:
    a fraction of what they have in all. An API server writes some characters in six bytes each."""
    async with RawTestServer(server.respond) as served:
        kubeconfig(tmp_path, monkeypatch, url=str(served.make_url("")))
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _CHILD,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        output, _ = await child.communicate()
    views, more = map(int, output.split())
    assert views == _MAPS
    assert more < 80 * 2**20
