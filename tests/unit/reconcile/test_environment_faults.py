"""Environments that go, or that runs cannot pull: they are made again, and no run waits twice for
the same reason."""

import asyncio
from typing import Any

import pytest

from tests.unit.reconcile.environments import (
    CONFIG,
    FIRST,
    IMAGE,
    MINUTE,
    built,
    delivery,
    prepare,
    told,
)
from tests.unit.reconcile.simulation import Body, MemoryImage, Simulation
from tests.unit.reconcile.test_life import DAY, HOUR, play, settled


def _condition(sim: Simulation) -> tuple[str, str]:
    found = sim.condition("ml", "Built")
    return found["reason"], found["message"]


async def _mounting(sim: Simulation, namespace: str, *, within: int) -> Body:
    """The next pod there that mounts an environment."""
    for _ in range(within):
        for (where, name), (body, _) in sim.cluster.pods.pods.items():
            if where == namespace and name.startswith("flowdeps-mount"):
                return body
        await asyncio.sleep(1)
    raise AssertionError("no pod mounts anything")


# One that is not there any more


def test_an_environment_that_is_gone_is_made_again() -> None:
    """Until then runs install and the set says so; then they have the same one, by its digest."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            reference = await built(sim)
            sim.registry.deleted.add(reference)
            sim.cluster.fail_pull("jobs", reference, why="manifest unknown")
            await asyncio.sleep(10)
            assert _condition(sim)[0] == "PullFailed"
            seen = set[tuple[str, str]]()
            for _ in range(5 * MINUTE):
                await asyncio.sleep(1)
                seen.add(_condition(sim))
            assert "Building" in {reason for reason, _ in seen}
            assert any("not in its registry any more" in message for _, message in seen)
            assert sim.cluster.pods.made["build"] == 2
            assert told(sim)["ml"] == reference
            assert _condition(sim)[0] == "Built"
        await settled(sim)
        assert sim.cluster.pods.made["build"] == 2

    play(script, **CONFIG)


def test_one_that_went_while_nobody_looked_is_made_again() -> None:
    """The pod that proves a line finds out."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            reference = await built(sim)
        sim.registry.deleted.add(reference)
        sim.cluster.delete_told("jobs")
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            assert sim.cluster.pods.made["build"] == 2
            assert told(sim)["ml"] == reference

    play(script, **CONFIG)


def test_one_that_is_never_found_is_made_again_ever_more_rarely() -> None:
    """Some registries say so of what somebody may not see."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            reference = await built(sim)
            sim.registry.keeps = False
            sim.registry.deleted.add(reference)
            sim.cluster.fail_pull("jobs", reference)
            await asyncio.sleep(DAY)
            assert 3 <= sim.cluster.pods.made["build"] <= 9
            assert told(sim) == {}
            assert "not found" in _condition(sim)[1]
            sim.registry.keeps = True
            await asyncio.sleep(2 * DAY)
            assert told(sim)["ml"] == reference

    play(script, **CONFIG)


def test_the_environment_of_a_lock_that_is_not_in_service_is_not_made_again() -> None:
    """Runs of that revision install."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            first = await built(sim)
            second = await built(sim, requirements=["beta"])
            sim.registry.deleted.add(first)
            sim.cluster.fail_pull("jobs", first)
            await asyncio.sleep(HOUR)
            assert sim.cluster.pods.made["build"] == 2
            assert set(told(sim).values()) == {second}

    play(script, **CONFIG)


# One that cannot be pulled where runs are


def test_a_pull_secret_that_is_missing_where_runs_are_hangs_no_run() -> None:
    """The pod that proves a line is in the namespace of runs, in the operator's image."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        sim.cluster.pods.unpullable.add("jobs *")
        async with sim.operator():
            sim.cluster.apply("ml", pools=["k"], python={"image": IMAGE}, interval="0s")
            body = await _mounting(sim, "jobs", within=3 * MINUTE)
            [container] = body["spec"]["containers"]
            assert container["image"] == CONFIG["environments"]["image"]
            await asyncio.sleep(DAY)
            assert told(sim) == {}
            assert delivery(sim) == ["Install"]
            assert "authorization failed" in _condition(sim)[1]
            assert sim.cluster.pods.made["build"] == 1
            sim.cluster.pods.unpullable.clear()
            await asyncio.sleep(2 * HOUR)
            assert "ml" in told(sim)

    play(script, **CONFIG)


def test_a_proof_after_a_failed_pull_has_the_pull_secrets_of_that_run() -> None:
    """Before, it has those of the pool's template."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        template = dict(sim.prefect.pools["k"].template)
        pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
        pod["imagePullSecrets"] = [{"name": "registry-pull"}]
        async with sim.operator():
            sim.cluster.apply("ml", pools=["k"], python={"image": IMAGE}, interval="0s")
            body = await _mounting(sim, "jobs", within=3 * MINUTE)
            assert body["spec"]["imagePullSecrets"] == [{"name": "registry-pull"}]
            await asyncio.sleep(MINUTE)
            sim.cluster.run_pod("jobs", choice="ml", pool="k")
            run = sim.cluster.pods.pods["jobs", "run"][0]
            run["spec"]["imagePullSecrets"] = [{"name": "another"}]
            sim.cluster.fail_pull("jobs", told(sim)["ml"], why="authorization failed")
            body = await _mounting(sim, "jobs", within=3 * MINUTE)
            assert body["spec"]["imagePullSecrets"] == [{"name": "another"}]

    play(script, **CONFIG)


@pytest.mark.parametrize("name", ["", "..", "../secrets/x", "nobody", "x" * 4000])
def test_an_event_may_name_any_pod(name: str) -> None:
    """Nothing else is read by it, and the failed pull counts all the same."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator() as service:
            reference = await built(sim)
            sim.cluster.fail_pull("jobs", reference, pod=name)
            await asyncio.sleep(10)
            assert told(sim) == {}
            assert service.context.deliveries.failed["jobs", reference].pull_secrets is None

    play(script, **CONFIG)


def test_where_no_pod_of_ours_may_run_one_beside_the_set_proves_it_once() -> None:
    """After a pull of a run has failed, that proves nothing, and the set says so."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        sim.cluster.pods.closed.add("jobs")
        async with sim.operator():
            reference = await built(sim)
            assert told(sim)["ml"] == reference
            sim.cluster.fail_pull("jobs", reference, why="authorization failed")
            await asyncio.sleep(DAY)
            assert told(sim) == {}
            reason, message = _condition(sim)
            assert reason == "PullFailed"
            assert "nor can a pod there: a pod in the flow's image was refused" in message
            sim.cluster.pods.closed.clear()
            await asyncio.sleep(2 * HOUR)
            assert told(sim)["ml"] == reference

    play(script, **CONFIG)


def test_a_proof_that_was_wrong_counts_ever_less() -> None:
    """As of a node of its own kind: a day has at most four runs that wait."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            reference = await built(sim)
            waiting = 0
            for _ in range(DAY // 10):
                if told(sim):
                    waiting += 1
                    sim.cluster.fail_pull("jobs", reference, why="connection refused")
                await asyncio.sleep(10)
            assert 3 <= waiting <= 4

    play(script, **CONFIG)


# Turns and use


def test_a_proof_waits_for_no_trial() -> None:
    """However long the pods of sets take, and however many there are."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        slow = "registry.example.com/slow:1"
        sim.cluster.pods.images[slow] = MemoryImage(hangs=True)
        async with sim.operator():
            reference = await built(sim)
            for number in range(12):
                team = ("flows", "team")[number % 2]
                python = {"image": f"{slow}{number}"}
                sim.cluster.pods.images[python["image"]] = MemoryImage(hangs=True)
                sim.cluster.apply(f"s{number}", namespace=team, pools=["k"], python=python)
            await asyncio.sleep(MINUTE)
            sim.cluster.delete_told("jobs")
            await asyncio.sleep(MINUTE)
            assert told(sim)["ml"] == reference

    play(script, **CONFIG)


@pytest.mark.parametrize("lacks", ["a policy", "a pool", "a node"])
def test_nothing_is_built_that_no_run_could_get(lacks: str) -> None:
    """The set says what is missing, and once that is there, it is built."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        pools: Any = {"pools": [] if lacks == "a pool" else ["k"]}
        if lacks == "a policy":
            sim.cluster.policies.clear()
        if lacks == "a node":
            sim.cluster.nodes = {"old": "containerd://1.7.27"}
        async with sim.operator():
            sim.cluster.apply("ml", python={"image": IMAGE}, interval="0s", **pools)
            await asyncio.sleep(10 * MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            reason, message = _condition(sim)
            assert reason == "NotBuilt"
            words = {
                "a policy": "there is no MutatingAdmissionPolicy",
                "a pool": "spec.workPools is empty",
                "a node": "old (containerd://1.7.27)",
            }
            assert words[lacks] in message
            assert sim.cluster.pods.made["build"] == 0
            sim.cluster.policies = {"flowdeps-environments"}
            sim.cluster.nodes = {"node-1": "containerd://2.1.4"}
            sim.cluster.apply("ml", python={"image": IMAGE}, interval="0s", pools=["k"])
            await asyncio.sleep(10 * MINUTE)
            assert _condition(sim)[0] == "Built"
            assert sim.cluster.pods.images[IMAGE].id == FIRST
            assert sim.cluster.pods.made["build"] == 1

    play(script, **CONFIG)
