"""Secrets of sets, which nobody watches: what somebody does to one is mended all the same."""

import asyncio
import base64

import pytest

from flowdeps.api.names import mounted_name
from tests.unit.reconcile.simulation import Simulation
from tests.unit.reconcile.test_life import DAY, MINUTE, play, settled

INDEX = {"url": "https://index.example.com/simple", "credentialsSecretRef": {"name": "index"}}


@pytest.mark.parametrize("where", ["flows", "jobs"])
@pytest.mark.parametrize("what", ["deleted", "edited"])
def test_a_secret_that_somebody_took_away_is_put_back(where: str, what: str) -> None:
    """Within minutes, though nothing else calls the set; while all is well, nothing is written."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("k", namespace="jobs")
        encoded = {key: base64.b64encode(b"ci").decode() for key in ("username", "password")}
        sim.cluster.put_foreign_secret("flows", "index", encoded)
        sim.cluster.apply("ml", pools=["k"], index=INDEX, interval="30d")
        await settled(sim)
        async with sim.operator():
            writes = sim.writes()
            await asyncio.sleep(DAY)
            assert sim.writes() == writes
            name = mounted_name("ml", pool="k" if where == "jobs" else "")
            data = sim.cluster.secrets[where, name]["data"]
            if what == "deleted":
                del sim.cluster.secrets[where, name]
            else:
                sim.cluster.secrets[where, name]["data"] = {}
            await asyncio.sleep(11 * MINUTE)
            assert sim.cluster.secrets[where, name]["data"] == data

    play(script)
