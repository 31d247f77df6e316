"""Refreshes that wait for an approval, whatever comes between: told by the simulation."""

import asyncio

import pytest

from flowdeps.api.names import REFRESH_REQUESTED_ANNOTATION
from flowdeps.clients.kubernetes.errors import ClusterError
from tests.unit.reconcile.simulation import Body, Simulation
from tests.unit.reconcile.test_life import DAY, HOUR, MINUTE, play, settled
from tests.unit.reconcile.test_locks import status


def ask(sim: Simulation) -> None:
    """kubectl annotate, of a set that is refreshed by hand only."""
    asked = {"annotations": {REFRESH_REQUESTED_ANNOTATION: "now"}}
    sim.cluster.apply("ml", updates="Manual", interval="0s", metadata=asked)


@pytest.mark.parametrize("kind", ["proposal", "current"])
@pytest.mark.parametrize("fault", ["killed before", "killed after", "failed"])
def test_a_refresh_that_was_asked_for_is_proposed_whatever_comes_between(
    kind: str, fault: str
) -> None:
    """That it was met is written down last: neither a kill around a write nor a write that fails
    loses it, and it is announced once."""

    async def script(sim: Simulation) -> None:
        sim.cluster.apply("ml", updates="Manual", interval="0s")
        await settled(sim)
        sim.index.release = 2
        apply_config_map = sim.cluster.apply_config_map
        faults = 0

        async def faulty(body: Body) -> Body:
            nonlocal faults
            proposal = "flowdeps.dev/proposed" in body["metadata"]["annotations"]
            if faults or proposal is not (kind == "proposal"):
                return await apply_config_map(body)
            faults += 1
            if fault == "failed":
                raise ClusterError(0, "Unreachable", "the API server did not answer: away")
            if fault == "killed after":
                await apply_config_map(body)
            await asyncio.sleep(DAY)
            raise AssertionError("it was killed")

        sim.cluster.apply_config_map = faulty  # type: ignore[method-assign]
        async with sim.operator():
            ask(sim)
            await asyncio.sleep(MINUTE)
        assert faults
        await settled(sim)
        assert status(sim)["lastHandledRefreshAt"] == "now"
        assert status(sim)["proposed"]["summary"] == "pandas 1.0 → 2.0"
        assert sim.pins("ml") == "pandas==1.0"
        assert len([e for e in sim.cluster.events if "RevisionProposed" in e[2]]) == 1

    play(script)


def test_a_proposal_that_is_found_again_is_announced_once() -> None:
    """Each refresh finds it; whoever was told of it needs no second event."""

    async def script(sim: Simulation) -> None:
        async with sim.operator():
            sim.cluster.apply("ml", updates="Manual", interval="1h")
            await asyncio.sleep(5 * MINUTE)
            sim.index.release = 2
            await asyncio.sleep(4 * HOUR)
            assert len(sim.index.resolved) > 3
            assert len([e for e in sim.cluster.events if "RevisionProposed" in e[2]]) == 1
            sim.index.release = 3
            await asyncio.sleep(2 * HOUR)
            assert len([e for e in sim.cluster.events if "RevisionProposed" in e[2]]) == 2

    play(script)
