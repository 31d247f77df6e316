"""`flowdeps cleanup` after an operator, where something is not as the operator left it."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from flowdeps.api.names import (
    EARLIER_ENVIRONMENTS,
    EARLIER_PURPOSE,
    ENVIRONMENTS,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    NAMESPACE_LABEL,
    OWNER_ANNOTATION,
    PURPOSE_LABEL,
    mounted_name,
)
from flowdeps.app.cleanup import Cleanup
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.prefect.client import Pools
from tests.unit.reconcile.simulation import OPEN, Simulation
from tests.unit.reconcile.test_life import MINUTE, play

INDEX = {"url": "https://index.example.com/simple", "credentialsSecretRef": {"name": "index"}}


POOLS = [OPEN | {"jobNamespaces": ["jobs"]}]


async def serve(sim: Simulation) -> None:
    """A set with credentials has copies where its pool's jobs run, then the operator goes."""
    sim.cluster.namespaces.add("jobs")
    sim.prefect.make("k", namespace="jobs")
    encoded = {key: base64.b64encode(b"ci").decode() for key in ("username", "password")}
    sim.cluster.put_foreign_secret("flows", "index", encoded)
    async with sim.operator():
        sim.cluster.apply("ml", pools=["k"], index=INDEX)
        await asyncio.sleep(MINUTE)
        sim.cluster.apply("ml", pools=["k"], index=INDEX, requirements=["alpha"])
        await asyncio.sleep(5 * MINUTE)
    assert {where for where, _ in sim.cluster.secrets} == {"flows", "jobs"}


async def clean_up(sim: Simulation, *, pools: bool = True) -> list[str]:
    """The command; returns what it says is left."""
    prefect = cast("Pools", sim.prefect) if pools else None
    cluster = cast("Cluster", sim.cluster)
    # By a configuration that says no more where jobs ran.
    run = Cleanup(replace(sim.config, work_pools=()), cluster, prefect, say=lambda _text: None)
    await run.run()
    return run.left


def left(sim: Simulation) -> set[tuple[str, str]]:
    """All ConfigMaps, Secrets and RunEnvironments but the team's own."""
    return {*sim.cluster.maps, *sim.cluster.secrets, *sim.cluster.told} - {("flows", "index")}


@pytest.mark.parametrize("watched", [[], ["flows"]], ids=["cluster", "namespaces"])
@pytest.mark.parametrize("what", ["maps", "pool", "both"])
def test_what_no_config_map_and_no_template_leads_to_goes_as_well(
    what: str, watched: list[str]
) -> None:
    """ConfigMaps that somebody deleted leave their Secrets behind, a pool that is gone does not say
    where its jobs ran: the status of the set does."""

    async def script(sim: Simulation) -> None:
        await serve(sim)
        if what != "pool":
            for namespace, name in list(sim.cluster.maps):
                sim.cluster.delete_map(namespace, name)
        if what != "maps":
            del sim.prefect.pools["k"]
        assert await clean_up(sim) == []
        assert left(sim) == set()

    play(script, workPools=POOLS, watchNamespaces=watched)


def test_without_prefect_the_copies_in_job_namespaces_go_too() -> None:
    """Where nobody asks Prefect, statuses say where jobs ran."""

    async def script(sim: Simulation) -> None:
        await serve(sim)
        assert await clean_up(sim, pools=False) == []
        assert left(sim) == set()

    play(script, workPools=POOLS, watchNamespaces=["flows"])


def test_a_secret_goes_that_an_earlier_version_named() -> None:
    """Its name had no pool, and its ConfigMap is gone: statuses lead to it."""

    async def script(sim: Simulation) -> None:
        await serve(sim)
        name = mounted_name("ml", pool="k")
        before = sim.cluster.secrets["jobs", mounted_name("ml")] = sim.cluster.secrets["jobs", name]
        before["metadata"]["name"] = mounted_name("ml")
        del sim.cluster.secrets["jobs", name]
        assert ("jobs", mounted_name("ml")) in left(sim)
        assert await clean_up(sim) == []
        assert left(sim) == set()

    play(script, workPools=POOLS, watchNamespaces=["flows"])


def test_a_secret_of_another_operator_stays() -> None:
    """In a shared job namespace it may have a name that a status of ours tells."""

    async def script(sim: Simulation) -> None:
        await serve(sim)
        sim.cluster.delete_map("jobs", mounted_name("ml", pool="k"))
        labels = {MANAGED_BY_LABEL: MANAGED_BY, NAMESPACE_LABEL: "elsewhere"}
        sim.cluster.secrets["jobs", mounted_name("ml", pool="k")]["metadata"]["labels"] = labels
        assert await clean_up(sim) == []
        assert left(sim) == {("jobs", mounted_name("ml", pool="k"))}

    play(script, workPools=POOLS, watchNamespaces=["flows"])


def test_a_namespace_that_is_not_ours_to_look_into_keeps_nothing() -> None:
    """A template, and so a status, may name any: what could not be written there is not there."""

    async def script(sim: Simulation) -> None:
        await serve(sim)
        for objects in (sim.cluster.maps, sim.cluster.secrets):
            for where in [one for one in objects if one[0] == "jobs"]:
                del objects[where]
        sim.cluster.unlistable = {"jobs"}
        get_secret = sim.cluster.get_secret

        async def forbidden(namespace: str, name: str) -> dict[str, Any] | None:
            if namespace == "jobs":
                raise ClusterError(403, "Forbidden", "may not get")
            return await get_secret(namespace, name)

        sim.cluster.get_secret = forbidden  # type: ignore[method-assign]
        assert await clean_up(sim) == []
        assert left(sim) == set()

    play(script, workPools=POOLS, watchNamespaces=["flows"])


def give(sim: Simulation, namespace: str, *, owner: str) -> None:
    """What an operator tells an admission policy of the environments of runs, and what an earlier
    version did."""
    line = {"image": "image", "reference": "reference", "lock": "lock"}
    sim.cluster.put_told(namespace, {"0123456789.ml": line}, owner=owner)
    give_earlier(sim, namespace, owner=owner)


def give_earlier(
    sim: Simulation, namespace: str, *, owner: str, name: str = EARLIER_ENVIRONMENTS
) -> None:
    """What an earlier version told it."""
    labels = {MANAGED_BY_LABEL: MANAGED_BY, PURPOSE_LABEL: EARLIER_PURPOSE}
    annotations = {OWNER_ANNOTATION: owner}
    metadata = {"name": name, "namespace": namespace, "uid": f"{namespace}-{name}"}
    more = {"resourceVersion": "1", "labels": labels, "annotations": annotations}
    sim.cluster.maps[namespace, name] = {
        "metadata": metadata | more,
        "data": {"0123456789.ml": "image reference lock"},
    }


@pytest.mark.parametrize("watched", [[], ["flows"]], ids=["cluster", "namespaces"])
@pytest.mark.parametrize("pools", [True, False], ids=["pools", "no pools"])
def test_what_gives_runs_their_environments_goes_first(watched: list[str], pools: bool) -> None:
    """Wherever jobs run, also where only templates or statuses say so; that of another operator,
    and what only has the label, stay."""

    async def script(sim: Simulation) -> None:
        await serve(sim)
        give(sim, "flows", owner=sim.config.owner)
        give(sim, "jobs", owner=sim.config.owner)
        stays = {("others", ENVIRONMENTS), ("others", EARLIER_ENVIRONMENTS)}
        sim.cluster.namespaces.add("others")
        give(sim, "others", owner="others/flowdeps")
        if watched:
            give_earlier(sim, "flows", owner=sim.config.owner, name="theirs")
            stays |= {("flows", "theirs")}
        gone = list[tuple[str, str]]()

        def noted(delete: Callable[..., Awaitable[bool]]) -> Callable[..., Awaitable[bool]]:
            async def note(*, namespace: str, name: str, **more: Any) -> bool:
                gone.append((namespace, name))
                return await delete(namespace=namespace, name=name, **more)

            return note

        cluster = cast("Any", sim.cluster)
        cluster.delete_config_map = noted(sim.cluster.delete_config_map)
        cluster.delete_environments = noted(sim.cluster.delete_environments)
        assert await clean_up(sim, pools=pools) == []
        first = [(where, ENVIRONMENTS) for where in ("flows", "jobs")]
        second = [(where, EARLIER_ENVIRONMENTS) for where in ("flows", "jobs")]
        assert (set(gone[:2]), set(gone[2:4])) == ({*first}, {*second})
        assert len(gone) > 4
        assert left(sim) == stays

    play(script, workPools=POOLS, watchNamespaces=watched)
