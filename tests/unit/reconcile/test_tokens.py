"""Tokens that the configuration's credential helpers give: who gets them, and how they go on."""

import asyncio
import base64
import json
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from flowdeps.api.helperconfig import CredentialHelper
from flowdeps.api.names import mounted_name
from flowdeps.gather.tokens import TokenError
from tests.unit.reconcile.simulation import OPEN, Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, play

HOST = "index.example.com"
URL = f"https://{HOST}/team/simple"
HELPER = {"url": URL, "namespaces": ["flows"], "command": ["/helper"], "username": "aws"}
CONFIG = {
    "index": {"credentialHelpers": [HELPER]},
    "workPools": [OPEN | {"jobNamespaces": ["jobs"]}],
}


class Cloud:
    """Gives tokens that are valid for an hour, each another one; remembers when."""

    def __init__(self, sim: Simulation, *, seconds: float = 3600) -> None:
        sim.fetch_token = self.fetch
        self.seconds = seconds
        self.asked: list[float] = []
        self.problem = ""

    async def fetch(self, helper: CredentialHelper) -> str:
        assert helper.command == ("/helper",)
        self.asked.append(asyncio.get_running_loop().time())
        if self.problem:
            raise TokenError(self.problem)
        token = f"token-{len(self.asked)}"
        return json.dumps({"access_token": token, "expires_in": self.seconds})


def netrc(sim: Simulation, namespace: str, name: str = "ml", *, pool: str = "") -> str:
    """What runs, or a set's trials, have of a token; empty: nothing."""
    body: Any = sim.cluster.secrets.get((namespace, mounted_name(name, pool=pool)), {})
    return base64.b64decode(body.get("data", {}).get("netrc", "")).decode()


def line(number: int) -> str:
    """A token's line in a netrc file."""
    return f"machine {HOST} login aws password token-{number}\n"


def stage(sim: Simulation) -> None:
    """A pool whose jobs run in another namespace that the configuration names."""
    sim.cluster.namespaces |= {"jobs", "more"}
    sim.prefect.make("k", namespace="jobs")


def test_a_set_without_a_secret_gets_the_token_and_its_runs_have_a_valid_one() -> None:
    """For years, in each place where its Secret could be; nothing is resolved again, and sets that
    share the helper share its runs."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        cloud = Cloud(sim)
        for name in ("ml", "other"):
            sim.cluster.apply(name, pools=["k"], index={"url": URL}, interval="30d")
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            assert sim.condition("ml", "Authorized")["reason"] == "CredentialsAccepted"
            assert netrc(sim, "flows") == netrc(sim, "jobs", pool="k") == line(1)
            assert [one.netrc for _, one in sim.index.asked if one] == [line(1)]
            for hour in range(1, 10):
                await asyncio.sleep(HOUR)
                got = netrc(sim, "jobs", pool="k")
                assert got == netrc(sim, "flows", "other") == line(len(cloud.asked))
                age = asyncio.get_running_loop().time() - cloud.asked[-1]
                assert age < 41 * MINUTE, f"in hour {hour}, it has a third of its life before it"
            assert len(cloud.asked) <= 15
            assert len(sim.index.asked) == 1

    play(script, **CONFIG)


@pytest.mark.parametrize(
    ("namespace", "index"),
    [
        ("more", {"url": URL}),
        ("flows", {"url": f"https://{HOST}/team/simple-other"}),
        ("flows", {"url": f"https://{HOST}/team"}),
        ("flows", {"url": f"https://{HOST}:8443/team/simple"}),
        ("flows", {"url": f"http://{HOST}/team/simple"}),
        ("flows", {"url": f"https://{HOST}/team/simple/..;/secret"}),
        ("flows", {}),
    ],
)
def test_no_other_set_gets_a_token(namespace: str, index: dict[str, Any]) -> None:
    """Neither of a namespace that the configuration does not name, nor for another index: the
    helper does not even run."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        cloud = Cloud(sim)
        sim.cluster.apply("ml", namespace=namespace, pools=["k"], index=index)
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
        assert sim.ready("ml", namespace=namespace) == ("True", "Ready")
        assert sim.index.asked[0][1] is None
        assert cloud.asked == []
        assert not sim.cluster.secrets

    play(script, **CONFIG)


@pytest.mark.parametrize(
    ("index", "says"),
    [
        (
            {"url": URL, "extraUrls": [f"https://{HOST}/mine"]},
            f"https://{HOST}/mine is on the host of an index whose token",
        ),
        (
            {"url": URL, "extraUrls": [f"http://{HOST}:8000/team/simple"]},
            f"http://{HOST}:8000/team/simple is on the host",
        ),
        (
            {"url": "https://b.example.com", "packages": [{"names": ["torch"], "url": URL}]},
            "",
        ),
        (
            {"url": URL, "extraUrls": ["http://b.example.com/simple"]},
            "http://b.example.com/simple is reached without TLS",
        ),
    ],
)
def test_a_token_goes_to_no_other_index_of_its_host_and_nowhere_in_plain_text(
    index: dict[str, Any], says: str
) -> None:
    """A netrc file knows hosts alone: so the set is refused, and nothing is fetched."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        cloud = Cloud(sim)
        sim.cluster.apply("ml", pools=["k"], index=index)
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
        if not says:
            assert netrc(sim, "flows") == line(1)
            return
        assert sim.ready("ml") == ("False", "IndexNotAllowed")
        assert sim.condition("ml", "Ready")["message"].startswith(f"spec.index: {says}")
        assert not cloud.asked
        assert not sim.index.asked

    play(script, **CONFIG)


def test_a_sets_own_secret_is_used_alone() -> None:
    """No token is fetched for it."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        cloud = Cloud(sim)
        encoded = {key: base64.b64encode(b"ci").decode() for key in ("username", "password")}
        sim.cluster.put_foreign_secret("flows", "index", encoded)
        index = {"url": URL, "credentialsSecretRef": {"name": "index"}}
        sim.cluster.apply("ml", pools=["k"], index=index)
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
        assert netrc(sim, "flows") == f"machine {HOST} login ci password ci\n"
        assert cloud.asked == []

    play(script, **CONFIG)


@pytest.mark.parametrize(
    "change",
    [
        {"suspend": True},
        {"requirements": ["impossible"]},
        {"includes": [{"name": "absent"}]},
        {"requirementsFrom": [{"configMapKeyRef": {"name": "absent", "key": "in"}}]},
        {"python": {"image": "registry.example.com/absent:1"}},
    ],
    ids=str,
)
def test_runs_keep_a_valid_token_whatever_becomes_of_the_set(change: dict[str, Any]) -> None:
    """Its lock stays in service, and a token would not; but not where it is of another index."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        cloud = Cloud(sim)
        sim.cluster.apply("ml", pools=["k"], index={"url": URL}, interval="30d")
        for _ in range(2):  # also after a restart
            async with sim.operator():
                await asyncio.sleep(5 * MINUTE)
                sim.cluster.apply("ml", pools=["k"], index={"url": URL}, interval="30d", **change)
                await asyncio.sleep(3 * HOUR)
                assert sim.ready("ml")[1] != "Ready" or change.get("suspend")
                assert sim.prefect.keys("k") == ["ml"]
                assert len(cloud.asked) > 3
                assert netrc(sim, "jobs", pool="k") == line(len(cloud.asked))
        got = netrc(sim, "jobs", pool="k")
        async with sim.operator():
            other = {"url": "https://b.example.com", "packages": [{"names": ["a"], "url": URL}]}
            sim.cluster.apply("ml", pools=["k"], index=other, **change)
            await asyncio.sleep(HOUR)
            if "impossible" not in str(change):
                assert netrc(sim, "jobs", pool="k") == got

    play(script, **CONFIG)


def test_a_helper_that_fails_is_reported_once_its_last_token_has_expired() -> None:
    """Until then nothing changes; runs keep what they have, and all ends by itself."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        cloud = Cloud(sim)
        sim.cluster.apply("ml", pools=["k"], index={"url": URL}, interval="30d")
        async with sim.operator():
            await asyncio.sleep(10 * MINUTE)
            writes = sim.writes()
            cloud.problem = "/helper ends with 1"
            await asyncio.sleep(45 * MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            assert sim.writes() == writes
            await asyncio.sleep(10 * MINUTE)
            assert sim.ready("ml") == ("False", "CredentialHelperFailed")
            assert sim.condition("ml", "Ready")["message"].startswith(
                "index.credentialHelpers of the operator's configuration: /helper ends with 1"
            )
            assert netrc(sim, "flows") == line(1)
            assert sim.prefect.keys("k") == ["ml"]
            cloud.problem = ""
            await asyncio.sleep(2 * MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            assert netrc(sim, "jobs", pool="k") == line(len(cloud.asked))

    play(script, **CONFIG)


def test_a_helper_runs_no_more_often_though_a_set_is_edited_all_the_time() -> None:
    """Neither one that gives tokens nor one that fails."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        cloud = Cloud(sim)
        sim.cluster.apply("ml", index={"url": URL}, interval="30d")
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            for problem, most in (("", 1), ("fails", 15)):
                cloud.problem = problem
                cloud.asked.clear()
                if problem:
                    await asyncio.sleep(2 * HOUR)
                    cloud.asked.clear()
                for number in range(200):
                    sim.cluster.apply("ml", index={"url": URL}, interval=f"{number + 1}d")
                    await asyncio.sleep(2)
                assert len(cloud.asked) <= most

    play(script, **CONFIG)


def test_a_token_that_is_given_again_until_its_end_is_asked_for_in_good_time() -> None:
    """As a metadata server does: the pauses shrink with what is left of it, to a minute."""

    async def script(sim: Simulation) -> None:
        stage(sim)
        asked: list[timedelta] = []

        async def fetch(_: CredentialHelper) -> str:
            now = timedelta(seconds=asyncio.get_running_loop().time())
            asked.append(now)
            number, gone = divmod(now.total_seconds(), 3600)
            left = 3600 - gone
            return json.dumps({"access_token": f"t{number}", "expires_in": left})

        sim.fetch_token = fetch
        sim.cluster.apply("ml", index={"url": URL}, interval="30d")
        async with sim.operator():
            await asyncio.sleep(4 * HOUR)
        pauses = [after - before for before, after in pairwise(asked)]
        assert min(pauses) >= timedelta(seconds=60)
        assert max(pauses) <= timedelta(minutes=41)

    play(script, **CONFIG)
