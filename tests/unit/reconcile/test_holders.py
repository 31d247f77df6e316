"""A key stays with the set that serves it, whatever others claim, and whatever ends in between."""

import asyncio
from typing import Any

import pytest

from flowdeps.api.names import SET_LABEL, mounted_name
from flowdeps.delivery.choice import find
from flowdeps.state import fragments
from tests.support.faults import Fault, Gate, at_write
from tests.unit.reconcile.simulation import OPEN, Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, OUTAGE, play, settled

COPY = ("jobs", mounted_name("x", pool="a"))


async def stage(sim: Simulation) -> None:
    """Pools whose jobs share a namespace, and a set of another team that is older than all others
    and offers itself to none of them."""
    sim.cluster.namespaces.add("jobs")
    for pool in ("a", "b"):
        sim.prefect.make(pool, namespace="jobs")
    sim.cluster.apply("idle", namespace="team", requirements=["evil"])
    await asyncio.sleep(MINUTE)


def offer(sim: Simulation, name: str, pool: str = "a", **changes: Any) -> None:
    """kubectl apply of a set that offers itself under the key x."""
    sim.cluster.apply(name, pools=[{"name": pool, "key": "x"}], **changes)


def claim(sim: Simulation, pool: str = "a") -> None:
    """The idle set wants the key, too."""
    offer(sim, "idle", pool, namespace="team", requirements=["evil"])


def serves(sim: Simulation, where: tuple[str, str] = COPY) -> str:
    """The set whose lock is in a ConfigMap."""
    return str(sim.cluster.maps[where]["metadata"]["labels"][SET_LABEL])


def message(sim: Simulation) -> str:
    """Why the idle set is not Ready."""
    conditions = sim.cluster.sets["team", "idle"]["status"]["conditions"]
    return next(str(one["message"]) for one in conditions if one["type"] == "Ready")


def test_an_older_set_that_claims_a_served_key_is_in_conflict() -> None:
    """It is told who serves the key and what to do, and no byte of what runs mount changes, also
    when operators start anew."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        async with sim.operator():
            offer(sim, "ml")
            await asyncio.sleep(MINUTE)
            before = sim.cluster.maps[COPY]
            claim(sim)
            await asyncio.sleep(HOUR)
        await settled(sim)
        assert sim.cluster.maps[COPY] == before
        assert sim.ready("ml") == ("True", "Ready")
        assert sim.ready("idle", namespace="team") == ("False", "Conflict")
        assert 'the set flows/ml serves the key "x" of work pool a' in message(sim)
        assert "choose another key" in message(sim)
        assert sim.prefect.keys("a") == ["x"]

    play(script)


def test_a_holder_stays_while_prefect_is_away() -> None:
    """Nobody can ask where jobs run when the operator starts: what is there decides."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        offer(sim, "ml")
        await settled(sim)
        before = sim.cluster.maps[COPY]
        claim(sim)
        sim.prefect.outage = OUTAGE
        async with sim.operator():
            await asyncio.sleep(HOUR)
            assert sim.cluster.maps[COPY] == before
            sim.prefect.outage = None
            await asyncio.sleep(HOUR)
        assert sim.cluster.maps[COPY] == before
        assert sim.ready("idle", namespace="team") == ("False", "Conflict")

    play(script)


@pytest.mark.parametrize("watched", [[], ["flows", "team"]], ids=["cluster", "namespaces"])
@pytest.mark.parametrize("what", ["live", "all"])
def test_a_copy_that_is_deleted_by_hand_comes_back_to_its_holder(
    what: str, watched: list[str]
) -> None:
    """While the operator looks, and while it is away, as long as a revision of it is left."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        async with sim.operator():
            offer(sim, "ml")
            await asyncio.sleep(MINUTE)
            claim(sim)
            await asyncio.sleep(MINUTE)
            sim.cluster.delete_map(*COPY)
            await asyncio.sleep(15 * MINUTE)
            assert serves(sim) == "ml"
        sim.cluster.delete_map(*COPY)
        if what == "all":
            [revision] = [name for place, name in sim.cluster.maps if place == "jobs"]
            sim.cluster.delete_map("jobs", revision)
        async with sim.operator():
            await asyncio.sleep(HOUR)
        # With nothing of it left the place is free, and the oldest set has it.
        assert serves(sim) == ("idle" if what == "all" else "ml")

    play(script, watchNamespaces=watched)


def test_a_holder_stays_where_the_pools_jobs_move() -> None:
    """The place in the new namespace is not free for others."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        sim.cluster.namespaces.add("more")
        offer(sim, "ml")
        await settled(sim)
        claim(sim)
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            template = sim.prefect.pools["a"].template
            template["variables"]["properties"]["namespace"]["default"] = "more"
            await asyncio.sleep(5 * MINUTE)
            assert serves(sim, ("more", COPY[1])) == "ml"
            assert sim.ready("ml") == ("True", "Ready")
            assert sim.ready("idle", namespace="team") == ("False", "Conflict")

    play(script)


@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.LOST])
def test_no_end_of_an_operator_changes_who_serves(fault: Fault) -> None:
    """A set claims the key while its holder gets another lock: at each write the operator ends, or
    hears no answer. What runs mount was always the holder's, and the pool always offered it."""

    async def script(sim: Simulation, number: int) -> bool:
        await stage(sim)
        offer(sim, "ml")
        await settled(sim)
        claim(sim)
        offer(sim, "ml", requirements=["alpha"])
        gate = Gate(at_write(number, fault))
        async with sim.operator(gate):
            for _ in range(int(5 * MINUTE)):
                await asyncio.sleep(1)
                assert serves(sim) == "ml"
                assert sim.prefect.keys("a") == ["x"]
        await settled(sim)
        assert serves(sim) == "ml"
        assert sim.pins("x", namespace="jobs", pool="a") == "alpha==1.0"
        assert sim.ready("idle", namespace="team") == ("False", "Conflict")
        return len(gate.writes) < number

    number, done = 0, False
    while not done:
        number += 1
        ended: list[bool] = []

        async def numbered(
            sim: Simulation, number: int = number, ended: list[bool] = ended
        ) -> None:
            ended.append(await script(sim, number))

        play(numbered)
        [done] = ended
    assert number > 5


def test_a_holder_that_is_no_longer_admitted_leaves_its_place() -> None:
    """Whoever runs flowdeps takes a namespace off the pool's list."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        offer(sim, "ml")
        await settled(sim)
        claim(sim)
        sim.config = Simulation(workPools=[{**OPEN, "namespaces": ["team"]}]).config
        async with sim.operator():
            await asyncio.sleep(HOUR)
        assert serves(sim) == "idle"
        assert sim.ready("ml") == ("False", "NotAdmitted")

    play(script)


def test_pools_whose_jobs_share_a_namespace_share_no_copy() -> None:
    """Two sets have one key in two pools: each pool's runs get what that pool offers."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        offer(sim, "ml")
        claim(sim, "b")
        await settled(sim)
        assert sim.ready("ml") == sim.ready("idle", namespace="team") == ("True", "Ready")
        assert sim.pins("x", namespace="jobs", pool="a") == "pandas==1.0"
        assert sim.pins("x", namespace="jobs", pool="b") == "evil==1.0"

    play(script)


def test_a_run_that_names_a_key_of_another_pool_gets_nothing() -> None:
    """Prefect's scheduler and worker check no enum: what the template of pool b makes of a key, or
    a revision, that only pool a offers is a name that nobody but a set in pool b can write."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        offer(sim, "ml")
        sim.cluster.apply("other", pools=["b"])
        await settled(sim)
        manifest = sim.prefect.pools["b"].template["job_configuration"]["job_manifest"]
        volumes = {one["name"]: one for one in manifest["spec"]["template"]["spec"]["volumes"]}
        named = volumes["flowdeps-lock"]["configMap"]["name"]
        assert named.replace("{{ dependency_set }}", "other") == mounted_name("other", pool="b")
        revision = sim.cluster.sets["flows", "ml"]["status"]["revisions"][0]["digest"][7:17]
        for choice in ("x", f"x-{revision}", "ml", COPY[1].removeprefix("flowdeps-")):
            assert ("jobs", COPY[1]) in sim.cluster.maps
            assert ("jobs", named.replace("{{ dependency_set }}", choice)) not in sim.cluster.maps

    play(script)


def test_no_set_writes_what_a_pool_mounts_by_its_name() -> None:
    """In the namespace of the jobs somebody names a set as nearly like the copy as names allow."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        offer(sim, "ml")
        await settled(sim)
        before = sim.cluster.maps[COPY]
        like = COPY[1].removeprefix("flowdeps-").replace(".", "-")
        for name in (like, "x"):
            sim.cluster.apply(name, namespace="jobs", requirements=["evil"])
        await settled(sim)
        for name in (like, "x"):
            assert sim.ready(name, namespace="jobs") == ("True", "Ready")
        assert sim.cluster.maps[COPY] == before

    play(script)


def test_the_default_of_a_pool_stays_with_its_set() -> None:
    """An older set that says `default: true` later does not get the runs that choose nothing, also
    when an operator starts anew; it does when the other gives it up."""

    def ask(sim: Simulation, name: str, namespace: str, *, default: bool = True) -> None:
        sim.cluster.apply(name, namespace=namespace, pools=[{"name": "a", "default": default}])

    def default(sim: Simulation) -> str:
        live = find(sim.prefect.pools["a"].template)
        return live.default if live else ""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        ask(sim, "ml", "flows")
        await settled(sim)
        ask(sim, "idle", "team")
        await settled(sim)
        assert default(sim) == "ml"
        assert sim.ready("idle", namespace="team") == ("False", "Conflict")
        assert "the set flows/ml is the pool's default" in message(sim)
        ask(sim, "ml", "flows", default=False)
        await settled(sim)
        assert default(sim) == "idle"

    play(script)


def test_a_template_takes_no_more_keys_than_a_server_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it offers stays, and an older set that asks for one more key is told."""
    monkeypatch.setattr(fragments, "_MOST_KEY_BYTES", len('["s0"]["s1"]["s2"]'))

    async def script(sim: Simulation) -> None:
        await stage(sim)
        for number in range(3):
            sim.cluster.apply(f"s{number}", pools=["a"])
        await settled(sim)
        claim(sim)
        await settled(sim)
        assert sim.prefect.keys("a") == ["s0", "s1", "s2"]
        assert sim.ready("s2") == ("True", "Ready")
        assert sim.ready("idle", namespace="team") == ("False", "PoolFull")
        assert "the pool offers 3 keys" in message(sim)
        sim.cluster.delete("s1")
        await settled(sim)
        assert sim.prefect.keys("a") == ["s0", "s2", "x"]
        assert sim.ready("idle", namespace="team") == ("True", "Ready")

    play(script)
