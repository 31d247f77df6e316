"""An upgrade from a version whose copies had no pool in their names: told by the simulation.

What such a version left is made from what this one makes (`as_before`).
"""

import asyncio
import json
import re
from typing import Any

import pytest

from flowdeps.api.names import CONTENT_ANNOTATION, MARKER, SET_LABEL, choice_of, mounted_name
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.delivery.choice import find
from flowdeps.reconcile.dependency_set.retention import GRACE
from flowdeps.state.store import content_hash
from tests.support.faults import Fault, Gate, at_write
from tests.unit.reconcile.simulation import OPEN, Simulation
from tests.unit.reconcile.test_authority import INDEX
from tests.unit.reconcile.test_life import HOUR, MINUTE, OUTAGE, play, settled
from tests.unit.reconcile.test_verdicts import rename_container

NAMED: dict[str, Any] = {"workPools": [OPEN | {"jobNamespaces": ["jobs"]}]}
"""A configuration that says where jobs run, and so where credentials may go."""
BEFORE = ("jobs", "flowdeps-x")
NOW = ("jobs", mounted_name("x", pool="k"))


def as_before(sim: Simulation) -> None:
    """Give everything the names that earlier versions gave, which knew of no pools."""
    for objects in (sim.cluster.maps, sim.cluster.secrets):
        for (namespace, name), body in list(objects.items()):
            if "." not in name or not (choice := choice_of(name)) or "image" in name:
                continue
            del objects[namespace, name]
            where = (namespace, mounted_name(choice))
            body["metadata"]["name"] = where[1]
            if "lock.json" in body["data"]:
                manifest = json.loads(body["data"]["lock.json"])
                del manifest["pool"]
                body["data"]["lock.json"] = json.dumps(manifest, indent=1) + "\n"
                hashed = {CONTENT_ANNOTATION: content_hash(body["data"])}
                body["metadata"]["annotations"] = {**body["metadata"]["annotations"], **hashed}
            objects.setdefault(where, body)  # a set's own was what its runs mounted, too
    for name, pool in sim.prefect.pools.items():
        text = re.sub(r"flowdeps-[0-9a-f]{10}\.\{\{", "flowdeps-{{", json.dumps(pool.template))
        template = json.loads(text)
        del template["variables"]["properties"]["dependency_set"][MARKER]["pool"]
        sim.prefect.edit(name, **template)
        live = find(template)
        assert live is not None
        assert live.pool == ""


async def stage(sim: Simulation, **changes: Any) -> None:
    """A set that an earlier version has published where its pool's jobs run, with credentials."""
    sim.cluster.namespaces.add("jobs")
    sim.prefect.make("k", namespace="jobs")
    sim.cluster.put_foreign_secret("flows", "index", {"username": "Y2k=", "password": "Y2k="})
    sim.cluster.apply("ml", pools=[{"name": "k", "key": "x"}], index=INDEX)
    for release in (1, 2):
        sim.index.release = release
        lines = ["alpha", f"beta{release}"]
        sim.cluster.apply(
            "ml", pools=[{"name": "k", "key": "x"}], index=INDEX, requirements=lines, **changes
        )
        await settled(sim)
    as_before(sim)
    assert BEFORE in sim.cluster.maps
    assert BEFORE in sim.cluster.secrets
    assert NOW not in sim.cluster.maps


def mounts(sim: Simulation, key: str, pool: str = "k") -> tuple[str, str]:
    """The ConfigMap that a run gets that chooses a key now."""
    template = sim.prefect.pools[pool].template
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    [name] = [v["configMap"]["name"] for v in pod["volumes"] if v["name"] == "flowdeps-lock"]
    namespace = template["variables"]["properties"]["namespace"]["default"]
    return namespace, name.replace("{{ dependency_set }}", key)


def names(sim: Simulation, namespace: str = "jobs") -> set[str]:
    """What there is of ours in a namespace."""
    found = {*sim.cluster.maps, *sim.cluster.secrets}
    return {name for where, name in found if where == namespace}


def test_copies_are_published_under_their_new_names_before_a_run_mounts_them() -> None:
    """At no moment does a run get nothing, neither one that is rendered now nor one that was before
    the upgrade; in the end nothing is left of the old names."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        before = sim.cluster.maps[BEFORE]["data"]
        async with sim.operator():
            renamed = 0.0
            for second in range(int(2 * GRACE)):
                await asyncio.sleep(1)
                assert sim.prefect.keys("k") == ["x"]
                there = sim.cluster.maps[mounts(sim, "x")]
                assert there["data"]["requirements.txt"] == before["requirements.txt"]
                assert mounts(sim, "x") in sim.cluster.secrets
                renamed = renamed or (second if mounts(sim, "x") == NOW else 0.0)
                if not renamed or second - renamed < GRACE - 5:
                    assert sim.cluster.maps[BEFORE]["data"] == before
                    assert BEFORE in sim.cluster.secrets
            assert 0 < renamed < MINUTE
        assert all("." in name for name in names(sim))
        assert json.loads(sim.cluster.maps[NOW]["data"]["lock.json"])["pool"] == "k"
        assert sim.ready("ml") == ("True", "Ready")
        await settled(sim)

    play(script, **NAMED)


def test_a_copy_with_an_old_name_stays_as_long_as_a_pod_mounts_it() -> None:
    """A run that waits for a node since before the upgrade; and after a failed pod for as long as
    its Job may start another."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        sim.cluster.run_pod("jobs", choice="x", pool="")
        async with sim.operator():
            await asyncio.sleep(5 * HOUR)
            assert BEFORE in sim.cluster.maps
            assert BEFORE in sim.cluster.secrets
            assert not [n for n in names(sim) if n.startswith("flowdeps-x-")]
            sim.cluster.end_pod("jobs", failed=True)
            await asyncio.sleep(GRACE - MINUTE)
            assert BEFORE in sim.cluster.maps
            await asyncio.sleep(10 * MINUTE)
            assert BEFORE not in sim.cluster.maps
            assert BEFORE not in sim.cluster.secrets

    play(script, **NAMED)


def test_a_pod_that_mounts_the_new_name_keeps_no_old_one() -> None:
    """Its label says the same key."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        sim.cluster.run_pod("jobs", choice="x", pool="k")
        async with sim.operator():
            await asyncio.sleep(GRACE + 5 * MINUTE)
        assert BEFORE not in sim.cluster.maps

    play(script, **NAMED)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_copy_that_cannot_be_published_keeps_the_others_waiting_for_a_while(
    restarts: bool,
) -> None:
    """The template keeps the old names as long as a key would fall out of it, ten minutes at most;
    when it can be published, the key comes back."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        sim.cluster.apply("other", pools=["k"], requirements=["gamma"])
        other = mounted_name("x", pool="k")
        write = sim.cluster.apply_config_map

        async def full(body: dict[str, Any]) -> dict[str, Any]:
            if body["metadata"]["name"] == other:
                sim.cluster.writes["refused"] += 1
                raise ClusterError(403, "Forbidden", "exceeded quota")
            return await write(body)

        sim.cluster.apply_config_map = full  # type: ignore[method-assign]
        for _ in range(1 + restarts):
            async with sim.operator():
                await asyncio.sleep(9 * MINUTE)
                assert sim.prefect.keys("k") == ["x"]
                assert mounts(sim, "x") == BEFORE
                assert sim.ready("ml") == ("False", "Forbidden")
        async with sim.operator():
            await asyncio.sleep(12 * MINUTE)
            assert sim.prefect.keys("k") == ["other"]
            del sim.cluster.apply_config_map
            await asyncio.sleep(HOUR)
            assert sim.prefect.keys("k") == ["other", "x"]
            assert mounts(sim, "x") == NOW
        await settled(sim)

    play(script, **NAMED)


@pytest.mark.parametrize(
    "changes",
    [{"suspend": True}, {"requirements": ["no good"]}, {"requirements": ["impossible"]}],
    ids=["suspended", "invalid", "impossible"],
)
def test_a_set_that_makes_no_lock_keeps_its_key(changes: dict[str, Any]) -> None:
    """What is in service is published under its new name all the same."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        sim.cluster.apply("ml", pools=[{"name": "k", "key": "x"}], index=INDEX, **changes)
        async with sim.operator():
            for _ in range(60):
                await asyncio.sleep(10)
                assert sim.prefect.keys("k") == ["x"]
                assert mounts(sim, "x") in sim.cluster.maps
            assert mounts(sim, "x") == NOW

    play(script, **NAMED)


def test_a_revision_that_runs_name_is_there_under_its_new_name() -> None:
    """All that were kept are; which of them deployments name, Prefect may not be able to say."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        kept = {name for name in names(sim) if name.startswith("flowdeps-x-")}
        assert len(kept) == 2
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            assert mounts(sim, "x") == NOW
            for name in kept:
                revision = sim.cluster.maps[mounts(sim, choice_of(name))]
                assert revision["immutable"]
                before = sim.cluster.maps["jobs", name]["data"]
                assert revision["data"]["requirements.txt"] == before["requirements.txt"]
                assert mounts(sim, choice_of(name)) in sim.cluster.secrets
        await settled(sim)

    play(script, **NAMED)


@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.LOST])
def test_no_end_of_an_operator_leaves_an_upgrade_half_done(fault: Fault) -> None:
    """At each write the operator ends, or hears no answer: a run that is rendered then gets what it
    should, and in the end all is as if nothing had happened."""
    ends = set[str]()

    async def script(sim: Simulation, number: int) -> bool:
        await stage(sim)
        gate = Gate(at_write(number, fault))
        async with sim.operator(gate):
            for _ in range(int(MINUTE)):
                await asyncio.sleep(1)
                assert sim.prefect.keys("k") == ["x"]
                assert mounts(sim, "x") in sim.cluster.maps
            await asyncio.sleep(GRACE + 5 * MINUTE)
        async with sim.operator():
            await asyncio.sleep(GRACE + 5 * MINUTE)
        await settled(sim)
        ends.add(json.dumps([sorted(names(sim)), sim.prefect.pools["k"].template]))
        return len(gate.writes) < number

    number, done = 0, False
    while not done:
        number += 1
        ended: list[bool] = []

        async def numbered(
            sim: Simulation, *, number: int = number, ended: list[bool] = ended
        ) -> None:
            ended.append(await script(sim, number))

        play(numbered, **NAMED)
        [done] = ended
    assert number > 10
    assert len(ends) == 1


def test_who_serves_a_key_is_the_same_after_an_upgrade() -> None:
    """While the operator was away, an older set has claimed the key."""

    async def script(sim: Simulation) -> None:
        sim.cluster.apply("old", namespace="team")
        await asyncio.sleep(MINUTE)
        await stage(sim)
        sim.cluster.apply("old", namespace="team", pools=[{"name": "k", "key": "x"}])
        async with sim.operator():
            await asyncio.sleep(HOUR)
        assert sim.cluster.maps[NOW]["metadata"]["labels"][SET_LABEL] == "ml"
        assert sim.ready("old", namespace="team") == ("False", "Conflict")
        await settled(sim)

    play(script, **NAMED)


def test_an_upgrade_without_prefect_leaves_what_runs_mount() -> None:
    """Nobody can ask where jobs run: the copies stay, and are renamed when Prefect is back."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        before = names(sim)
        sim.prefect.outage = OUTAGE
        async with sim.operator():
            await asyncio.sleep(5 * HOUR)
            assert names(sim) == before
            sim.prefect.outage = None
            await asyncio.sleep(GRACE + 5 * MINUTE)
        assert mounts(sim, "x") == NOW
        assert BEFORE not in sim.cluster.maps

    play(script, **NAMED)


def test_a_template_that_cannot_be_changed_keeps_what_its_runs_mount() -> None:
    """It has the old names until somebody mends it."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        rename_container(sim, "k", to="theirs")
        async with sim.operator():
            await asyncio.sleep(5 * HOUR)
            assert mounts(sim, "x") == BEFORE
            assert BEFORE in sim.cluster.maps
            rename_container(sim, "k", to="prefect-job")
            await asyncio.sleep(GRACE + 5 * MINUTE)
            assert mounts(sim, "x") == NOW
            assert BEFORE not in sim.cluster.maps

    play(script, **NAMED)


def test_a_set_waits_for_its_home_until_another_sets_old_copy_is_gone() -> None:
    """Under its name in its namespace, as another set's key was named for the jobs that run there:
    runs of before the upgrade get what they were to get, and then the set has its home."""

    async def script(sim: Simulation) -> None:
        await stage(sim)
        sim.cluster.namespaces.add("jobs")
        sim.cluster.apply("x", namespace="jobs", requirements=["alpha"])
        async with sim.operator():
            await asyncio.sleep(GRACE - MINUTE)
            assert sim.cluster.maps[BEFORE]["metadata"]["labels"][SET_LABEL] == "ml"
            assert sim.ready("x", namespace="jobs") == ("False", "Conflict")
            await asyncio.sleep(5 * MINUTE)
            assert sim.cluster.maps[BEFORE]["metadata"]["labels"][SET_LABEL] == "x"
            assert BEFORE not in sim.cluster.secrets
            assert sim.ready("x", namespace="jobs") == ("True", "Ready")
        await settled(sim)

    play(script, **NAMED)


def test_a_template_that_was_copied_from_another_pool_is_made_its_own() -> None:
    """First there are copies for the pool that it is in now."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        for pool in ("k", "l"):
            sim.prefect.make(pool, namespace="jobs")
        sim.cluster.apply("ml", pools=[{"name": "k", "key": "x"}])
        await settled(sim)
        sim.prefect.edit("l", **sim.prefect.pools["k"].template)
        sim.cluster.apply("ml", pools=[{"name": "k", "key": "x"}, {"name": "l", "key": "x"}])
        async with sim.operator():
            for _ in range(60):
                await asyncio.sleep(1)
                assert sim.prefect.keys("l") == ["x"]
                assert mounts(sim, "x", "l") in sim.cluster.maps
        assert mounts(sim, "x", "l") == ("jobs", mounted_name("x", pool="l"))

    play(script)


@pytest.mark.parametrize("how", ["moved", "renamed", "left"])
def test_what_a_set_has_left_stays_for_runs_of_before(how: str) -> None:
    """The pool's jobs run elsewhere, the set is offered by another pool, or by none any more."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces |= {"jobs", "more"}
        for pool in ("k", "l"):
            sim.prefect.make(pool, namespace="jobs")
        sim.cluster.apply("ml", pools=[{"name": "k", "key": "x"}])
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            if how == "moved":
                template = sim.prefect.pools["k"].template
                template["variables"]["properties"]["namespace"]["default"] = "more"
            else:
                pools = [{"name": "l", "key": "x"}] if how == "renamed" else []
                sim.cluster.apply("ml", pools=pools)
            await asyncio.sleep(MINUTE)
            if how != "left":
                pool = "l" if how == "renamed" else "k"
                assert mounts(sim, "x", pool) in sim.cluster.maps
                assert mounts(sim, "x", pool) != NOW
            assert NOW in sim.cluster.maps
            await asyncio.sleep(GRACE + MINUTE)
            assert NOW not in sim.cluster.maps
        await settled(sim)

    play(script)
