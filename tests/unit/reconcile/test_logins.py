"""Credentials that expire: they are tried now and then, and a set says so before its runs do."""

import asyncio
import base64

from tests.unit.reconcile.simulation import Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, play, settled

URL = "https://index.example.com/simple"
INDEX = {"url": URL, "credentialsSecretRef": {"name": "index"}}
REFUSED = "401 Unauthorized"


def secret(
    sim: Simulation, password: str, *, name: str = "index", namespace: str = "flows"
) -> None:
    """A Secret with a user and this password."""
    texts = {"username": "ci", "password": password}
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    sim.cluster.put_foreign_secret(namespace, name, encoded)


def test_a_set_says_within_the_interval_that_its_token_expired_and_recovers_by_itself() -> None:
    """Its lock stays in service meanwhile, and nothing is resolved again."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k", namespace="flows")
        secret(sim, "first")
        sim.cluster.apply("ml", pools=["k"], index=INDEX, interval="30d")
        await settled(sim)
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            assert sim.condition("ml", "Authorized")["reason"] == "CredentialsAccepted"
            asked, writes = len(sim.index.asked), sim.writes()
            await asyncio.sleep(3 * HOUR)
            assert sim.writes() == writes, "while all is well, nothing is written"

            sim.index.refused["first"] = REFUSED
            await asyncio.sleep(15 * MINUTE + 5)
            assert sim.ready("ml") == ("False", "IndexUnauthorized")
            said = sim.condition("ml", "Authorized")
            assert (said["status"], said["reason"]) == ("False", "IndexUnauthorized")
            for part in (
                "spec.index.credentialsSecretRef",
                f"{URL} answers {REFUSED}",
                "Secret flows/index",
                'renew "username" and "password" in it',
            ):
                assert part in said["message"]
            assert sim.condition("ml", "Resolved")["status"] == "True"
            assert sim.prefect.keys("k") == ["ml"]
            assert sim.pins("ml", pool="k") == "pandas==1.0"
            assert sim.condition("ml", "Reconciling")
            await asyncio.sleep(16 * MINUTE)
            assert sim.condition("ml", "Stalled")["reason"] == "IndexUnauthorized"

            secret(sim, "second")
            await asyncio.sleep(40)
            assert sim.ready("ml") == ("True", "Ready")
            assert sim.condition("ml", "Authorized")["status"] == "True"
            assert len(sim.index.asked) == asked

    play(script)


def test_a_refusal_outlives_a_restart_and_an_outage() -> None:
    """While nothing new is known, what was said holds; an index that is away says nothing."""

    async def script(sim: Simulation) -> None:
        secret(sim, "first")
        sim.cluster.apply("ml", index=INDEX, interval="30d")
        await settled(sim)
        sim.index.refused["first"] = REFUSED
        async with sim.operator():
            await asyncio.sleep(20 * MINUTE)
        sim.index.away = True
        async with sim.operator():
            await asyncio.sleep(40 * MINUTE)
            assert sim.ready("ml") == ("False", "IndexUnauthorized")
            sim.index.refused.clear()
            sim.index.away = False
            await asyncio.sleep(HOUR)
            assert sim.ready("ml") == ("True", "Ready")
            sim.index.away = True
            await asyncio.sleep(HOUR)
            assert sim.ready("ml") == ("True", "Ready")

    play(script)


def test_sets_that_share_credentials_share_the_requests() -> None:
    """Each pair of an index and credentials costs one request an interval, for a package of the
    lock, however many sets have it, and whichever of them goes."""

    async def script(sim: Simulation) -> None:
        for namespace in ("flows", "more"):
            sim.cluster.namespaces.add(namespace)
            secret(sim, "first", namespace=namespace)
        secret(sim, "other", name="other")
        for number in range(6):
            where = ("flows", "more")[number % 2]
            names = [f"a{number}", "shared"]
            sim.cluster.apply(
                f"ml{number}", namespace=where, index=INDEX, requirements=names, interval="30d"
            )
        other = {"url": URL, "credentialsSecretRef": {"name": "other"}}
        sim.cluster.apply("other", index=other, interval="30d")
        sim.cluster.apply("plain", interval="30d")
        async with sim.operator():
            await asyncio.sleep(10 * MINUTE)
            sim.index.tried.clear()
            await asyncio.sleep(HOUR)
            assert len(sim.index.tried) == 8
            packages = {"pandas"} | {f"a{number}" for number in range(6)}
            assert {url for url, _ in sim.index.tried} == {URL}
            assert {package for _, package in sim.index.tried} <= packages
            for number in range(5):
                sim.cluster.delete(f"ml{number}")
            await asyncio.sleep(HOUR)
            assert len(sim.index.tried) == 16
            assert sim.condition("plain", "Authorized") == {}

    play(script)


def test_a_namespace_with_many_credentials_leaves_the_others_their_turns() -> None:
    """Many that an index never answers keep no other set's from being tried in time, and few are
    tried at once."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("evil")
        for number in range(60):
            secret(sim, f"pw{number}", name=f"s{number}", namespace="evil")
            index = {"url": URL, "credentialsSecretRef": {"name": f"s{number}"}}
            sim.cluster.apply(f"evil{number}", namespace="evil", index=index, interval="30d")
        secret(sim, "first")
        sim.cluster.apply("ml", index=INDEX, interval="30d")
        await settled(sim)
        sim.index.try_seconds["pw"] = 36000.0
        async with sim.operator():
            await asyncio.sleep(HOUR)
            sim.index.refused["first"] = REFUSED
            await asyncio.sleep(17 * MINUTE)
            assert sim.ready("ml") == ("False", "IndexUnauthorized")
            assert sim.index.most_tries == 2

    play(script)


def test_no_credentials_are_tried_where_the_configuration_says_never() -> None:
    """An interval of zero."""

    async def script(sim: Simulation) -> None:
        secret(sim, "first")
        sim.cluster.apply("ml", index=INDEX, interval="30d")
        async with sim.operator():
            await asyncio.sleep(HOUR)
        assert sim.ready("ml") == ("True", "Ready")
        assert sim.condition("ml", "Authorized") == {}
        assert sim.index.tried == []

    play(script, index={"credentialsInterval": "0s"})


def test_what_needs_no_credentials_any_more_is_not_tried_any_more() -> None:
    """Neither for a set that names no Secret now, nor for one that is gone."""

    async def script(sim: Simulation) -> None:
        secret(sim, "first")
        for name in ("public", "gone"):
            sim.cluster.apply(name, index=INDEX, interval="30d")
        await settled(sim)
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            sim.index.refused["first"] = REFUSED
            await asyncio.sleep(20 * MINUTE)
            assert sim.ready("public") == ("False", "IndexUnauthorized")
            sim.cluster.apply("public", interval="30d", index={"url": URL})
            sim.cluster.delete("gone")
            await asyncio.sleep(MINUTE)
            sim.index.tried.clear()
            await asyncio.sleep(HOUR)
            assert sim.index.tried == []
            assert sim.ready("public") == ("True", "Ready")
            assert sim.condition("public", "Authorized") == {}

    play(script)
