"""What others make with flowdeps' labels or names: it counts for nothing, and stays theirs."""

import asyncio
import copy
from collections.abc import Mapping
from typing import Any

import pytest

from flowdeps.api.names import REVISION_LABEL, SET_LABEL, mounted_name, set_labels
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.reconcile.dependency_set.retention import GRACE
from tests.unit.reconcile.simulation import Body, Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, play, settled


def forge(
    sim: Simulation, namespace: str, name: str, labels: Mapping[str, str] | None = None, **data: str
) -> None:
    """Somebody makes a ConfigMap that says it is of the set flows/ml."""
    sim.cluster.namespaces.add(namespace)
    sim.cluster.put_foreign_map(namespace, name, data or {"lock.json": "{}"})
    meta = sim.cluster.maps[namespace, name]["metadata"]
    meta["labels"] = {**set_labels(namespace="flows", name="ml"), **(labels or {})}


def revisions(sim: Simulation, name: str = "ml") -> list[str]:
    """The revisions that the status lists."""
    return [one["name"] for one in sim.cluster.sets["flows", name]["status"]["revisions"]]


@pytest.mark.parametrize("revision", ["0123456789", "a b) , x in (y", "x" * 63])
def test_labels_forged_elsewhere_stop_no_pruning(revision: str) -> None:
    """Neither a name that no selector may hold, nor a namespace whose pods nobody may list, nor an
    object that may not be deleted keeps the set's own old revisions."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        list_pods, delete = sim.cluster.list_pods, sim.cluster.delete_config_map

        async def strict(*, namespaces: Any = (), selector: str) -> list[Body]:
            _, _, choices = selector.partition(" in (")
            for one in choices.removesuffix(")").split(", ") if choices else ():
                if not one.replace("-", "").replace(".", "").isalnum() or len(one) > 63:
                    raise ClusterError(400, "BadRequest", f"unable to parse requirement: {one}")
            if "hostile" in namespaces:
                raise ClusterError(403, "Forbidden", "may not list pods")
            return await list_pods(namespaces=namespaces, selector=selector)

        async def refuse(**given: Any) -> bool:
            if given["namespace"] == "hostile":
                raise ClusterError(403, "Forbidden", "may not delete")
            return await delete(**given)

        sim.cluster.list_pods = strict  # type: ignore[method-assign]
        sim.cluster.delete_config_map = refuse  # type: ignore[method-assign]
        spec: dict[str, Any] = {"pools": ["k"], "revisionHistoryLimit": 1}
        sim.cluster.apply("ml", **spec)
        await settled(sim)
        for name in (f"flowdeps-ml-{revision}", mounted_name(f"ml-{revision}", pool="k")):
            forge(sim, "hostile", name, {REVISION_LABEL: revision})
        async with sim.operator():
            for number in range(5):
                sim.cluster.apply("ml", requirements=[f"alpha{number}"], **spec)
                await asyncio.sleep(HOUR)
            assert len(revisions(sim)) == 2
            assert sim.ready("ml") == ("True", "Ready")
            own = [name for where, name in sim.cluster.maps if where == "flows"]
            assert len(own) == 2 * (1 + 2)

    play(script)


def test_what_somebody_runs_elsewhere_keeps_no_revision() -> None:
    """A pod that says that it has chosen a revision counts where runs of the set's pools are."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        spec: dict[str, Any] = {"pools": ["k"], "revisionHistoryLimit": 0}
        sim.cluster.apply("ml", **spec)
        await settled(sim)
        [first] = revisions(sim)
        body = sim.cluster.maps["flows", mounted_name(first, pool="k")]
        copied = copy.deepcopy(body)
        copied["metadata"] |= {"namespace": "hostile", "uid": "forged"}
        sim.cluster.namespaces.add("hostile")
        sim.cluster.maps["hostile", copied["metadata"]["name"]] = copied
        sim.cluster.run_pod("hostile", choice=first, pool="k")
        async with sim.operator():
            sim.cluster.apply("ml", requirements=["alpha"], **spec)
            await asyncio.sleep(HOUR)
            assert len(revisions(sim)) == 1
            assert first not in revisions(sim)

    play(script)


def test_what_only_looks_like_a_copy_is_not_deleted() -> None:
    """Somebody's ConfigMap that has got the labels, and even a name of ours, stays as it is, while
    the set lives and when it goes."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        theirs = {
            ("others", "settings"): {"settings.ini": "[a]"},
            ("others", "flowdeps-ml"): {"lock.json": '{"set": "team/ml", "key": "ml"}'},
            ("others", mounted_name("ml", pool="k")): {"note": "no lock at all"},
        }
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        for (namespace, name), data in theirs.items():
            forge(sim, namespace, name, None, **data)
        async with sim.operator():
            sim.cluster.apply("ml", pools=["k"], requirements=["alpha"])
            await asyncio.sleep(HOUR + GRACE)
            sim.cluster.delete("ml")
            await asyncio.sleep(HOUR + GRACE)
        assert ("flows", "ml") not in sim.cluster.sets
        left = {where: body["data"] for where, body in sim.cluster.maps.items()}
        assert left == theirs

    play(script)


def test_forged_labels_neither_call_the_pool_nor_make_history() -> None:
    """A revision of another namespace is in no status, and what comes and goes there changes
    nothing in the pool."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        status = copy.deepcopy(sim.cluster.sets["flows", "ml"]["status"])
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            sim.passes.clear()
            for number in range(5):
                forge(sim, "hostile", f"flowdeps-fake{number}")
                sim.cluster._tell(
                    "ADDED", "map", sim.cluster.maps["hostile", f"flowdeps-fake{number}"]
                )
                await asyncio.sleep(5)
            assert sim.passes["flows/ml"] >= 5
            assert sim.passes["work pool k"] == 0
            assert sim.cluster.sets["flows", "ml"]["status"] == status

    play(script)


# Names


@pytest.mark.parametrize("where", ["home", "copy"])
def test_what_somebody_else_made_meanwhile_is_not_written_over(where: str) -> None:
    """Between a look and a write the object is another's: the write is refused, and the next look
    says so."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("k", namespace="jobs")
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        place = (
            ("flows", "flowdeps-ml") if where == "home" else ("jobs", mounted_name("ml", pool="k"))
        )
        apply = sim.cluster.apply_config_map

        async def swap(body: Body) -> Body:
            if (body["metadata"]["namespace"], body["metadata"]["name"]) == place:
                sim.cluster.apply_config_map = apply  # type: ignore[method-assign]
                sim.cluster.maps.pop(place)  # and no watch tells
                sim.cluster.put_foreign_map(*place, {"theirs": "yes"})
            return await apply(body)

        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            sim.cluster.apply_config_map = swap  # type: ignore[method-assign]
            sim.cluster.apply("ml", pools=["k"], requirements=["alpha"])
            await asyncio.sleep(5 * MINUTE)
            assert sim.cluster.maps[place]["data"] == {"theirs": "yes"}
            assert sim.ready("ml") == ("False", "NameTaken")

    play(script)


def test_a_copy_that_went_unseen_is_written_again() -> None:
    """Its deletion was told by no watch, so the write names a version that is not there."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("k", namespace="jobs")
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            del sim.cluster.maps["jobs", mounted_name("ml", pool="k")]
            sim.cluster.apply("ml", pools=["k"], requirements=["alpha"])
            await asyncio.sleep(MINUTE)
            assert sim.pins("ml", namespace="jobs", pool="k") == "alpha==1.0"
            assert sim.ready("ml") == ("True", "Ready")

    play(script)


def test_copies_are_not_written_when_home_was_not() -> None:
    """A quota in the set's namespace refuses the new lock: no run gets it, and the revision in
    service stays."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("k", namespace="jobs")
        spec: dict[str, Any] = {"pools": ["k"], "revisionHistoryLimit": 0}
        sim.cluster.apply("ml", **spec)
        await settled(sim)
        apply = sim.cluster.apply_config_map
        before = {where: body["data"] for where, body in sim.cluster.maps.items()}

        async def full(body: Body) -> Body:
            if body["metadata"]["namespace"] == "flows":
                raise ClusterError(403, "Forbidden", "exceeded quota: maps")
            return await apply(body)

        async with sim.operator():
            sim.cluster.apply_config_map = full  # type: ignore[method-assign]
            sim.cluster.apply("ml", requirements=["alpha"], **spec)
            await asyncio.sleep(HOUR + GRACE)
            assert sim.ready("ml") == ("False", "Forbidden")
            assert {where: body["data"] for where, body in sim.cluster.maps.items()} == before
            sim.cluster.apply_config_map = apply  # type: ignore[method-assign]
            await asyncio.sleep(2 * HOUR)
            assert sim.ready("ml") == ("True", "Ready")
            assert sim.pins("ml", namespace="jobs", pool="k") == "alpha==1.0"

    play(script)


def test_a_trial_leaves_a_config_map_of_somebody_else_alone() -> None:
    """One that has the name of the facts about an image, or of a lock that is tried."""

    async def script(sim: Simulation) -> None:
        from tests.unit.reconcile.simulation import MemoryImage

        image = "registry.example.com/own:1"
        sim.cluster.pods.images[image] = MemoryImage()
        create, taken = sim.cluster.pods.create, []

        def seen(body: Body) -> Body:
            taken.append(body["metadata"]["name"])
            return create(body)

        sim.cluster.pods.create = seen  # type: ignore[method-assign]
        sim.cluster.apply("ml", python={"image": image})
        await settled(sim)
        [facts] = [name for _, name in sim.cluster.maps if name.startswith("flowdeps-image.")]
        [verified] = [name for name in taken if name.startswith("flowdeps-verify")]
        sim.cluster.maps.clear()
        for name in (facts, verified):
            sim.cluster.put_foreign_map("flows", name, {"theirs": "yes"})
        async with sim.operator():
            await asyncio.sleep(HOUR)
            assert sim.ready("ml") == ("False", "PodsFailed")
            for name in (facts, verified):
                assert sim.cluster.maps["flows", name]["data"] == {"theirs": "yes"}
            assert SET_LABEL not in str(sim.cluster.maps["flows", facts])

    play(script)
