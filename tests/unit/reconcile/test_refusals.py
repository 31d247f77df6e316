"""What an API server refuses: it is told, tried again, and holds up nothing else."""

import asyncio
from typing import Any, cast

import pytest

from flowdeps.api.names import mounted_name
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.reconcile.dependency_set.retention import GRACE
from tests.unit.reconcile.simulation import Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, play, settled

DOWN = "failed calling webhook: no endpoints available"


def refuse(sim: Simulation, method: str, namespace: str, *, status: int = 500) -> None:
    """Writes of ConfigMaps in a namespace fail, until `accept`."""
    write = getattr(sim.cluster, method)

    async def refused(*args: Any, **given: Any) -> Any:
        where = args[0]["metadata"]["namespace"] if args else given["namespace"]
        if where == namespace:
            raise ClusterError(status, "InternalError", DOWN)
        return await write(*args, **given)

    setattr(sim.cluster, method, refused)


def accept(sim: Simulation, method: str) -> None:
    """Whatever was refused is accepted again."""
    delattr(sim.cluster, method)


def message(sim: Simulation, name: str = "ml") -> str:
    """The message of a set's Ready condition."""
    conditions = sim.cluster.sets["flows", name]["status"]["conditions"]
    return next(str(one["message"]) for one in conditions if one["type"] == "Ready")


@pytest.mark.parametrize("status", [422, 500, 503])
def test_a_write_that_fails_in_one_namespace_holds_up_no_other(status: int) -> None:
    """While a webhook of one job namespace is down, the set names the namespace and the error, and
    the pool whose jobs run elsewhere offers it; afterwards all is well."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces |= {"bad", "jobs"}
        sim.prefect.make("a", namespace="bad")
        sim.prefect.make("b", namespace="jobs")
        refuse(sim, "apply_config_map", "bad", status=status)
        async with sim.operator():
            sim.cluster.apply("ml", pools=["a", "b"])
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("False", "Publishing")
            name = mounted_name("ml", pool="a")
            assert message(sim).startswith(f"ConfigMap bad/{name} can't be written: {DOWN}")
            assert sim.pins("ml", namespace="jobs", pool="b") == "pandas==1.0"
            assert (sim.prefect.keys("a"), sim.prefect.keys("b")) == ([], ["ml"])
            accept(sim, "apply_config_map")
            await asyncio.sleep(HOUR)
            assert sim.ready("ml") == ("True", "Ready")
        await settled(sim)

    play(script)


@pytest.mark.parametrize("status", [429, 500])
def test_one_namespace_that_is_refused_for_now_keeps_no_other_waiting(status: int) -> None:
    """Nothing is said of it, as it may be over at any moment; the pool whose jobs run elsewhere
    offers the set. Where two namespaces are refused it is the API server, and no more is tried."""

    async def script(sim: Simulation) -> None:
        tried: list[str] = []
        busy, write = {"j1"}, sim.cluster.apply_config_map

        async def refused(body: Any) -> Any:
            tried.append(namespace := body["metadata"]["namespace"])
            if namespace in busy:
                raise ClusterError(status, "TooManyRequests", "not now")
            return await write(body)

        cast("Any", sim.cluster).apply_config_map = refused
        for number in range(1, 5):
            sim.cluster.namespaces.add(f"j{number}")
            sim.prefect.make(f"p{number}", namespace=f"j{number}")
        async with sim.operator():
            sim.cluster.apply("ml", pools=["p1", "p2"])
            await asyncio.sleep(5 * MINUTE)
            assert sim.prefect.keys("p2") == ["ml"]
            assert "not now" not in str(sim.cluster.sets["flows", "ml"]["status"])
            busy.add("j3")
            sim.cluster.apply("ml", pools=["p1", "p2", "p3", "p4"])
            await asyncio.sleep(5 * MINUTE)
            assert "j3" in tried
            assert "j4" not in tried
            busy.clear()
            await asyncio.sleep(HOUR)
            assert sim.ready("ml") == ("True", "Ready")
        await settled(sim)

    play(script)


def test_a_deletion_that_fails_is_told_and_keeps_no_pool_waiting() -> None:
    """A set moves to another pool, and its copy for the former can't be deleted: it says so, and
    the new pool offers it; afterwards the copy goes."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces |= {"bad", "jobs"}
        sim.prefect.make("a", namespace="bad")
        sim.prefect.make("b", namespace="jobs")
        async with sim.operator():
            sim.cluster.apply("ml", pools=["a"])
            sim.cluster.apply("other", pools=["b"], requirements=["alpha"])
            await asyncio.sleep(5 * MINUTE)
            refuse(sim, "delete_config_map", "bad")
            sim.cluster.apply("ml", pools=["b"])
            await asyncio.sleep(10 * MINUTE + GRACE)
            assert sim.prefect.keys("b") == ["ml", "other"]
            assert sim.ready("ml") == ("False", "Publishing")
            assert DOWN in message(sim)
            accept(sim, "delete_config_map")
            await asyncio.sleep(HOUR)
            assert sim.ready("ml") == ("True", "Ready")
            assert ("bad", mounted_name("ml", pool="a")) not in sim.cluster.maps
        await settled(sim)

    play(script)


def test_a_deletion_that_is_refused_is_told_and_given_up_in_the_end() -> None:
    """A policy keeps the copy in a job namespace: the status of the set and one event say so, all
    else goes, after some minutes the set goes, and the copy when it may."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces |= {"bad", "jobs"}
        sim.prefect.make("a", namespace="bad")
        sim.prefect.make("b", namespace="jobs")
        async with sim.operator():
            sim.cluster.apply("ml", pools=["a", "b"])
            await asyncio.sleep(5 * MINUTE)
            refuse(sim, "delete_config_map", "bad", status=403)
            sim.cluster.delete("ml")
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("False", "Forbidden")
            said = [text for _, _, text in sim.cluster.events if DOWN in text]
            assert [text.partition(":")[0] for text in said] == ["Forbidden"]
            assert {namespace for namespace, _ in sim.cluster.maps} == {"bad"}
            await asyncio.sleep(10 * MINUTE)
            assert not sim.cluster.sets
            assert "CleanupGivenUp" in sim.cluster.events[-1][2]
            accept(sim, "delete_config_map")
            await asyncio.sleep(10 * MINUTE)
            assert not sim.cluster.maps

    play(script)


def test_a_copy_that_somebody_changes_all_the_time_keeps_no_set() -> None:
    """Each deletion comes too late. It is tried a few times in a reconcile, and the set goes after
    some minutes; the copy goes when that ends."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("b", namespace="jobs")
        delete, tries = sim.cluster.delete_config_map, 0

        async def late(**given: Any) -> bool:
            nonlocal tries
            if given["namespace"] == "jobs":
                tries += 1
                assert tries <= 3 * (sim.passes["flows/ml"] + 1)
                sim.cluster.edit_map(given["namespace"], given["name"], other=str(tries))
            return await delete(**given)

        async with sim.operator():
            sim.cluster.apply("ml", pools=["b"])
            await asyncio.sleep(5 * MINUTE)
            cast("Any", sim.cluster).delete_config_map = late
            sim.cluster.delete("ml")
            await asyncio.sleep(1)
            sim.cluster.watch.connect(None)  # or each change would call the set at once
            await asyncio.sleep(20 * MINUTE)
            assert not sim.cluster.sets
            assert {namespace for namespace, _ in sim.cluster.maps} == {"jobs"}
            accept(sim, "delete_config_map")
            await asyncio.sleep(10 * MINUTE)
            assert not sim.cluster.maps

    play(script)


def test_an_outage_of_the_api_server_is_no_reason_to_give_up() -> None:
    """While nothing answers, nothing was refused: the set is deleted when the server is back."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("b", namespace="jobs")
        async with sim.operator():
            sim.cluster.apply("ml", pools=["b"])
            await asyncio.sleep(5 * MINUTE)
            refuse(sim, "delete_config_map", "jobs", status=0)
            sim.cluster.delete("ml")
            await asyncio.sleep(HOUR)
            assert sim.cluster.sets
            accept(sim, "delete_config_map")
            await asyncio.sleep(10 * MINUTE)
            assert not sim.cluster.sets
            assert not sim.cluster.maps
            assert not any("CleanupGivenUp" in text for _, _, text in sim.cluster.events)

    play(script)
