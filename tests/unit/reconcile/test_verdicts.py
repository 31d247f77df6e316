"""What pools say of sets while one or the other changes or fails: told by the simulation."""

import asyncio
import copy
from collections.abc import Mapping
from typing import Any

import pytest

from flowdeps.clients.prefect.client import Pool
from flowdeps.reconcile.dependency_set.retention import GRACE
from tests.unit.reconcile.simulation import Simulation
from tests.unit.reconcile.test_life import MINUTE, play, settled
from tests.unit.reconcile.test_locks import conditions


def test_a_set_that_changes_while_its_template_is_written_is_not_ready_before_the_next_write() -> (
    None
):
    """The write that is under way has its old key: a deployment with the new one would be
    refused."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=[{"name": "k", "key": "old"}])
        sim.cluster.apply("other", pools=["k"])
        await settled(sim)
        write = sim.prefect.write

        async def slow(name: str, template: Mapping[str, Any]) -> None:
            sim.prefect.write = write  # type: ignore[method-assign]
            sim.cluster.apply("ml", pools=[{"name": "k", "key": "new"}])
            await asyncio.sleep(1)
            await write(name, template)

        sim.prefect.write = slow  # type: ignore[method-assign]
        async with sim.operator():
            sim.cluster.apply("other", pools=[{"name": "k", "key": "another"}])
            await asyncio.sleep(0.5)
            for _ in range(600):
                await asyncio.sleep(0.1)
                if sim.ready("ml") == ("True", "Ready"):
                    assert "new" in sim.prefect.keys("k")
            assert sim.ready("ml") == sim.ready("other") == ("True", "Ready")
            assert sim.prefect.keys("k") == ["another", "new"]
        await settled(sim)

    play(script)


@pytest.mark.parametrize("younger", [False, True])
def test_a_set_that_never_could_be_read_is_told_its_mistake_and_of_no_rival(younger: bool) -> None:
    """It claims no key, so there is no older set in its way: it waits for a lock, whether a
    younger one serves the key meanwhile or nobody does."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", requirements=["no good"], pools=["k"])
        await settled(sim)
        if younger:
            sim.cluster.apply("other", pools=[{"name": "k", "key": "ml"}])
            await settled(sim)
            assert sim.ready("other") == ("True", "Ready")
        assert sim.ready("ml") == ("False", "InvalidSpec")
        assert conditions(sim)["PoolsSynced"] == ("False", "Pending", "waits for a lock")

    play(script)


def rename_container(sim: Simulation, pool: str, *, to: str) -> None:
    """Somebody edits a template, in which the flow's container has that name from now on."""
    template = copy.deepcopy(dict(sim.prefect.pools[pool].template))
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    pod["containers"][0]["name"] = to
    sim.prefect.edit(pool, **template)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("mended", [False, True])
def test_a_set_stays_while_a_template_that_cannot_be_written_offers_it(
    restarted: bool, mended: bool
) -> None:
    """Its lock goes after its key, which runs may choose as long as it is in the template; but a
    deletion is not held up for ever."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        for name in ("ml", "other"):
            sim.cluster.apply(name, pools=["k"])
        await settled(sim)
        rename_container(sim, "k", to="theirs")
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("False", "NotMergeable")
            if not restarted:
                sim.cluster.delete("ml")
                await asyncio.sleep(MINUTE)
        if restarted:
            sim.cluster.delete("ml")
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            assert sim.prefect.keys("k") == ["ml", "other"]
            assert sim.pins("ml", pool="k")
            if mended:
                rename_container(sim, "k", to="prefect-job")
            await asyncio.sleep(10 * MINUTE)
            assert not sim.pins("ml", pool="k")
            assert ("flows", "ml") not in sim.cluster.sets
            given_up = [e for e in sim.cluster.events if "CleanupGivenUp" in e[2]]
            assert bool(given_up) is not mended
            rename_container(sim, "k", to="prefect-job")
            await asyncio.sleep(5 * MINUTE)
            assert sim.prefect.keys("k") == ["other"]
        await settled(sim)

    play(script)


def test_a_key_that_a_template_keeps_offering_keeps_its_lock() -> None:
    """A set took another key, which the template can't be given: runs still choose the old one."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=[{"name": "k", "key": "old"}])
        await settled(sim)
        rename_container(sim, "k", to="theirs")
        sim.cluster.apply("ml", pools=[{"name": "k", "key": "new"}])
        await settled(sim)
        assert sim.prefect.keys("k") == ["old"]
        assert sim.pins("old", pool="k")
        rename_container(sim, "k", to="prefect-job")
        await settled(sim)
        assert sim.prefect.keys("k") == ["new"]
        assert sim.pins("old", pool="k")  # runs that were started before may mount it
        async with sim.operator():
            await asyncio.sleep(GRACE + MINUTE)
        assert not sim.pins("old", pool="k")
        await settled(sim)

    play(script)


def test_a_mistake_of_ours_in_a_look_at_a_pool_is_said_of_its_sets() -> None:
    """They are not Ready on the word of a pass before it, and are again when it is over."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            read = sim.prefect.read

            async def broken(name: str) -> Pool | None:
                raise KeyError(name)

            sim.prefect.read = broken  # type: ignore[method-assign]
            sim.prefect.edit("k", description="edited")
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("False", "InternalError")
            assert "KeyError" in conditions(sim)["PoolsSynced"][2]
            sim.prefect.read = read  # type: ignore[method-assign]
            await asyncio.sleep(10 * MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
        await settled(sim)

    play(script)
