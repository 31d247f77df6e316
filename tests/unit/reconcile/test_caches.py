"""Pools whose runs keep what they installed: offered where runs can mount the cache."""

import asyncio
from typing import Any

import pytest

from flowdeps.api.config import parse_config
from flowdeps.clients.kubernetes.errors import ClusterError
from tests.unit.delivery.samples import pod_of
from tests.unit.reconcile.environments import built, delivery, prepare, told, with_pool
from tests.unit.reconcile.simulation import OPEN, Simulation
from tests.unit.reconcile.test_life import MINUTE, play, settled
from tests.unit.reconcile.test_locks import conditions

CLAIM: dict[str, Any] = {"delivery": "Cache", "cache": {"claimName": "cache"}}
HOST: dict[str, Any] = {
    "delivery": "Cache",
    "jobNamespaces": ["jobs"],
    "cache": {"hostPath": "/var/cache/flowdeps"},
}


def start(sim: Simulation) -> None:
    """A set for a pool whose runs are in a namespace of their own."""
    sim.cluster.namespaces.add("jobs")
    sim.prefect.make("k", namespace="jobs")
    sim.cluster.apply("ml", pools=["k"])


def volumes(sim: Simulation) -> list[str]:
    found = pod_of(dict(sim.prefect.pools["k"].template)).get("volumes") or []
    return [one["name"] for one in found]


def test_a_pool_with_a_cache_says_so_and_has_no_environment() -> None:
    """The template has the volume, the status says how runs get the packages, and `Built` says why
    nothing is built."""

    async def script(sim: Simulation) -> None:
        start(sim)
        sim.cluster.claims.add(("jobs", "cache"))
        await settled(sim)
        assert sim.ready("ml")[0] == "True"
        assert "flowdeps-cache" in volumes(sim)
        assert delivery(sim) == ["Cache"]
        state, reason, message = conditions(sim)["Built"]
        assert (state, reason) == ("Unknown", "NotBuilt")
        assert "from their pool's cache" in message
        sim.config = parse_config({"workPools": [OPEN]})
        await settled(sim)
        assert "flowdeps-cache" not in volumes(sim)
        assert "flowdeps-site" in volumes(sim)
        assert delivery(sim) == [""]

    play(script, workPools=[{**OPEN, **CLAIM}])


def test_a_pool_without_its_claim_is_refused_until_it_is_there() -> None:
    """Its pods would never start. The set names the claim; the pool is tried again by itself."""

    async def script(sim: Simulation) -> None:
        start(sim)
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("False", "CacheUnavailable")
            message = conditions(sim)["Ready"][2]
            assert "no PersistentVolumeClaim cache" in message
            assert "namespace jobs" in message
            assert volumes(sim) == []
            sim.cluster.claims.add(("jobs", "cache"))
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml")[0] == "True"
            assert "flowdeps-cache" in volumes(sim)

    play(script, workPools=[{**OPEN, **CLAIM}])


def test_a_claim_that_goes_is_noticed() -> None:
    """Runs that start then wait for it, and the set says so, until it is there again."""

    async def script(sim: Simulation) -> None:
        start(sim)
        sim.cluster.claims.add(("jobs", "cache"))
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml")[0] == "True"
            sim.cluster.claims.clear()
            await asyncio.sleep(2 * MINUTE)
            assert sim.ready("ml") == ("False", "CacheUnavailable")
            sim.cluster.claims.add(("jobs", "cache"))
            await asyncio.sleep(2 * MINUTE)
            assert sim.ready("ml")[0] == "True"

    play(script, workPools=[{**OPEN, **CLAIM}])


@pytest.mark.parametrize("level", ["", "privileged", "baseline", "restricted", "sometime"])
def test_a_directory_of_the_node_needs_a_namespace_that_allows_it(level: str) -> None:
    """By its Pod Security; a level that nobody knows allows nothing."""

    async def script(sim: Simulation) -> None:
        start(sim)
        labels = {"pod-security.kubernetes.io/enforce": level} if level else {}
        sim.cluster.namespace_labels_of["jobs"] = labels
        await settled(sim)
        if level in {"", "privileged"}:
            assert sim.ready("ml")[0] == "True"
            assert "flowdeps-cache" in volumes(sim)
        else:
            assert sim.ready("ml") == ("False", "CacheUnavailable")
            message = conditions(sim)["Ready"][2]
            assert f"pod-security.kubernetes.io/enforce={level}" in message
            assert "claimName" in message
            assert volumes(sim) == []

    play(script, workPools=[{**OPEN, **HOST}])


@pytest.mark.parametrize(("settings", "offered"), [(CLAIM, True), (HOST, False)])
def test_what_may_not_be_read(settings: dict[str, Any], offered: bool) -> None:
    """A claim is believed to be there; that a namespace allows directories of nodes is not."""

    async def script(sim: Simulation) -> None:
        start(sim)
        sim.cluster.storage_error = ClusterError(403, "Forbidden", "may not get")
        await settled(sim)
        assert (sim.ready("ml")[0] == "True") is offered
        if not offered:
            assert "grant the operator get on namespaces" in conditions(sim)["Ready"][2]

    play(script, workPools=[{**OPEN, **settings}])


def test_what_a_template_offers_stays_while_its_pool_is_refused() -> None:
    """As it was before the configuration named a cache: runs install."""

    async def script(sim: Simulation) -> None:
        start(sim)
        await settled(sim)
        assert sim.prefect.keys("k") == ["ml"]
        sim.config = parse_config({"workPools": [{**OPEN, **CLAIM}]})
        await settled(sim)
        assert sim.ready("ml") == ("False", "CacheUnavailable")
        assert sim.prefect.keys("k") == ["ml"]
        assert "flowdeps-cache" not in volumes(sim)

    play(script, workPools=[OPEN])


def test_runs_with_a_cache_are_given_no_environment() -> None:
    """Where the set has one for another pool: the policy leaves them alone, by the lines too."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        sim.cluster.claims.add(("jobs", "cache"))
        async with sim.operator():
            await built(sim)
            assert "ml" in told(sim)
        sim.config = parse_config(with_pool(**CLAIM))
        await settled(sim)
        assert "ml" not in told(sim)
        assert delivery(sim) == ["Cache"]

    play(script, **with_pool())
