"""Slips of `kubectl delete configmap`, which move no pin: told by the simulation."""

import asyncio
from typing import Any

import pytest

from flowdeps.api.names import REFRESH_REQUESTED_ANNOTATION
from flowdeps.clients.kubernetes.errors import ClusterError
from tests.unit.reconcile.simulation import Body, Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, play, settled
from tests.unit.reconcile.test_locks import conditions, status


async def slip(sim: Simulation) -> None:
    """Somebody deletes the lock in service, which is put back."""
    sim.cluster.delete_map("flows", "flowdeps-ml")
    await asyncio.sleep(MINUTE)
    assert ("flows", "flowdeps-ml") in sim.cluster.maps


@pytest.mark.parametrize("asked", ["", "at its making"])
@pytest.mark.parametrize("age", [10 * HOUR, 100 * HOUR])
@pytest.mark.parametrize("updates", ["Automatic", "Manual"])
def test_a_slip_is_no_refresh(asked: str, age: float, updates: str) -> None:
    """Neither a request that was met long ago nor a lock that was made long ago brings one: the
    next is an interval away."""

    async def script(sim: Simulation) -> None:
        metadata = {"annotations": {REFRESH_REQUESTED_ANNOTATION: asked}} if asked else {}
        sim.cluster.apply("ml", metadata=metadata, interval="48h", updates=updates)
        async with sim.operator():
            await asyncio.sleep(age)
            sim.index.release = 2
            resolved = len(sim.index.resolved)
            await slip(sim)
            await asyncio.sleep(HOUR)
            assert len(sim.index.resolved) == resolved
            assert sim.pins("ml") == "pandas==1.0"
            assert "proposed" not in status(sim)
            await asyncio.sleep(60 * HOUR)
            assert len(sim.index.resolved) == resolved + 1
        await settled(sim)

    play(script)


@pytest.mark.parametrize("suspend", [True, False])
def test_a_slip_leaves_the_revision_that_was_asked_for_in_service(suspend: bool) -> None:
    """What spec.revision names stays, though there is a newer one, also of a set at rest."""

    async def script(sim: Simulation) -> None:
        newer: dict[str, Any] = {"requirements": ["alpha", "beta"]}
        async with sim.operator():
            sim.cluster.apply("ml", requirements=["alpha"])
            await asyncio.sleep(MINUTE)
            old = status(sim)["lock"]["revision"]
            sim.cluster.apply("ml", **newer)
            await asyncio.sleep(MINUTE)
            sim.cluster.apply("ml", revision=old, **newer)
            await asyncio.sleep(MINUTE)
            sim.cluster.apply("ml", revision=old, suspend=suspend, **newer)
            await asyncio.sleep(MINUTE)
            await slip(sim)
            assert sim.pins("ml") == "alpha==1.0"
            sim.cluster.apply("ml", **newer)
            await asyncio.sleep(MINUTE)
            assert sim.pins("ml") == "alpha==1.0 beta==1.0"
        await settled(sim)

    play(script)


@pytest.mark.parametrize("suspend", [True, False])
def test_a_slip_leaves_an_older_revision_that_serves_again_in_service(suspend: bool) -> None:
    """Requirements went one way and back: what is served is the first revision, not the newest."""

    async def script(sim: Simulation) -> None:
        async with sim.operator():
            for requirements in (["alpha"], ["alpha", "beta"], ["alpha"]):
                sim.cluster.apply("ml", requirements=requirements)
                await asyncio.sleep(MINUTE)
            sim.cluster.apply("ml", requirements=["alpha"], suspend=suspend)
            await asyncio.sleep(MINUTE)
            resolved = len(sim.index.resolved)
            await slip(sim)
            assert sim.pins("ml") == "alpha==1.0"
            assert len(sim.index.resolved) == resolved
        await settled(sim)

    play(script)


@pytest.mark.parametrize("change", [{"suspend": True}, {"requirements": ["no good"]}])
def test_a_slip_is_mended_when_the_first_write_was_refused(change: dict[str, Any]) -> None:
    """A set at rest says that its lock is not where it belongs, and tries again, as any other."""

    async def script(sim: Simulation) -> None:
        sim.cluster.apply("ml")
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            sim.cluster.apply("ml", **change)
            await asyncio.sleep(MINUTE)
            apply_config_map = sim.cluster.apply_config_map

            async def refuse(body: Body) -> Body:
                raise ClusterError(
                    403, "Forbidden", f"exceeded quota by {body['metadata']['name']}"
                )

            sim.cluster.apply_config_map = refuse  # type: ignore[method-assign]
            sim.cluster.delete_map("flows", "flowdeps-ml")
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml")[0] == "False"
            assert "exceeded quota" in conditions(sim)["Published"][2]
            sim.cluster.apply_config_map = apply_config_map  # type: ignore[method-assign]
            await asyncio.sleep(5 * MINUTE)
            assert sim.pins("ml") == "pandas==1.0"
            assert conditions(sim)["Published"][0] == "True"
        await settled(sim)

    play(script)
