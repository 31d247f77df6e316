"""Sets that go otherwise than by the book: nothing is kept of them."""

import asyncio

import pytest

from flowdeps.reconcile.dependency_set.retention import GRACE
from tests.unit.reconcile.simulation import Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, OUTAGE, play


def test_a_set_whose_finalizer_was_taken_out_leaves_its_successor_all_its_time() -> None:
    """While Prefect is away somebody lets a deleted set go by hand; its deletion does not count as
    begun when a set of that name is deleted later."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        async with sim.operator() as service:
            sim.cluster.apply("ml", pools=["k"])
            await asyncio.sleep(MINUTE)
            sim.prefect.outage = OUTAGE
            sim.cluster.delete("ml")
            await asyncio.sleep(MINUTE)
            assert service.context.removing
            meta = sim.cluster.sets["flows", "ml"]["metadata"]
            await sim.cluster.apply_finalizers(
                namespace="flows", name="ml", uid=meta["uid"], finalizers=[]
            )
            await asyncio.sleep(HOUR)
            assert not service.context.removing
            sim.prefect.outage = None
            sim.cluster.apply("ml", pools=["k"])
            await asyncio.sleep(5 * MINUTE)
            sim.prefect.outage = OUTAGE
            sim.cluster.delete("ml")
            await asyncio.sleep(5 * MINUTE)
            assert ("flows", "ml") in sim.cluster.sets
            assert not any("CleanupGivenUp" in text for _, _, text in sim.cluster.events)

    play(script)


def test_nothing_is_read_for_a_set_whose_end_no_watch_told() -> None:
    """A set that only a list finds gone is forgotten like any other: its sources and images are
    followed no longer."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.put_foreign_map("flows", "src", {"txt": "gamma"})
        source = {"configMapKeyRef": {"name": "src", "key": "txt"}}
        sim.cluster.apply("ml", pools=["k"], python={}, requirementsFrom=[source])
        async with sim.operator() as service:
            await asyncio.sleep(MINUTE)
            context = service.context
            assert context.sources.needed()
            assert context.images.needed()
            meta = sim.cluster.sets["flows", "ml"]["metadata"]
            sim.cluster.watch.missed = lambda _event: True
            await sim.cluster.apply_finalizers(
                namespace="flows", name="ml", uid=meta["uid"], finalizers=[]
            )
            sim.cluster.delete("ml")
            await asyncio.sleep(1)
            sim.cluster.watch.missed = lambda _event: False
            await asyncio.sleep(HOUR)
            assert not context.sources.needed()
            assert not context.images.needed()

    play(script)


@pytest.mark.parametrize("what", ["deleted", "moved", "deleted and moved"])
@pytest.mark.parametrize("prefect_is_back", [0, 15 * MINUTE])
def test_what_ends_while_the_operator_is_away_leaves_no_copy(
    what: str, prefect_is_back: float
) -> None:
    """With watchNamespaces, a job namespace that only a pool's template names: a set is deleted, or
    the pool's jobs run elsewhere now, while nobody looks. The copies there are found all the same,
    also when Prefect answers later."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces |= {"jobs", "others"}
        sim.prefect.make("k", namespace="jobs")
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(MINUTE)
        if "deleted" in what:
            sim.cluster.delete("ml")
        if "moved" in what:
            template = sim.prefect.pools["k"].template
            template["variables"]["properties"]["namespace"]["default"] = "others"
        sim.prefect.outage = OUTAGE if prefect_is_back else None
        async with sim.operator():
            await asyncio.sleep(prefect_is_back)
            sim.prefect.outage = None
            await asyncio.sleep(5 * MINUTE + GRACE)
        places = {namespace for namespace, _ in sim.cluster.maps}
        assert places == (set() if "deleted" in what else {"flows", "others"})

    play(script, watchNamespaces=["flows"])


def test_what_a_set_at_rest_has_left_goes_as_well() -> None:
    """Suspended when it leaves a pool: once runs have had their time, the copies are deleted."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("k", namespace="jobs")
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            assert [where for where in sim.cluster.maps if where[0] == "jobs"]
            sim.cluster.apply("ml", pools=[], suspend=True)
            await asyncio.sleep(HOUR)
            assert [where for where in sim.cluster.maps if where[0] == "jobs"] == []
            assert sim.pins("ml") == "pandas==1.0"

    play(script)
