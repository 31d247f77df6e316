"""Operators of several clusters that share a Prefect, by the same owner: told by the simulation."""

import asyncio

from flowdeps.delivery.choice import find
from flowdeps.delivery.kinds.kind import Fragment
from flowdeps.delivery.kinds.kubernetes.merge import merge
from tests.unit.reconcile.simulation import Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, play, settled


def other(sim: Simulation, pool: str, *, cluster: str) -> None:
    """An operator of the same owner elsewhere offers a set of its own."""
    fragment = Fragment(
        owner="flowdeps/flowdeps", cluster=cluster, version="0.1.0", pool=pool, keys=("theirs",)
    )
    sim.prefect.edit(pool, **merge(sim.prefect.pools[pool].template, fragment))


def keys(sim: Simulation, pool: str) -> tuple[str, ...]:
    """What a pool offers."""
    found = find(sim.prefect.pools[pool].template)
    return found.keys if found else ()


async def contend(sim: Simulation) -> None:
    """Overwrite the pool k each minute, until the set ml says so."""
    for _ in range(10):
        await asyncio.sleep(MINUTE)
        other(sim, "k", cluster="cluster-2")
    await asyncio.sleep(3)
    assert sim.ready("ml") == ("False", "Contended")


def test_what_the_operator_of_another_cluster_offers_stays() -> None:
    """Two releases of one name are the same owner: one that has no sets for a pool leaves it to the
    other, whose sets it does not know."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        other(sim, "k", cluster="cluster-2")
        async with sim.operator():
            await asyncio.sleep(HOUR)
        assert keys(sim, "k") == ("theirs",)
        assert sim.prefect.writes == {}

    play(script)


def test_what_ours_left_behind_goes() -> None:
    """A key of a set that is gone, which a killed operator of this cluster had offered."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        before = sim.prefect.pools["k"].template
        other(sim, "k", cluster=sim.cluster.uid)
        await settled(sim)
        assert sim.prefect.pools["k"].template == before

    play(script)


def test_a_pool_of_a_cluster_that_is_gone_is_taken_over() -> None:
    """The same sets in a new cluster, as after a disaster: they are offered, by the new one, and go
    with their sets."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        before = sim.prefect.pools["k"].template
        other(sim, "k", cluster="burnt-down")
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        assert sim.ready("ml") == ("True", "Ready")
        assert keys(sim, "k") == ("ml",)
        async with sim.operator():
            sim.cluster.delete("ml")
            await asyncio.sleep(MINUTE)
        assert sim.prefect.pools["k"].template == before

    play(script)


def test_two_clusters_that_offer_to_one_pool_are_told_of_each_other() -> None:
    """Each overwrites the other: the set says which cluster it is, and what to do."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await contend(sim)
            conditions = sim.cluster.sets["flows", "ml"]["status"]["conditions"]
            said = next(one["message"] for one in conditions if one["type"] == "PoolsSynced")
            assert "the operator of another cluster (cluster-2)" in said
            assert "give each its own `owner`" in said

    play(script)


def test_a_contended_pool_is_ready_again_when_the_other_leaves_it_alone() -> None:
    """Our fragment goes back after the pause, and ten quiet minutes end the contention, with no
    event or change of the set that would have called for it."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await contend(sim)
            assert keys(sim, "k") == ("theirs",)
            await asyncio.sleep(HOUR)
            assert keys(sim, "k") == ("ml",)
            assert sim.ready("ml") == ("True", "Ready")
            writes = dict(sim.prefect.writes)
            await asyncio.sleep(HOUR)
            assert sim.prefect.writes == writes

    play(script)


def test_what_was_merged_by_hand_is_in_line_as_it_is() -> None:
    """`flowdeps template` knows of no cluster, and Helm may write its template again and again: a
    fragment that says all else right is not written anew, and goes with the last set."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        before = sim.prefect.pools["k"].template
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        template = sim.prefect.pools["k"].template
        del template["variables"]["properties"]["dependency_set"]["flowdeps.dev"]["cluster"]
        sim.prefect.edit("k", **template)
        sim.prefect.writes.clear()
        async with sim.operator():
            await asyncio.sleep(HOUR)
            assert sim.prefect.writes == {}
            assert sim.ready("ml") == ("True", "Ready")
            sim.cluster.delete("ml")
            await asyncio.sleep(MINUTE)
        assert sim.prefect.pools["k"].template == before

    play(script)
