"""A key that goes from one set to another: what was the one's stays behind for nobody else."""

import asyncio
import base64
from typing import Any

import pytest

from flowdeps.api.names import SET_LABEL, mounted_name
from flowdeps.reconcile.dependency_set.retention import GRACE
from tests.unit.reconcile.simulation import OPEN, Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, play, settled

INDEX = {"url": "https://index.example.com/simple", "credentialsSecretRef": {"name": "index"}}
COPY = ("jobs", mounted_name("x", pool="a"))

POOLS = [OPEN | {"jobNamespaces": ["jobs"]}]


def stage(sim: Simulation) -> None:
    """A pool whose jobs have a namespace of their own, and each team has credentials."""
    sim.cluster.namespaces.add("jobs")
    sim.prefect.make("a", namespace="jobs")
    data = {"username": "ci", "password": "hunter2"}
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    for namespace in ("flows", "team"):
        sim.cluster.put_foreign_secret(namespace, "index", encoded)


def apply(sim: Simulation, name: str, key: str = "x", **changes: Any) -> None:
    """kubectl apply of a set that offers itself to the pool under a key."""
    sim.cluster.apply(name, pools=[{"name": "a", "key": key}], **changes)


def leave(sim: Simulation, how: str) -> None:
    """The first set lets its key go."""
    if how == "deleted":
        sim.cluster.delete("first")
    else:
        apply(sim, "first", "y", index=INDEX)


@pytest.mark.parametrize("killed", [False, True], ids=["", "killed"])
@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_credentials_of_a_set_never_pass_to_who_takes_its_key_over(how: str, killed: bool) -> None:
    """When another team's set, which has no credentials, gets the key, the Secret of the former one
    is gone before, also where the operator is killed in between."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        apply_map, left = sim.cluster.apply_config_map, []

        async def look(body: dict[str, Any]) -> dict[str, Any]:
            if body["metadata"]["labels"][SET_LABEL] == "second":
                where = (body["metadata"]["namespace"], body["metadata"]["name"])
                left.append(where in sim.cluster.secrets)
                if killed and where == COPY:
                    await asyncio.Event().wait()
            return await apply_map(body)

        async with sim.operator():
            apply(sim, "first", index=INDEX)
            await asyncio.sleep(MINUTE)
            apply(sim, "second", namespace="team")
            await asyncio.sleep(MINUTE)
            assert COPY in sim.cluster.secrets
            sim.cluster.apply_config_map = look  # type: ignore[method-assign]
            leave(sim, how)
            await asyncio.sleep(HOUR)
        sim.cluster.apply_config_map = apply_map  # type: ignore[method-assign]
        await settled(sim)
        assert sim.ready("second", namespace="team") == ("True", "Ready")
        assert "x" in sim.prefect.keys("a")
        assert left
        assert not any(left)
        assert COPY not in sim.cluster.secrets

    play(script, workPools=POOLS)


@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_who_takes_a_key_over_has_its_own_credentials(how: str) -> None:
    """Equal credentials are still two sets' Secrets: the one that takes over gets one of its own,
    which stays when the former set goes."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        async with sim.operator():
            apply(sim, "first", index=INDEX)
            await asyncio.sleep(MINUTE)
            apply(sim, "second", namespace="team", index=INDEX)
            await asyncio.sleep(MINUTE)
            leave(sim, how)
            await asyncio.sleep(MINUTE)
            sim.cluster.delete("first")
            await asyncio.sleep(MINUTE)
        await settled(sim)
        assert sim.ready("second", namespace="team") == ("True", "Ready")
        assert sim.cluster.secrets[COPY]["metadata"]["labels"][SET_LABEL] == "second"

    play(script, workPools=POOLS)


@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_what_was_taken_over_is_not_deleted_with_the_former_set(how: str) -> None:
    """The former set deletes what it had while the other writes its own there: slow as both may be,
    the other's ConfigMap and Secret stay."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        delete_map, apply_map = sim.cluster.delete_config_map, sim.cluster.apply_config_map
        deleted = []

        async def slow_delete(**given: Any) -> bool:
            await asyncio.sleep(0.5)
            body = sim.cluster.maps.get((given["namespace"], given["name"]))
            gone = await delete_map(**given)
            if body and (given["namespace"], given["name"]) not in sim.cluster.maps:
                deleted.append((given["name"], body["metadata"]["labels"][SET_LABEL]))
            return gone

        async def slow_apply(body: dict[str, Any]) -> dict[str, Any]:
            await asyncio.sleep(0.2)
            return await apply_map(body)

        async with sim.operator():
            apply(sim, "first", index=INDEX, requirements=["alpha"])
            await asyncio.sleep(MINUTE)
            apply(sim, "second", namespace="team", index=INDEX)
            await asyncio.sleep(5 * MINUTE)
            sim.cluster.delete_config_map = slow_delete  # type: ignore[method-assign]
            sim.cluster.apply_config_map = slow_apply  # type: ignore[method-assign]
            leave(sim, how)
            await asyncio.sleep(GRACE + MINUTE)
            assert deleted
            assert not [name for name, holder in deleted if holder == "second"]
            assert sim.pins("x", namespace="jobs", pool="a") == "pandas==1.0"
            assert COPY in sim.cluster.secrets
        sim.cluster.delete_config_map = delete_map  # type: ignore[method-assign]
        await settled(sim)

    play(script, workPools=POOLS)


def test_a_copy_that_somebody_touched_is_deleted_all_the_same() -> None:
    """What nobody watches may be of a newer version than was seen, and still of the same set."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        async with sim.operator():
            apply(sim, "first")
            await asyncio.sleep(MINUTE)
            sim.cluster.edit_map(*COPY, note="theirs")
            sim.cluster.delete("first")
            await asyncio.sleep(MINUTE)
            assert not sim.cluster.maps

    play(script, workPools=POOLS, watchNamespaces=["flows"])


def test_a_secret_that_is_written_while_its_key_changes_hands_is_nobodys() -> None:
    """The former set's write is on its way, and slow, when the other takes the key over: what runs
    of that one mount is at no moment beside the former one's credentials."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        apply_secret, begun = sim.cluster.apply_secret, asyncio.Event()

        async def slow(body: dict[str, Any]) -> dict[str, Any]:
            if (body["metadata"]["namespace"], body["metadata"]["name"]) == COPY:
                begun.set()
                await asyncio.sleep(20)
            return await apply_secret(body)

        def holder(objects: dict[tuple[str, str], Any]) -> str:
            body = objects.get(COPY)
            return str(body["metadata"]["labels"][SET_LABEL]) if body else ""

        async with sim.operator():
            apply(sim, "first", index=INDEX)
            await asyncio.sleep(MINUTE)
            apply(sim, "second", namespace="team")
            await asyncio.sleep(MINUTE)
            del sim.cluster.secrets[COPY]
            sim.cluster.apply_secret = slow  # type: ignore[method-assign]
            await begun.wait()
            leave(sim, "renamed")
            seen = set()
            for _ in range(1200):
                await asyncio.sleep(0.1)
                seen.add((holder(sim.cluster.maps), holder(sim.cluster.secrets)))
            assert ("second", "first") not in seen
            assert ("second", "") in seen
            assert sim.ready("second", namespace="team") == ("True", "Ready")
        await settled(sim)

    play(script, workPools=POOLS)


def test_a_secret_that_nothing_leads_to_passes_to_nobody() -> None:
    """Somebody deleted the ConfigMap beside it, and then its set went: who gets the key next
    doesn't get what was left."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        async with sim.operator():
            apply(sim, "first", index=INDEX)
            await asyncio.sleep(MINUTE)
            apply(sim, "second", namespace="team")
            await asyncio.sleep(MINUTE)
        assert COPY in sim.cluster.secrets
        sim.cluster.maps.pop(COPY)
        sim.cluster.sets.pop(("flows", "first"))
        await settled(sim)
        assert sim.cluster.maps[COPY]["metadata"]["labels"][SET_LABEL] == "second"
        assert COPY not in sim.cluster.secrets

    play(script, workPools=POOLS)
