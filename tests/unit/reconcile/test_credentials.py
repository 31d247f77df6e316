"""Secrets of sets, which nobody watches: what somebody does to one is mended all the same."""

import asyncio
import base64
from dataclasses import replace

import pytest

from flowdeps.api.names import mounted_name
from flowdeps.api.poolconfig import PoolConfig
from tests.unit.reconcile.simulation import OPEN, Body, Simulation
from tests.unit.reconcile.test_life import DAY, HOUR, MINUTE, play, settled

INDEX = {"url": "https://index.example.com/simple", "credentialsSecretRef": {"name": "index"}}


@pytest.mark.parametrize("where", ["flows", "jobs"])
@pytest.mark.parametrize("what", ["deleted", "edited"])
def test_a_secret_that_somebody_took_away_is_put_back(where: str, what: str) -> None:
    """Within minutes, though nothing else calls the set; while all is well, nothing is written."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("k", namespace="jobs")
        encoded = {key: base64.b64encode(b"ci").decode() for key in ("username", "password")}
        sim.cluster.put_foreign_secret("flows", "index", encoded)
        sim.cluster.apply("ml", pools=["k"], index=INDEX, interval="30d")
        await settled(sim)
        async with sim.operator():
            writes = sim.writes()
            await asyncio.sleep(DAY)
            assert sim.writes() == writes
            name = mounted_name("ml", pool="k" if where == "jobs" else "")
            data = sim.cluster.secrets[where, name]["data"]
            if what == "deleted":
                del sim.cluster.secrets[where, name]
            else:
                sim.cluster.secrets[where, name]["data"] = {}
            await asyncio.sleep(11 * MINUTE)
            assert sim.cluster.secrets[where, name]["data"] == data

    play(script, workPools=[OPEN | {"jobNamespaces": ["jobs"]}])


def stage(sim: Simulation) -> None:
    """A pool whose template alone says that its jobs run in another namespace; credentials."""
    sim.cluster.namespaces |= {"jobs", "evil"}
    sim.prefect.make("k", namespace="jobs")
    encoded = {key: base64.b64encode(b"ci").decode() for key in ("username", "password")}
    sim.cluster.put_foreign_secret("flows", "index", encoded)


def secrets(sim: Simulation, namespace: str) -> set[str]:
    """The Secrets in a namespace that are not the team's own."""
    return {name for where, name in sim.cluster.secrets if where == namespace and name != "index"}


def test_no_secret_follows_a_template() -> None:
    """Everybody who may edit pools decides where a template's jobs run: neither a Secret goes
    there, nor a lock that needs one, and the condition has the line that would allow it."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        sim.cluster.apply("ml", pools=["k"], index=INDEX)
        sim.cluster.apply("plain", pools=["k"])
        await settled(sim)
        for namespace in ("jobs", "evil"):
            template = sim.prefect.pools["k"].template
            template["variables"]["properties"]["namespace"]["default"] = namespace
            await settled(sim)
            assert secrets(sim, namespace) == set()
            assert sim.pins("ml", namespace=namespace, pool="k") == ""
            assert sim.pins("plain", namespace=namespace, pool="k") == "pandas==1.0"
            assert sim.prefect.keys("k") == ["plain"]
            assert sim.ready("ml") == ("False", "CredentialsNotAllowed")
            [message] = [
                one["message"]
                for one in sim.cluster.sets["flows", "ml"]["status"]["conditions"]
                if one["type"] == "Ready"
            ]
            assert f'workPools: [{{name: "*", jobNamespaces: ["{namespace}"]}}]' in message
        assert secrets(sim, "flows") == {"flowdeps-ml", f"flowdeps-{own_revision(sim)}"}

    play(script)


def own_revision(sim: Simulation) -> str:
    """The revision in service."""
    found: str = sim.cluster.sets["flows", "ml"]["status"]["lock"]["revision"]
    return found


def test_a_set_that_gets_credentials_keeps_what_is_in_service() -> None:
    """It had none where the template leads: the lock that runs have stays, and is offered."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        sim.cluster.apply("ml", pools=["k"], index=INDEX, requirements=["alpha"])
        await settled(sim)
        assert sim.ready("ml") == ("False", "CredentialsNotAllowed")
        assert sim.pins("ml") == "alpha==1.0"
        assert sim.pins("ml", namespace="jobs", pool="k") == "pandas==1.0"
        assert sim.prefect.keys("k") == ["ml"]
        assert secrets(sim, "jobs") == set()

    play(script)


def test_a_secret_that_may_not_go_there_any_more_stays_as_it_is() -> None:
    """The configuration named the namespace, and no longer does: runs keep what they have, and
    nothing new goes there, neither for the live lock nor for a revision."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        sim.cluster.apply("ml", pools=["k"], index=INDEX)
        await settled(sim)
        before = {
            where: body["metadata"]["resourceVersion"]
            for where, body in (sim.cluster.secrets | sim.cluster.maps).items()
            if where[0] == "jobs"
        }
        assert len(before) == 2, "the names of a live lock and of a revision"
        sim.config = replace(sim.config, work_pools=(PoolConfig(namespaces=("*",)),))
        sim.cluster.apply("ml", pools=["k"], index=INDEX, requirements=["alpha"])
        new = {key: base64.b64encode(b"new").decode() for key in ("username", "password")}
        sim.cluster.put_foreign_secret("flows", "index", new)
        await settled(sim)
        assert sim.ready("ml") == ("False", "CredentialsNotAllowed")
        assert sim.prefect.keys("k") == ["ml"]
        assert before == {
            where: body["metadata"]["resourceVersion"]
            for where, body in (sim.cluster.secrets | sim.cluster.maps).items()
            if where[0] == "jobs"
        }

    play(script, workPools=[OPEN | {"jobNamespaces": ["jobs"]}])


def test_a_secret_goes_to_the_sets_own_namespace_wherever_a_template_leads() -> None:
    """Jobs that run beside the set have the Secret under the name that they mount."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        sim.prefect.make("k", namespace="flows")
        sim.cluster.apply("ml", pools=["k"], index=INDEX)
        await settled(sim)
        assert sim.ready("ml") == ("True", "Ready")
        assert mounted_name("ml", pool="k") in secrets(sim, "flows")

    play(script, workPools=[])


def test_a_secret_of_somebody_else_is_not_written_over() -> None:
    """One that was made between the look and the write: another operator's, or a person's."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        sim.cluster.apply("ml", pools=["k"], index=INDEX)
        await settled(sim)
        place, look = ("flows", "flowdeps-ml"), sim.cluster.get_secret

        async def swap(namespace: str, name: str) -> Body | None:
            found = await look(namespace, name)
            if (namespace, name) == place:
                sim.cluster.get_secret = look  # type: ignore[method-assign]
                del sim.cluster.secrets[place]
                sim.cluster.put_foreign_secret(*place, {"theirs": "eWVz"})
            return found

        sim.cluster.secrets[place]["data"] = {}
        async with sim.operator():
            sim.cluster.get_secret = swap  # type: ignore[method-assign]
            await asyncio.sleep(HOUR)
        assert sim.cluster.secrets[place]["data"] == {"theirs": "eWVz"}

    play(script, workPools=[OPEN | {"jobNamespaces": ["jobs"]}])
