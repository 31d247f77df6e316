"""Runs that mount environments from a claim are offered none that is not there."""

import asyncio
from typing import Any

import pytest

from flowdeps.api.config import parse_config
from flowdeps.api.names import mounted_name
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.delivery.choice import find
from flowdeps.delivery.methods.volume import mounts_claim
from tests.support.faults import Fault, Gate, at_write
from tests.unit.reconcile.environments import (
    CONFIG,
    IMAGE,
    MINUTE,
    SECOND,
    built,
    delivery,
    prepare,
    recorded,
    with_pool,
)
from tests.unit.reconcile.simulation import Simulation
from tests.unit.reconcile.test_life import play, settled

VOLUME = with_pool(delivery="Volume", volume={"claimName": "environments"})
AUTO = with_pool(volume={"claimName": "environments"})
LIVE = ("jobs", mounted_name("ml", pool="k"))


def directory(reference: str) -> str:
    """What an environment's directory is called."""
    return reference.rpartition("@")[2].replace(":", "-")


def served(sim: Simulation) -> str:
    """The directory that runs of the pool mount for the key; empty where there is none."""
    return str(sim.cluster.maps.get(LIVE, {}).get("data", {}).get("environment", ""))


def offered(sim: Simulation) -> tuple[bool, tuple[str, ...]]:
    """Whether the pool's template mounts the claim, and the keys that it offers."""
    live = find(sim.prefect.pools["k"].template)
    return (mounts_claim(live), live.keys) if live else (False, ())


def ready(sim: Simulation) -> Any:
    """The condition Ready of the set."""
    found = sim.cluster.sets["flows", "ml"]["status"]["conditions"]
    return next(one for one in found if one["type"] == "Ready")


def test_a_key_is_offered_once_its_environment_is_on_the_claim() -> None:
    """One pod puts it there, and neither time nor a restart asks another."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            reference = await built(sim)
            assert sim.cluster.pods.claims["jobs", "environments"] == {directory(reference)}
            assert served(sim) == directory(reference)
            assert offered(sim) == (True, ("ml",))
            assert delivery(sim) == ["Volume"]
            assert ready(sim)["status"] == "True"
            revisions = [
                body["data"]["environment"]
                for (namespace, name), body in sim.cluster.maps.items()
                if namespace == "jobs" and name != LIVE[1] and "requirements.txt" in body["data"]
            ]
            assert revisions == [directory(reference)]
            assert sim.cluster.pods.made["populate"] == 1
            await asyncio.sleep(60 * MINUTE)
        await settled(sim)
        assert sim.cluster.pods.made["populate"] == 1

    play(script, **VOLUME)


def test_the_earlier_lock_serves_until_the_new_one_is_on_the_claim() -> None:
    """A failure is said with its reason and what to do, and ends by itself."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            first = await built(sim)
            lock = sim.cluster.maps[LIVE]["data"]["digest"]
            sim.cluster.pods.claim_problem = "the claim is full"
            second = await built(sim, requirements=["beta"])
            assert second != first
            assert sim.cluster.maps[LIVE]["data"]["digest"] == lock
            assert served(sim) == directory(first)
            assert offered(sim) == (True, ("ml",))
            assert ready(sim)["status"] == "False"
            assert ready(sim)["reason"] == "PopulateFailed"
            assert "claim jobs/environments: the claim is full" in ready(sim)["message"]
            assert "does not start" not in ready(sim)["message"]  # it does, with the earlier lock
            sim.cluster.pods.claim_problem = ""
            await asyncio.sleep(60 * MINUTE)
            assert served(sim) == directory(second)
            assert ready(sim)["status"] == "True"

    play(script, **VOLUME)


def test_a_pod_that_is_refused_or_has_no_node_is_said() -> None:
    """A quota, and a claim that is missing or pending, keep nothing of what serves away."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            first = await built(sim)
            sim.cluster.pods.full.add("jobs")
            await built(sim, requirements=["beta"])
            await asyncio.sleep(5 * MINUTE)
            assert ready(sim)["reason"] == "PopulateFailed"
            assert "no node took the pod" in ready(sim)["message"]
            assert served(sim) == directory(first)

    play(script, **VOLUME)


def test_a_lock_without_environment_is_not_offered() -> None:
    """Nothing would install it, and the set says why."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            await built(sim, verify={"mode": "Disabled"})
            assert LIVE not in sim.cluster.maps
            assert offered(sim) == (False, ())
            assert ready(sim)["reason"] == "EnvironmentNeeded"
            assert "it was not tried in its image" in ready(sim)["message"]
            waits = 'a run that names "ml" does not start (CreateContainerConfigError)'
            assert waits in ready(sim)["message"]

    play(script, **VOLUME)


def test_an_environment_that_is_gone_before_it_is_on_the_claim_is_made_again() -> None:
    """Nobody has to change the set for it, and what runs have stays until then."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        sim.cluster.pods.claim_problem = "the claim is full"
        async with sim.operator():
            reference = await built(sim)
            assert served(sim) == ""
            sim.cluster.pods.claim_problem = ""
            sim.registry.deleted.add(reference)
            await asyncio.sleep(3 * 60 * MINUTE)
            assert reference not in sim.registry.deleted
            assert served(sim) == directory(reference)
            assert ready(sim)["status"] == "True"
            made = sim.cluster.pods.made["build"]
            await asyncio.sleep(24 * 60 * MINUTE)
            assert sim.cluster.pods.made["build"] == made == 2

    play(script, **VOLUME)


def test_another_environment_of_the_same_lock_takes_the_place_of_the_first() -> None:
    """As when the image has moved: copy and revision name what is on the claim."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            first = await built(sim)
            sim.cluster.pods.images[IMAGE].id = SECOND
            await asyncio.sleep(180 * MINUTE)
            assert served(sim) not in ("", directory(first))
            [revision] = sim.cluster.sets["flows", "ml"]["status"]["revisions"]
            where = ("jobs", mounted_name(revision["name"], pool="k"))
            assert sim.cluster.maps[where]["data"]["environment"] == served(sim)

    play(script, **VOLUME)


def test_a_pool_goes_over_to_its_claim_and_back() -> None:
    """Its template installs until all keys are there, and no key is ever missing from it."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            reference = await built(sim)
            assert offered(sim) == (False, ("ml",))
        sim.config = parse_config(VOLUME)
        sim.cluster.pods.claim_problem = "the claim is full"
        async with sim.operator():
            await asyncio.sleep(10 * MINUTE)
            assert offered(sim) == (False, ("ml",))
            assert delivery(sim) == ["Install"]
            sim.cluster.pods.claim_problem = ""
            await asyncio.sleep(60 * MINUTE)
            assert offered(sim) == (True, ("ml",))
            assert delivery(sim) == ["Volume"]
        sim.config = parse_config(with_pool(delivery="Install"))
        await settled(sim)
        assert offered(sim) == (False, ("ml",))
        assert delivery(sim) == ["Install"]
        assert served(sim) == directory(reference)  # pods of the former template may still start

    play(script, **CONFIG)


def test_a_pool_leaves_its_claim_for_a_cache_that_is_there() -> None:
    """Until then its runs have what they had."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            reference = await built(sim)
        sim.config = parse_config(with_pool(delivery="Cache", cache={"claimName": "cache"}))
        async with sim.operator():
            await asyncio.sleep(10 * MINUTE)
            assert ready(sim)["reason"] == "CacheUnavailable"
            assert offered(sim) == (True, ("ml",))
            assert served(sim) == directory(reference)
            sim.cluster.claims.add(("jobs", "cache"))
            await asyncio.sleep(10 * MINUTE)
            assert ready(sim)["status"] == "True"
            assert offered(sim) == (False, ("ml",))
            assert delivery(sim) == ["Cache"]

    play(script, **VOLUME)


@pytest.mark.parametrize(
    ("nodes", "way"), [("containerd://2.1.4", "Image"), ("containerd://1.7.27", "Volume")]
)
def test_auto_mounts_the_claim_where_admission_does_not_work(nodes: str, way: str) -> None:
    """The set says what a better way lacks."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        sim.cluster.nodes = {"node-1": nodes}
        async with sim.operator():
            await built(sim)
            await asyncio.sleep(10 * MINUTE)
            assert delivery(sim) == [way]
            assert offered(sim) == (way == "Volume", ("ml",))
            conditions = sim.cluster.sets["flows", "ml"]["status"]["conditions"]
            text = next(one["message"] for one in conditions if one["type"] == "Built")
            assert ("mounts a claim: nodes can't mount images" in text) == (way == "Volume")

    play(script, **AUTO)


def test_what_is_not_answered_changes_no_template() -> None:
    """An API server that says nothing of policies leaves a pool on its claim, over a restart."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        sim.cluster.policies.clear()
        async with sim.operator():
            await built(sim)
            await asyncio.sleep(10 * MINUTE)
            assert offered(sim) == (True, ("ml",))
            writes = dict(sim.prefect.writes)
        sim.cluster.policy_error = ClusterError(503, "x", "away")
        async with sim.operator():
            await asyncio.sleep(30 * MINUTE)
            assert offered(sim) == (True, ("ml",))
            assert sim.prefect.writes == writes
            assert delivery(sim) == ["Volume"]

    play(script, **AUTO)


def test_a_slow_claim_is_said() -> None:
    """From twice the time of a local disk on; a restart knows it too."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        sim.cluster.pods.slower = 2.64
        async with sim.operator():
            await built(sim)
        await settled(sim)
        conditions = sim.cluster.sets["flows", "ml"]["status"]["conditions"]
        text = next(one["message"] for one in conditions if one["type"] == "Built")
        assert "takes 2.6 times as long as from a local disk" in text

    play(script, **VOLUME)


@pytest.mark.parametrize("fault", [Fault.KILLED_AFTER, Fault.LOST])
def test_a_kill_at_any_write_ends_with_the_environment_on_the_claim(fault: Fault) -> None:
    """The next operator finishes, and no run is ever offered a directory that is not there."""
    for number in range(1, 100):
        ends = dict[str, int]()

        async def script(
            sim: Simulation, number: int = number, ends: dict[str, int] = ends
        ) -> None:
            prepare(sim)
            gate = Gate()
            async with sim.operator(gate):
                first = await built(sim)
                gate.arm(at_write(number, fault))
                sim.cluster.apply(
                    "ml",
                    pools=["k"],
                    python={"image": IMAGE},
                    interval="0s",
                    requirements=["beta"],
                )
                for _ in range(30):
                    await asyncio.sleep(MINUTE / 2)
                    claim = sim.cluster.pods.claims["jobs", "environments"]
                    assert served(sim) in {"", *claim}
                ends["writes"] = len(gate.writes)
            async with sim.operator():
                await asyncio.sleep(20 * MINUTE)
            assert served(sim) == directory(recorded(sim)) != directory(first)
            assert offered(sim) == (True, ("ml",))
            await settled(sim)

        play(script, **VOLUME)
        if ends["writes"] < number:
            break
    assert number > 4
