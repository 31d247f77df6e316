"""Two operators, each with namespaces of its own, whose sets' runs share a job namespace."""

import asyncio
import copy
from dataclasses import replace

import pytest

from flowdeps.api.names import NAMESPACE_LABEL, mounted_name
from tests.unit.reconcile.simulation import Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, play, settled

COPY = ("jobs", mounted_name("ml", pool="a"))


def stage(sim: Simulation) -> None:
    """A pool, and sets of two teams that want one key of it."""
    sim.cluster.namespaces.add("jobs")
    sim.prefect.make("a", namespace="jobs")
    sim.cluster.apply("ml", pools=["a"])
    sim.cluster.apply("ml", namespace="team", pools=["a"], requirements=["alpha"])


def serve(sim: Simulation, namespace: str) -> None:
    """The next operator is the one that watches this namespace."""
    sim.config = replace(sim.config, watch_namespaces=(namespace,), owner=namespace)


def message(sim: Simulation) -> str:
    """Why the set of the first team is not Ready."""
    conditions = sim.cluster.sets["flows", "ml"]["status"]["conditions"]
    return next(str(one["message"]) for one in conditions if one["type"] == "Ready")


def test_of_two_operators_sets_with_one_key_the_first_has_it() -> None:
    """The other says whose the name is and leaves it alone, until it is free."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        serve(sim, "team")
        async with sim.operator():
            await asyncio.sleep(MINUTE)
        serve(sim, "flows")
        await settled(sim)
        assert sim.ready("ml") == ("False", "NameTaken")
        assert f"{'/'.join(COPY)} is of the set team/ml, which another operator" in message(sim)
        assert sim.pins("ml", namespace="jobs", pool="a") == "alpha==1.0"
        serve(sim, "team")
        async with sim.operator():
            await asyncio.sleep(15 * MINUTE)
            sim.cluster.delete("ml", namespace="team")
            await asyncio.sleep(MINUTE)
        serve(sim, "flows")
        async with sim.operator():
            await asyncio.sleep(HOUR)
        assert sim.ready("ml") == ("True", "Ready")
        assert sim.pins("ml", namespace="jobs", pool="a") == "pandas==1.0"

    play(script)


def test_a_copy_that_another_operator_overwrote_is_told_and_not_taken_back() -> None:
    """Where no watch tells of it, the next list does: the set whose lock runs do not get any more
    is not Ready, and an edit of it changes nothing of the other's."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        serve(sim, "flows")
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            theirs = copy.deepcopy(sim.cluster.maps[COPY])
            theirs["metadata"]["labels"][NAMESPACE_LABEL] = "team"
            await sim.cluster.apply_config_map(theirs)
            await asyncio.sleep(15 * MINUTE)
            assert sim.ready("ml") == ("False", "NameTaken")
            sim.cluster.apply("ml", pools=["a"], requirements=["beta"])
            await asyncio.sleep(HOUR)
            assert sim.ready("ml") == ("False", "NameTaken")
            assert sim.cluster.maps[COPY]["metadata"]["labels"][NAMESPACE_LABEL] == "team"
            assert sim.pins("ml", namespace="jobs", pool="a") == "pandas==1.0"

    play(script)


def test_copies_of_a_namespace_that_is_not_watched_any_more_are_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names the namespace and the way out, which leaves nothing behind."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        sim.config = replace(sim.config, watch_namespaces=("flows", "team"))
        async with sim.operator():
            sim.cluster.apply("ml", pools=[{"name": "a", "key": "etl"}])
            await asyncio.sleep(5 * MINUTE)
            assert sim.pins("ml", namespace="jobs", pool="a") == "alpha==1.0"
        caplog.clear()
        sim.config = replace(sim.config, watch_namespaces=("flows",))
        async with sim.operator():
            await asyncio.sleep(HOUR)
        told = [one.getMessage() for one in caplog.records if "watchNamespaces" in one.message]
        assert len(told) == 1
        assert "of sets in namespace team, which is not in watchNamespaces" in told[0]
        sim.config = replace(sim.config, watch_namespaces=("flows", "team"))
        async with sim.operator():
            sim.cluster.delete("ml", namespace="team")
            await asyncio.sleep(5 * MINUTE)
        assert ("team", "ml") not in sim.cluster.sets
        assert COPY not in sim.cluster.maps

    play(script)
