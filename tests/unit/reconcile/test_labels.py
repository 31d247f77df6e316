"""Pods get sets by their label alone: without Prefect, and with one word of the operator that the
label means something where they are."""

import asyncio
import base64
from typing import Any

import pytest

from flowdeps.api.config import parse_config
from flowdeps.api.names import ENVIRONMENTS, mounted_name
from flowdeps.api.reasons import Reason
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.reconcile.runs_namespace.lines import labels_key, told_by
from tests.unit.reconcile.environments import (
    CONFIG,
    FIRST,
    IMAGE,
    MINUTE,
    built,
    delivery,
    recorded,
    told,
)
from tests.unit.reconcile.simulation import OPEN, MemoryImage, Simulation
from tests.unit.reconcile.test_life import play, settled

HOUR = 60 * MINUTE


def _pool(**changes: Any) -> dict[str, Any]:
    entry = {"name": "dask", "namespaces": ["flows"], "image": IMAGE, "jobNamespaces": ["jobs"]}
    return {**entry, "labels": True, **changes}


def _config(**changes: Any) -> dict[str, Any]:
    return {**CONFIG, "workPools": [_pool(**changes), OPEN]}


def _prepare(sim: Simulation) -> None:
    """An image and a namespace of pods; Prefect never answers."""
    sim.cluster.namespaces.add("jobs")
    sim.cluster.pods.images[IMAGE] = MemoryImage(id=FIRST)
    sim.prefect.outage = PoolsError(Reason.PREFECT_UNAVAILABLE, "away")


def _spec(sim: Simulation) -> dict[str, Any]:
    """What the policies go by where the pods are; empty where nothing is there."""
    body = sim.cluster.told.get(("jobs", ENVIRONMENTS))
    return dict(body["spec"]) if body else {}


async def _offered(sim: Simulation, name: str = "ml", **changes: Any) -> str:
    return await built(sim, name, **{"pools": ["dask"], **changes})


def test_pods_get_a_set_by_its_key_without_prefect() -> None:
    """The key and the revision have a line, the status says so, Prefect is asked for nothing that
    it would matter for, and a restart writes nothing."""

    async def script(sim: Simulation) -> None:
        _prepare(sim)
        async with sim.operator():
            reference = await _offered(sim)
            [revision] = sim.cluster.sets["flows", "ml"]["status"]["revisions"]
            assert told(sim) == {"ml": reference, revision["name"]: reference}
            assert _spec(sim)["labels"] == labels_key("dask")
            assert f"{_spec(sim)['labels']}ml" in _spec(sim)["environments"]
            assert delivery(sim) == ["Label"]
            await asyncio.sleep(HOUR)  # until it is noticed that Prefect is away
            assert sim.ready("ml") == ("True", "Ready")
            assert sim.condition("ml", "Built")["status"] == "True"
        await settled(sim)
        assert not sim.prefect.writes

    play(script, **_config())


def test_a_template_of_that_name_is_left_alone() -> None:
    """It is somebody else's: also with what flowdeps wrote before into it."""

    async def script(sim: Simulation) -> None:
        _prepare(sim)
        sim.prefect.outage = None
        sim.prefect.make("dask", namespace="jobs")
        sim.config = parse_config({**CONFIG, "workPools": [_pool(labels=False)]})
        async with sim.operator():
            await _offered(sim)
            assert sim.prefect.keys("dask") == ["ml"]
        before = sim.prefect.pools["dask"]
        sim.config = parse_config(_config())
        async with sim.operator():
            await _offered(sim, "more")
            await asyncio.sleep(HOUR)
            passes = sim.passes["work pool dask"]
            await asyncio.sleep(HOUR)
            assert sim.passes["work pool dask"] == passes
            assert set(told(sim)) >= {"ml", "more"}
        assert sim.prefect.pools["dask"] == before

    play(script, **_config())


def test_the_label_means_something_before_there_is_a_set() -> None:
    """So that a pod is refused, and does not start without its packages; with the pool, the word
    goes."""

    async def script(sim: Simulation) -> None:
        _prepare(sim)
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            assert _spec(sim) == {"environments": {}, "labels": labels_key("dask")}
        await settled(sim)
        sim.config = parse_config({**CONFIG, "workPools": [_pool(labels=False), OPEN]})
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            assert not _spec(sim)

    play(script, **_config())


def test_the_label_means_nothing_where_a_pool_has_a_template() -> None:
    """Its lines are for pods of that."""

    async def script(sim: Simulation) -> None:
        _prepare(sim)
        sim.prefect.outage = None
        sim.prefect.make("k", namespace="jobs")
        async with sim.operator():
            await built(sim)
            assert set(_spec(sim)) == {"environments"}
            assert delivery(sim) == ["Image"]

    play(script, **CONFIG)


def test_a_pool_with_a_template_has_its_lines_beside_those_of_labels() -> None:
    """In one namespace: neither is in the other's way."""

    async def script(sim: Simulation) -> None:
        _prepare(sim)
        sim.prefect.outage = None
        sim.prefect.make("k", namespace="jobs")
        async with sim.operator():
            await _offered(sim, pools=["k", "dask"])
            assert sorted(delivery(sim)) == ["Image", "Label"]
            lines = _spec(sim)["environments"]
            assert {f"{labels_key(pool)}ml" for pool in ("k", "dask")} <= lines.keys()
            assert sim.prefect.keys("k") == ["ml"]
        await settled(sim)

    play(script, **_config())


@pytest.mark.parametrize("against", ["old node", "no policy", "failed pull"])
def test_a_set_says_that_its_pods_are_refused(against: str) -> None:
    """While it has no line; the word that makes the policy refuse them stays."""

    async def script(sim: Simulation) -> None:
        _prepare(sim)
        async with sim.operator():
            reference = await _offered(sim)
            if against == "old node":
                sim.cluster.nodes = {"old": "containerd://1.7.27"}
            elif against == "no policy":
                sim.cluster.policies.clear()
            else:
                sim.cluster.pods.unpullable.add(reference)
                sim.cluster.fail_pull("jobs", reference)
            await asyncio.sleep(10 * MINUTE)
            assert _spec(sim) == {"environments": {}, "labels": labels_key("dask")}
            assert delivery(sim) == ["Pending"]
            built_ = sim.condition("ml", "Built")
            if against == "failed pull":
                assert built_["reason"] == "PullFailed"
            else:
                assert 'work pool "dask" has its pods refused' in built_["message"]
        await settled(sim)
        assert delivery(sim) == ["Pending"]

    play(script, **_config())


def test_what_is_offered_by_label_is_admitted_as_everywhere() -> None:
    """A set of another namespace has no line, nor one whose key another has."""

    async def script(sim: Simulation) -> None:
        _prepare(sim)
        async with sim.operator():
            reference = await _offered(sim)
            sim.cluster.apply(
                "theirs", namespace="team", python={"image": IMAGE}, pools=["dask"], interval="0s"
            )
            pools = [{"name": "dask", "key": "ml"}]
            sim.cluster.apply("second", python={"image": IMAGE}, pools=pools, interval="0s")
            await asyncio.sleep(5 * MINUTE)
            assert told(sim)["ml"] == reference
            assert "theirs" not in told(sim)
            assert sim.ready("theirs", namespace="team") == ("False", "NotAdmitted")
            assert sim.ready("second") == ("False", "Conflict")
            assert ("jobs", mounted_name("theirs", pool="dask")) not in sim.cluster.maps

    play(script, **_config())


def test_no_set_is_the_default_of_pods_without_a_label() -> None:
    """It is offered all the same, and the set says why not more."""

    async def script(sim: Simulation) -> None:
        _prepare(sim)
        async with sim.operator():
            await _offered(sim, pools=[{"name": "dask", "default": True}])
            assert "ml" in told(sim)
            assert sim.ready("ml") == ("False", "DefaultNotAllowed")
            assert "by their label" in sim.condition("ml", "Ready")["message"]

    play(script, **_config())


def test_a_set_that_goes_takes_its_line_before_its_copy() -> None:
    """Without a word from Prefect: no run of it mounts the copy."""

    async def script(sim: Simulation) -> None:
        _prepare(sim)
        async with sim.operator():
            await _offered(sim)
            sim.cluster.delete("ml")
            await asyncio.sleep(20 * MINUTE)
            assert told_by({"spec": _spec(sim)}) == {}
            assert not [one for one in sim.cluster.maps if one[0] == "jobs"]

    play(script, **_config())


def test_older_revisions_go_without_prefect() -> None:
    """Nothing that it would say of deployments concerns pods with a label."""

    async def script(sim: Simulation) -> None:
        _prepare(sim)
        async with sim.operator():
            for name in ("pandas", "beta", "gamma"):
                await _offered(sim, revisionHistoryLimit=1, requirements=[name])
            await asyncio.sleep(30 * MINUTE)
            assert recorded(sim) in told(sim).values()
            assert len(sim.cluster.sets["flows", "ml"]["status"]["revisions"]) == 2

    play(script, **_config())


def test_no_credentials_go_where_pods_have_a_label() -> None:
    """They install nothing."""

    async def script(sim: Simulation) -> None:
        _prepare(sim)
        encoded = {key: base64.b64encode(b"ci").decode() for key in ("username", "password")}
        sim.cluster.put_foreign_secret("flows", "index", encoded)
        index = {
            "url": "https://index.example.com/simple",
            "credentialsSecretRef": {"name": "index"},
        }
        async with sim.operator():
            await _offered(sim, index=index)
            assert delivery(sim) == ["Label"]
            assert {namespace for namespace, _ in sim.cluster.secrets} == {"flows"}
            assert ("flows", mounted_name("ml")) in sim.cluster.secrets

    play(script, **_config())


def test_a_set_that_can_have_no_environment_does_not_say_that_runs_install_it() -> None:
    """Nothing would; with a pool that has a template, runs of that do."""

    async def script(sim: Simulation) -> None:
        _prepare(sim)
        sim.prefect.outage = None
        sim.prefect.make("k", namespace="jobs")
        async with sim.operator():
            for name, pools in (("ml", ["dask"]), ("both", ["k", "dask"])):
                await _offered(sim, name, verify={"mode": "Disabled"}, pools=pools)
            assert delivery(sim) == ["Pending"]
            message = sim.condition("ml", "Built")["message"]
            assert message.startswith("pods with its label are refused: it was not tried")
            assert sim.condition("both", "Built")["message"].startswith("runs install the lock")
            sim.registry.problem = "no room"
            await _offered(sim, "more", pools=["dask"])
            assert "its pods are refused" in sim.condition("more", "Built")["message"]

    play(script, **_config())
