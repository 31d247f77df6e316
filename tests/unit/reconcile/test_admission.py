"""Whose sets a pool takes, as what, and that it gives nothing to others."""

import asyncio
from typing import Any

import pytest

from tests.unit.reconcile.simulation import MemoryImage, Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, OUTAGE, play, settled

IMAGE = "registry.example.com/flows:1"
CLOSED: dict[str, Any] = {"name": "*", "image": IMAGE}


def condition(sim: Simulation, name: str, type_: str = "Ready", *, namespace: str = "flows") -> Any:
    """A condition of a set."""
    conditions = sim.cluster.sets[namespace, name]["status"]["conditions"]
    return next(one for one in conditions if one["type"] == type_)


def pool_status(sim: Simulation, name: str, *, namespace: str = "flows") -> dict[str, Any]:
    """What the status says of the only pool of a set."""
    [pool] = sim.cluster.sets[namespace, name]["status"]["workPools"]
    found: dict[str, Any] = pool
    return found


@pytest.mark.parametrize("entries", [[], [CLOSED]], ids=["no entry", "no list"])
def test_a_pool_without_a_list_takes_sets_of_its_jobs_namespace_only(
    entries: list[dict[str, Any]],
) -> None:
    """Whoever may create sets in another namespace reaches no run of it, and is shown the line of
    configuration that would change that."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=["k"])
        sim.cluster.apply("stranger", namespace="team", pools=["k"])
        await settled(sim)
        assert sim.ready("ml") == ("True", "Ready")
        assert sim.ready("stranger", namespace="team") == ("False", "NotAdmitted")
        assert sim.prefect.keys("k") == ["ml"]
        name = "*" if entries else "k"
        line = f'workPools: [{{name: "{name}", namespaces: ["flows", "team"]}}]'
        assert line in condition(sim, "stranger", namespace="team")["message"]
        assert [where for where, name in sim.cluster.maps if "stranger" in name] == ["team"] * 2

    play(script, workPools=entries)


def test_the_configuration_says_where_jobs_run_and_so_who_is_admitted() -> None:
    """With `jobNamespaces` the template, which others may edit, decides nothing."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k", namespace="team")
        sim.cluster.apply("ml", pools=["k"])
        sim.cluster.apply("stranger", namespace="team", pools=["k"])
        await settled(sim)
        assert sim.ready("ml") == ("True", "Ready")
        assert sim.ready("stranger", namespace="team") == ("False", "NotAdmitted")

    play(script, workPools=[CLOSED | {"jobNamespaces": ["flows"]}])


def test_a_set_leaves_a_pool_whose_jobs_move_elsewhere() -> None:
    """Its namespace is no longer one in which the pool's jobs run: nothing of it stays there."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        template = sim.prefect.pools["k"].template
        template["variables"]["properties"]["namespace"]["default"] = "team"
        await settled(sim)
        assert sim.ready("ml") == ("False", "NotAdmitted")
        assert sim.prefect.keys("k") == []
        assert {where for where, _ in sim.cluster.maps} == {"flows"}

    play(script, workPools=[CLOSED])


def test_nobody_new_is_admitted_before_a_pool_was_seen() -> None:
    """Prefect is away at a start: what is served stays, and a new set gets nothing of the pool."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("k", namespace="jobs")
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        sim.prefect.outage = OUTAGE
        sim.cluster.apply("new", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(HOUR)
        assert sim.pins("new")
        assert [where for where, name in sim.cluster.maps if "new" in name] == ["flows"] * 2
        assert sim.cluster.sets["flows", "new"]["metadata"].get("finalizers", []) == []
        assert [where for where, name in sim.cluster.maps if "jobs" in where] == ["jobs"] * 2
        sim.prefect.outage = None
        await settled(sim)
        assert sim.ready("new") == ("True", "Ready")

    play(script, workPools=[CLOSED | {"namespaces": ["flows"]}])


# The default


def test_a_default_that_nobody_allowed_is_offered_by_its_key_only() -> None:
    """Runs that choose nothing get no packages of a set because its author says so."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=[{"name": "k", "default": True}])
        await settled(sim)
        variable = sim.prefect.pools["k"].template["variables"]["properties"]["dependency_set"]
        assert variable["default"] == "none"
        assert sim.prefect.keys("k") == ["ml"]
        assert sim.ready("ml") == ("False", "DefaultNotAllowed")
        line = 'workPools: [{name: "k", defaultNamespaces: ["flows"]}]'
        assert line in condition(sim, "ml")["message"]

    play(script, workPools=[])


def test_an_older_set_that_may_not_be_the_default_is_in_nobodys_way() -> None:
    """The first of those that may has the place."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("old", namespace="team", pools=[{"name": "k", "default": True}])
        await settled(sim)
        sim.cluster.apply("ml", pools=[{"name": "k", "default": True}])
        await settled(sim)
        variable = sim.prefect.pools["k"].template["variables"]["properties"]["dependency_set"]
        assert variable["default"] == "ml"
        assert sim.ready("ml") == ("True", "Ready")
        assert sim.ready("old", namespace="team") == ("False", "DefaultNotAllowed")

    play(script, workPools=[CLOSED | {"namespaces": ["*"], "defaultNamespaces": ["flows"]}])


# What a pool gives


def test_a_pool_that_does_not_admit_a_set_gives_it_nothing() -> None:
    """Neither its image nor its namespaces, nor the variables of its install container, in which a
    password may be."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("secret-jobs")
        sim.prefect.make("k", namespace="secret-jobs")
        sim.cluster.pods.images["registry.example.com/own:1"] = MemoryImage()
        bodies = []
        create = sim.cluster.pods.create

        def keep(body: dict[str, Any]) -> dict[str, Any]:
            bodies.append(body)
            return create(body)

        sim.cluster.pods.create = keep  # type: ignore[method-assign]
        sim.cluster.apply("bare", pools=["k"], python={})
        own = {"image": "registry.example.com/own:1"}
        sim.cluster.apply("own", pools=["k"], python=own)
        await settled(sim)
        assert condition(sim, "bare", "Resolved")["reason"] == "ImageUnknown"
        assert sim.pins("own")
        assert sim.cluster.pods.made == {"probe": 1, "verify": 1}
        assert len(bodies) == 2
        assert "hunter2" not in str(bodies)
        for name in ("bare", "own"):
            status = sim.cluster.sets["flows", name]["status"]
            assert status["workPools"][0]["namespaces"] == []
            assert IMAGE not in str(status)
        assert all(not one["metadata"].get("finalizers") for one in sim.cluster.sets.values())

    env = [{"name": "HTTPS_PROXY", "value": "http://me:hunter2@proxy.example.com"}]
    play(script, workPools=[CLOSED | {"namespaces": ["team"], "install": {"env": env}}])


def test_a_pod_has_the_variables_of_the_first_pool_that_admits_its_set() -> None:
    """Not of the first that the set names."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("a")
        sim.prefect.make("b")
        sim.cluster.pods.images["registry.example.com/own:1"] = MemoryImage()
        seen = []
        create = sim.cluster.pods.create

        def keep(body: dict[str, Any]) -> dict[str, Any]:
            seen.append(str(body))
            return create(body)

        sim.cluster.pods.create = keep  # type: ignore[method-assign]
        own = {"image": "registry.example.com/own:1"}
        sim.cluster.apply("ml", pools=["a", "b"], python=own)
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
        assert any("of-b" in one for one in seen)
        assert not any("of-a" in one for one in seen)

    pools = [
        {
            "name": name,
            "namespaces": [who],
            "install": {"env": [{"name": "X", "value": f"of-{name}"}]},
        }
        for name, who in (("a", "team"), ("b", "flows"))
    ]
    play(script, workPools=pools)


def test_a_set_that_is_not_admitted_calls_no_pool() -> None:
    """However often it changes, the pool that refused it is not read for it again."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            sim.passes.clear()
            for number in range(20):
                sim.cluster.apply("x", namespace="team", pools=["k"], requirements=[f"a{number}"])
                await asyncio.sleep(MINUTE)
            assert sim.passes["team/x"] >= 20
            assert sim.passes["work pool k"] <= 3, "once for it, and each 10 minutes by itself"
            assert sim.ready("x", namespace="team") == ("False", "NotAdmitted")
            sim.cluster.delete("x", namespace="team")
            await asyncio.sleep(MINUTE)
            assert ("team", "x") not in sim.cluster.sets

    play(script, workPools=[CLOSED])
