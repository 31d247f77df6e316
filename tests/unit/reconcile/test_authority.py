"""Where a set may write is decided by the configuration, pools and what it has; by no status."""

import asyncio
import base64
from typing import Any

import pytest

from flowdeps.api.names import mounted_name, set_labels
from flowdeps.state.store import content_hash
from tests.unit.reconcile.simulation import OPEN, Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, OUTAGE, play, settled

INDEX = {"url": "https://index.example.com/simple", "credentialsSecretRef": {"name": "index"}}


def stage(sim: Simulation) -> None:
    """A pool whose jobs run in a namespace of their own, and credentials of an index."""
    sim.cluster.namespaces |= {"jobs", "victim"}
    sim.prefect.make("k", namespace="jobs")
    encoded = {key: base64.b64encode(b"ci").decode() for key in ("username", "password")}
    sim.cluster.put_foreign_secret("flows", "index", encoded)


def objects(sim: Simulation, namespace: str) -> set[str]:
    """The ConfigMaps and Secrets in a namespace."""
    found = {*sim.cluster.maps, *sim.cluster.secrets}
    return {name for where, name in found if where == namespace}


@pytest.mark.parametrize("watched", [[], ["flows"]], ids=["cluster", "namespaces"])
def test_a_status_that_names_a_foreign_namespace_gets_nothing_written_there(
    watched: list[str],
) -> None:
    """Somebody has written that the jobs of the set's pool run in another team's namespace, and
    Prefect, which would know better, is away when an operator starts."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        sim.prefect.outage = OUTAGE
        [pool] = sim.cluster.sets["flows", "ml"]["status"]["workPools"]
        pool["namespaces"] = ["victim"]
        async with sim.operator():
            await asyncio.sleep(HOUR)
            sim.cluster.apply("ml", pools=["k"], requirements=["alpha"])
            await asyncio.sleep(HOUR)
            assert sim.pins("ml") == "alpha==1.0"
        assert objects(sim, "victim") == set()
        sim.prefect.outage = None
        await settled(sim)
        assert objects(sim, "victim") == set()
        assert sim.pins("ml", namespace="jobs", pool="k") == "alpha==1.0"

    play(script, watchNamespaces=watched)


@pytest.mark.parametrize("watched", [[], ["flows"]], ids=["cluster", "namespaces"])
def test_what_is_published_stays_while_nobody_knows_where_jobs_run(watched: list[str]) -> None:
    """After a start without Prefect the copies of a lock stay as they are, whatever becomes of the
    set, and follow it when Prefect answers."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        before = objects(sim, "jobs")
        assert len(before) == 2
        sim.prefect.outage = OUTAGE
        sim.cluster.apply("ml", pools=["k"], requirements=["alpha"])
        async with sim.operator():
            await asyncio.sleep(5 * HOUR)
            assert sim.pins("ml") == "alpha==1.0"
            assert objects(sim, "jobs") == before
            assert sim.pins("ml", namespace="jobs", pool="k") == "pandas==1.0"
            sim.prefect.outage = None
            await asyncio.sleep(10 * MINUTE)
            assert sim.pins("ml", namespace="jobs", pool="k") == "alpha==1.0"
        await settled(sim)

    play(script, watchNamespaces=watched)


def test_copies_follow_without_prefect_where_the_configuration_names_their_namespace() -> None:
    """Then the operator's own configuration decides, and Prefect has no say."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        sim.prefect.outage = OUTAGE
        async with sim.operator():
            sim.cluster.apply("ml", pools=["k"], requirements=["alpha"])
            await asyncio.sleep(5 * MINUTE)
            assert sim.pins("ml", namespace="jobs", pool="k") == "alpha==1.0"

    play(script, workPools=[OPEN | {"jobNamespaces": ["jobs"]}])


def test_a_guest_keeps_its_copy_while_its_pool_cannot_be_seen() -> None:
    """A pool runs its jobs where another set has its home, and offers a guest under that set's
    name. Both keep what they have when an operator starts that can't ask where the jobs run."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k", namespace="flows")
        guest: dict[str, Any] = {"namespace": "team", "pools": [{"name": "k", "key": "ml"}]}
        sim.cluster.apply("guest", **guest)
        sim.cluster.apply("ml", requirements=["alpha"])
        await settled(sim)
        before = objects(sim, "flows")
        sim.prefect.outage = OUTAGE
        async with sim.operator():
            await asyncio.sleep(HOUR)
            assert sim.pins("ml", pool="k") == "pandas==1.0"
            assert sim.pins("ml") == "alpha==1.0"
            assert sim.ready("ml") == ("True", "Ready")
        sim.prefect.outage = None
        await settled(sim)
        assert objects(sim, "flows") == before

    play(script)


def test_a_config_map_that_somebody_forged_draws_no_lock_and_no_secret() -> None:
    """One that has the labels of a set and its key, in a namespace of somebody else's: nothing of
    the set is written there, while Prefect is away and when it is back."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        sim.cluster.apply("ml", pools=["k"], index=INDEX)
        await settled(sim)
        data = {"requirements.txt": "", "lock.json": '{"credentials": true}', "digest": "x"}
        forged = mounted_name("ml", pool="k")
        sim.cluster.put_foreign_map("victim", forged, data)
        meta = sim.cluster.maps["victim", forged]["metadata"]
        meta["labels"] = set_labels(namespace="flows", name="ml")
        meta["annotations"] = {"flowdeps.dev/content": content_hash(data)}
        sim.prefect.outage = OUTAGE
        async with sim.operator():
            sim.cluster.apply("ml", pools=["k"], index=INDEX, requirements=["alpha"])
            await asyncio.sleep(HOUR)
            assert sim.pins("ml") == "alpha==1.0"
            assert sim.cluster.maps["victim", forged]["data"] == data
            assert ("victim", forged) not in sim.cluster.secrets
        sim.prefect.outage = None
        await settled(sim)
        assert objects(sim, "victim") == {forged}, "it is theirs"
        assert sim.cluster.maps["victim", forged]["data"] == data

    play(script, workPools=[OPEN | {"jobNamespaces": ["jobs"]}])


@pytest.mark.parametrize("watched", [[], ["flows"]], ids=["cluster", "namespaces"])
@pytest.mark.parametrize("pool", [{}, {"namespaces": ["team"]}, {"jobNamespaces": ["jobs"]}])
def test_a_forged_status_of_a_set_that_is_not_admitted_is_not_repeated(
    pool: dict[str, Any], watched: list[str]
) -> None:
    """It says that the set is synced in another team's namespace. Prefect is away when an operator
    starts: nothing is written there, the status no longer names it, and no image or variable of
    the pool is used."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        assert sim.ready("ml") == ("False", "NotAdmitted")
        sim.prefect.outage = OUTAGE
        status = sim.cluster.sets["flows", "ml"]["status"]
        forged = {"synced": True, "namespaces": ["victim", "jobs"], "message": ""}
        status["workPools"][0].update(forged)
        sim.cluster.apply("ml", pools=["k"], python={}, requirements=["alpha"])
        async with sim.operator():
            await asyncio.sleep(HOUR)
            assert objects(sim, "victim") == objects(sim, "jobs") == set()
            status = sim.cluster.sets["flows", "ml"]["status"]
            assert status["workPools"][0]["namespaces"] == []
            assert not status["workPools"][0]["synced"]
            assert sim.cluster.pods.made == {}
            assert sim.cluster.sets["flows", "ml"]["metadata"].get("finalizers", []) == []
        sim.prefect.outage = None
        await settled(sim)
        assert objects(sim, "victim") == objects(sim, "jobs") == set()
        assert sim.ready("ml")[1] in ("NotAdmitted", "ImageUnknown")

    play(script, workPools=[{"name": "k", "image": "x", **pool}], watchNamespaces=watched)
