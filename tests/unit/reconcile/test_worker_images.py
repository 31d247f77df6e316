"""Pools whose template names no image, and what is said of workers: told by the simulation."""

import asyncio
from typing import Any

import pytest

from flowdeps.clients.prefect.client import Pool, Workers
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.delivery.kinds.kubernetes import merge
from tests.unit.delivery.samples import flow_of, fragment, prefect_template
from tests.unit.delivery.samples import pool as pool_template
from tests.unit.reconcile.simulation import MemoryImage, Simulation
from tests.unit.reconcile.test_life import DAY, HOUR, MINUTE, OUTAGE, play, settled
from tests.unit.reconcile.test_locks import conditions, status

OWN = "registry.example.com/own:1"
UNCONFIGURED: dict[str, Any] = {"workPools": [{"name": "*", "namespaces": ["*"]}]}


def of_worker(version: str, python: str = "3.11") -> str:
    return f"prefecthq/prefect:{version}-python{python}"


def without_image(sim: Simulation, *versions: str) -> None:
    """A pool whose template names no image, and the images that its workers may choose."""
    sim.prefect.make("k", **prefect_template())
    for version in versions:
        sim.cluster.pods.images[of_worker(version)] = MemoryImage(packages={"prefect": version})


def default_image(sim: Simulation) -> Any:
    return sim.prefect.pools["k"].template["variables"]["properties"]["image"].get("default")


def said(sim: Simulation, name: str = "ml") -> str:
    """What the set says of its pool."""
    [pool] = status(sim, name)["workPools"]
    return str(pool.get("message", ""))


def test_such_a_pool_works_out_of_the_box() -> None:
    """Its runs get what their worker would choose, the lock is for that image, the set says both,
    and a removal leaves the template as it was."""

    async def script(sim: Simulation) -> None:
        without_image(sim, "3.9.1")
        before = sim.prefect.pools["k"].template
        sim.cluster.apply("ml", pools=["k"], python={})
        await settled(sim)
        assert sim.ready("ml") == ("True", "Ready")
        assert default_image(sim) == of_worker("3.9.1") == status(sim)["image"]["name"]
        note = f"runs that name no image get {of_worker('3.9.1')}, as their worker would choose"
        assert said(sim) == note
        assert conditions(sim)["PoolsSynced"][2] == f'work pool "k": {note}'
        assert note in conditions(sim)["Ready"][2]
        assert "write that into spec.python.image" in conditions(sim)["Ready"][2]
        async with sim.operator():
            sim.cluster.delete("ml")
            await asyncio.sleep(5 * MINUTE)
        assert sim.prefect.pools["k"].template == before

    play(script, **UNCONFIGURED)


def test_it_is_said_before_anything_is_resolved() -> None:
    """While a pod still looks at the image, which may not even be there."""

    async def script(sim: Simulation) -> None:
        without_image(sim)
        sim.cluster.apply("ml", pools=["k"], python={})
        async with sim.operator():
            await asyncio.sleep(3)
            assert sim.index.resolved == []
            assert conditions(sim)["Resolved"][1] == "Probing"
            assert "if deployments name theirs" in conditions(sim)["Resolved"][2]
            assert "; runs that name no image get prefecthq/" in said(sim)

    play(script, **UNCONFIGURED)


@pytest.mark.parametrize(
    ("config", "image"),
    [({"image": OWN}, OWN), ({"workerPython": "3.13"}, of_worker("3.9.1", "3.13"))],
)
def test_it_can_be_configured(config: dict[str, str], image: str) -> None:
    """An image of its own, which is nothing to be told, or the Python of the worker."""

    async def script(sim: Simulation) -> None:
        without_image(sim)
        sim.cluster.pods.images[image] = MemoryImage()
        sim.cluster.apply("ml", pools=["k"], python={})
        await settled(sim)
        assert default_image(sim) == image == status(sim)["image"]["name"]
        assert ("their worker" in said(sim)) == (image != OWN)

    play(script, workPools=[{"name": "k", **config}])


def test_the_image_of_the_set_counts_for_its_lock_alone() -> None:
    """Deployments name it; what runs get that choose nothing is as without us."""

    async def script(sim: Simulation) -> None:
        without_image(sim)
        sim.cluster.pods.images[OWN] = MemoryImage()
        sim.cluster.apply("ml", pools=["k"], python={"image": OWN})
        await settled(sim)
        assert default_image(sim) == of_worker("3.9.1")
        assert status(sim)["image"]["name"] == OWN
        assert "its runs that choose the set must name that one" in conditions(sim)["Ready"][2]

    play(script, **UNCONFIGURED)


def test_a_pool_that_names_an_image_comes_before_one_whose_worker_chooses() -> None:
    """Of the set's pools, in whatever order: somebody has said what the flows run in."""

    async def script(sim: Simulation) -> None:
        without_image(sim)
        sim.prefect.make("named", **pool_template(image=OWN))
        sim.cluster.pods.images[OWN] = MemoryImage()
        sim.cluster.apply("ml", pools=["k", "named"], python={})
        await settled(sim)
        assert status(sim)["image"]["name"] == OWN

    play(script, **UNCONFIGURED)


def test_an_upgrade_of_the_workers_is_followed() -> None:
    """The image is that of the newest worker that tells its version, then of the next, and the
    lock is made anew before the template is written, once."""

    async def script(sim: Simulation) -> None:
        without_image(sim, "3.8.8", "3.9.2", "3.10.0")
        sim.prefect.workers_of["k"] = Workers(versions={"a": "3.8.8"}, server="3.9.2")
        sim.cluster.apply("ml", pools=["k"], python={})
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            assert default_image(sim) == of_worker("3.8.8")
            both = {"a": "3.9.2", "b": "3.10.0"}
            sim.prefect.workers_of["k"] = Workers(versions=both, server="3.9.2")
            written = sim.prefect.writes["k"]
            seen = set()
            for _ in range(20 * MINUTE):
                seen.add((default_image(sim), status(sim)["image"]["name"]))
                await asyncio.sleep(1)
            assert (of_worker("3.10.0"), of_worker("3.8.8")) not in seen
            await asyncio.sleep(HOUR)
            assert default_image(sim) == of_worker("3.10.0")
            assert sim.prefect.writes["k"] == written + 1
            assert sim.ready("ml") == ("True", "Ready")
            await asyncio.sleep(DAY)
            assert sim.prefect.writes["k"] == written + 1

    play(script, **UNCONFIGURED)


def test_an_image_that_cannot_be_had_holds_the_template_up_for_minutes_only() -> None:
    """The set says so and its runs get what they would get without us."""

    async def script(sim: Simulation) -> None:
        without_image(sim, "3.8.8")
        sim.prefect.workers_of["k"] = Workers(versions={"a": "3.8.8"}, server="3.8.8")
        sim.cluster.apply("ml", pools=["k"], python={})
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            sim.prefect.workers_of["k"] = Workers(versions={"a": "3.9.2"}, server="3.8.8")
            await asyncio.sleep(HOUR)
            assert default_image(sim) == of_worker("3.9.2")
            assert sim.ready("ml")[0] == "False"
            assert f"{of_worker('3.9.2')} is what the worker takes" in conditions(sim)["Ready"][2]
            assert sim.pins("ml")

    play(script, **UNCONFIGURED)


def test_a_worker_of_which_prefect_tells_no_longer_is_remembered() -> None:
    """Its events are lost among those of others: the newest worker stays the newest, and neither
    the template nor the lock goes to and fro."""

    async def script(sim: Simulation) -> None:
        without_image(sim, "3.8.8", "3.10.0")
        told = {"busy": "3.8.8", "idle": "3.10.0"}

        async def workers(pool: Pool, known: Workers) -> Workers:  # noqa: ARG001
            await asyncio.sleep(0.005)
            found = Workers(versions={**known.versions, **told}, server="3.9.1")
            told.pop("idle", None)
            return found

        sim.prefect.workers = workers  # type: ignore[method-assign]
        sim.cluster.apply("ml", pools=["k"], python={})
        async with sim.operator():
            await asyncio.sleep(HOUR)
        assert default_image(sim) == of_worker("3.10.0")
        assert sim.prefect.writes["k"] == 1

    play(script, **UNCONFIGURED)


def test_workers_that_prefect_does_not_tell_of_change_nothing() -> None:
    """What was known of them still holds, and a pool without an image waits for an answer."""

    async def script(sim: Simulation) -> None:
        without_image(sim, "3.9.1")
        sim.cluster.apply("ml", pools=["k"], python={})
        workers = sim.prefect.workers

        async def away(pool: Pool, known: Workers) -> Workers:  # noqa: ARG001
            raise PoolsError(OUTAGE.reason, str(OUTAGE))

        sim.prefect.workers = away  # type: ignore[method-assign]
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("False", "ImageUnknown")
            sim.prefect.workers = workers  # type: ignore[method-assign]
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            sim.prefect.workers = away  # type: ignore[method-assign]
            await asyncio.sleep(HOUR)
            assert sim.ready("ml") == ("True", "Ready")
        assert sim.prefect.writes["k"] == 1

    play(script, **UNCONFIGURED)


def test_what_flowdeps_template_chose_stays() -> None:
    """Helm writes its output again and again: another default would be a contest."""

    async def script(sim: Simulation) -> None:
        without_image(sim, "3.8.8")
        sim.cluster.apply("ml", pools=["k"], python={})
        of_command = fragment(keys=("ml",), descriptions={}, default_image=of_worker("3.8.8"))
        sim.prefect.edit("k", **merge(sim.prefect.pools["k"].template, of_command))
        await settled(sim)
        assert default_image(sim) == of_worker("3.8.8")
        assert sim.ready("ml") == ("True", "Ready")

    play(script, **UNCONFIGURED)


@pytest.mark.parametrize("kind", ["isolated", "old"])
def test_what_ails_a_pools_runs_is_said_of_its_sets(kind: str) -> None:
    """A Python that ignores its environment, an old worker: in the status while it waits and when
    it is Ready, and no longer once it is mended."""
    says = {"isolated": "starts Python with -I", "old": "old-one has Prefect 3.4.20"}[kind]

    async def script(sim: Simulation) -> None:
        template = pool_template()
        if kind == "isolated":
            flow_of(template)["command"] = ["python", "-I", "-m", "prefect.engine"]
        sim.prefect.make("k", **template)
        if kind == "old":
            versions = {"old-one": "3.4.20", "new": "3.9.1"}
            sim.prefect.workers_of["k"] = Workers(versions=versions, server="3.9.1")
        sim.index.seconds = 60
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(10)
            assert says in said(sim)
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            assert says in said(sim)
            assert says in conditions(sim)["PoolsSynced"][2]
            assert says in conditions(sim)["Ready"][2]
            sim.prefect.workers_of.clear()
            template = dict(sim.prefect.pools["k"].template)
            flow_of(template).pop("command", None)
            sim.prefect.edit("k", **template)
            await asyncio.sleep(15 * MINUTE)
            assert said(sim) == ""
            assert says not in conditions(sim)["Ready"][2]

    play(script)
