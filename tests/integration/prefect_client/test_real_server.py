"""The client against a real Prefect server."""

import asyncio
import itertools
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from flowdeps.api.reasons import Reason
from flowdeps.clients.prefect.client import Pools, Variable, Workers
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.delivery.kinds.kubernetes import merge
from tests.cluster import prefect_env
from tests.cluster.prefect import PrefectServer
from tests.cluster.prefect_api import PrefectApi, kubernetes_template
from tests.unit.delivery.samples import fragment

TIMEOUT = 60.0
_AUTH = "flowdeps:hunter2"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No Prefect of this machine is meant by mistake, no proxy is asked; as often as the operator
    does, the client tries again."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    settings = {PREFECT_CLIENT_MAX_RETRIES: 2}
    with temporary_settings(settings, restore_defaults=[PREFECT_API_URL, PREFECT_API_AUTH_STRING]):
        yield


@pytest.fixture
async def pools(prefect_server: PrefectServer) -> AsyncIterator[Pools]:
    async with Pools.connect(prefect_server.url) as one:
        yield one


@pytest.fixture
def name() -> str:
    """A pool's name that no other test has."""
    return f"pool-{uuid.uuid4().hex[:8]}"


async def test_a_pool_is_read_as_it_was_written(
    pools: Pools, prefect_api: PrefectApi, name: str
) -> None:
    """The template comes back to the letter, with the order of its keys, and the pool's type."""
    prefect_api.create_pool(name, image="registry.example.com/flows:1")
    found = await pools.read(name)
    assert found is not None
    assert (found.name, found.type) == (name, "kubernetes")
    template = {**found.template, "note": {"b": 1, "a": [None, True, "ü"]}}
    await pools.write(name, template)
    again = await pools.read(name)
    assert again is not None
    assert repr(again.template) == repr(template)
    assert prefect_api.template(name) == template


@pytest.mark.parametrize("odd", ["with space", "dots.and-dashes", "ünïcode", "plus+plus", "q?m#h"])
async def test_any_name_that_prefect_allows_is_found(
    pools: Pools, prefect_api: PrefectApi, name: str, odd: str
) -> None:
    """Names are quoted in paths: a pool with an odd name is read and written like any other."""
    prefect_api.create_pool(f"{name} {odd}", image="x")
    found = await pools.read(f"{name} {odd}")
    assert found is not None
    await pools.write(found.name, {**found.template, "note": odd})
    again = await pools.read(found.name)
    assert again is not None
    assert again.template["note"] == odd


async def test_a_pool_that_does_not_exist_reads_as_none(pools: Pools) -> None:
    """No pool of that name is an answer, not an error."""
    assert await pools.read("never-made") is None


async def test_writing_to_a_pool_that_is_gone_says_so(pools: Pools) -> None:
    """A pool deleted between the look and the write is PoolNotFound."""
    with pytest.raises(PoolsError, match='there is no work pool "never-made"') as caught:
        await pools.write("never-made", kubernetes_template(image="x", namespace="default"))
    assert caught.value.reason is Reason.POOL_NOT_FOUND


async def test_an_empty_template_is_never_written(
    pools: Pools, prefect_api: PrefectApi, name: str
) -> None:
    """Prefect would take it and wipe the pool's; we refuse before the request."""
    prefect_api.create_pool(name, image="x")
    before = prefect_api.template(name)
    with pytest.raises(ValueError, match="wipe"):
        await pools.write(name, {})
    assert prefect_api.template(name) == before


async def test_a_refused_template_is_told_without_what_it_holds(
    pools: Pools, prefect_api: PrefectApi, name: str
) -> None:
    """A 422 echoes the request, secrets included: the error has the status and no word of it."""
    prefect_api.create_pool(name, image="x")
    secret = "hunter2-never-shown"
    template = {"token": secret}  # neither job_configuration nor variables
    with pytest.raises(PoolsError, match=r"refused the template \(422\)") as caught:
        await pools.write(name, template)
    assert caught.value.reason is Reason.NOT_MERGEABLE
    error: BaseException | None = caught.value
    assert secret not in repr(error)
    assert error is not None
    assert error.__cause__ is None
    assert error.__suppress_context__


async def test_a_change_of_a_pool_is_hinted_by_an_event(
    prefect_server: PrefectServer,
    prefect_api: PrefectApi,
    name: str,
) -> None:
    """With the address from the configuration alone, a pool's name comes soon after its change,
    and a change of something else brings none."""
    prefect_api.create_pool(name, image="x")
    async with Pools.connect(prefect_server.url) as pools:
        await _written_until_seen(pools, name, prefect_api)


async def _written_until_seen(pools: Pools, name: str, api: PrefectApi) -> None:
    """Change a pool until its name comes: nobody tells when a subscription has begun, and what
    changed before is not told."""
    template = api.template(name)
    async with aclosing(pools.changes()) as changes:
        seen = asyncio.create_task(_until(changes, name))
        try:
            async with asyncio.timeout(TIMEOUT):
                for note in itertools.count():
                    await pools.write(name, {**template, "note": note})
                    if (await asyncio.wait({seen}, timeout=1))[0]:
                        break
        finally:
            seen.cancel()
            await asyncio.wait({seen})
        await seen


async def _until(changes: AsyncGenerator[str], name: str) -> None:
    while await anext(changes) != name:  # another test's pool
        pass


async def test_each_request_is_counted_with_its_outcome(
    prefect_server: PrefectServer, prefect_api: PrefectApi, name: str
) -> None:
    """`observe` is told of each request how it ended."""
    prefect_api.create_pool(name, image="x")
    seen: list[tuple[str, str]] = []
    async with Pools.connect(
        prefect_server.url, observe=lambda *what: seen.append(what[:2])
    ) as observed:
        assert await observed.read(name)
        await observed.write(name, prefect_api.template(name))
        with pytest.raises(PoolsError):
            await observed.write("never-made", prefect_api.template(name))
    assert seen == [("GET", "200"), ("PATCH", "200"), ("PATCH", "404")]


async def test_without_a_server_the_cause_is_named(unused_tcp_port: int) -> None:
    """Nothing listens: PrefectUnavailable, with what the connection said, and no endless retry."""
    async with Pools.connect(f"http://127.0.0.1:{unused_tcp_port}/api") as pools:
        for ask in (pools.read("x"), pools.read_all(), pools.write("x", {"a": 1})):
            with pytest.raises(PoolsError, match="did not answer: ") as caught:
                await asyncio.wait_for(ask, TIMEOUT)
            assert caught.value.reason is Reason.PREFECT_UNAVAILABLE
        with pytest.raises(PoolsError) as caught:
            await asyncio.wait_for(anext(pools.changes()), TIMEOUT)
        assert caught.value.reason is Reason.PREFECT_UNAVAILABLE


@pytest.mark.parametrize("base", ["", "/apx"])
async def test_a_wrong_address_is_no_missing_pool(
    prefect_server: PrefectServer, prefect_api: PrefectApi, name: str, base: str
) -> None:
    """Without `/api` every request is a 404: that must not read as a pool that is gone."""
    prefect_api.create_pool(name, image="x")
    async with Pools.connect(prefect_server.url.removesuffix("/api") + base) as pools:
        for ask in (pools.read(name), pools.read_all()):
            with pytest.raises(PoolsError) as caught:
                await ask
            assert caught.value.reason is Reason.PREFECT_UNAVAILABLE


async def test_without_any_address_it_says_what_to_set() -> None:
    """No address in the configuration or the environment: both ways to give one are named."""
    with pytest.raises(PoolsError, match=r"prefect\.apiUrl .* or PREFECT_API_URL"):
        async with Pools.connect():
            pass


@pytest.mark.parametrize("url", ["http://[", "prefect", "", "https://user:hunter2@[::bad/api"])
async def test_an_address_that_is_no_url_is_refused_without_showing_it(
    url: str,
) -> None:
    """A broken address is an error in words, and never printed: it may hold a password."""
    with pytest.raises(PoolsError) as caught:
        async with Pools.connect(url) as pools:
            await pools.read("x")
    assert "hunter2" not in str(caught.value)


@pytest.fixture(scope="module")
def strict_server() -> Iterator[PrefectServer]:
    """A server that asks for a user and a password, and lists no more than three things at once."""
    with PrefectServer(auth=_AUTH, page=3) as one:
        yield one


async def test_the_right_credentials_are_let_in(strict_server: PrefectServer, name: str) -> None:
    """Prefect's own setting is what requests and the event stream log in with."""
    with strict_server.api() as api:
        api.create_pool(name, image="x")
        with temporary_settings({PREFECT_API_AUTH_STRING: _AUTH}):
            async with Pools.connect(strict_server.url) as pools:
                assert await pools.read(name)
                await _written_until_seen(pools, name, api)


def _tell(api: PrefectApi, pool: Any, worker: str, version: str) -> None:
    """What a worker sends when it starts."""
    related = {
        "prefect.resource.id": f"prefect.work-pool.{pool.id}",
        "prefect.resource.role": "work-pool",
    }
    resource = {
        "prefect.resource.id": f"prefect.worker.kubernetes.{worker}",
        "prefect.resource.name": worker,
        "prefect.version": version,
    }
    event = {
        "event": "prefect.worker.started",
        "occurred": datetime.now(UTC).isoformat(),
        "id": str(uuid.uuid4()),
        "resource": resource,
        "related": [related],
    }
    api.call("POST", "/events", [event])


async def test_workers_tell_their_versions(
    pools: Pools, prefect_api: PrefectApi, name: str
) -> None:
    """The server's counts until a worker has told its own; of several, those that are online; and
    where none is, the one that told last."""
    prefect_api.create_pool(name, image="x")
    prefect_api.create_pool(f"{name}-other", image="x")
    pool, other = await pools.read(name), await pools.read(f"{name}-other")
    assert pool is not None
    server = prefect_env.versions()["prefect"]
    assert await pools.workers(pool) == Workers(server=server)

    async def told(wanted: dict[str, str]) -> None:
        for _ in range(200):  # the server stores events a little later
            found = await pools.workers(pool)
            if found == Workers(versions=wanted, server=server):
                return
            await asyncio.sleep(0.3)
        raise AssertionError(found)

    _tell(prefect_api, other, "elsewhere", "3.0.0")
    _tell(prefect_api, pool, "old", "3.4.20")
    await told({"old": "3.4.20"})
    _tell(prefect_api, pool, "new", "3.8.0")
    await told({"new": "3.8.0"})
    for worker in ("old", "new", "silent"):
        path = f"/work_pools/{name}/workers/heartbeat"
        prefect_api.call("POST", path, {"name": worker, "heartbeat_interval_seconds": 3600})
    await told({"old": "3.4.20", "new": "3.8.0"})
    _tell(prefect_api, pool, "old", "3.9.2")
    await told({"old": "3.9.2", "new": "3.8.0"})


async def test_choices_by_prefect_variables_are_found(
    strict_server: PrefectServer, name: str
) -> None:
    """The server takes them in a deployment, and `chosen` returns what the worker will make of
    them: a revision that a variable names is in use."""
    variable = name.replace("-", "_")
    with strict_server.api() as api, temporary_settings({PREFECT_API_AUTH_STRING: _AUTH}):
        api.create_pool(name, image="example.com/flows:1")
        api.set_template(name, merge(api.template(name), fragment()))
        api.call("POST", "/variables/", {"name": variable, "value": "ml"})
        for value in (
            f"{{{{ prefect.variables.{variable} }}}}",
            f"{{{{prefect.variables.{variable}}}}}-3f9a1c20de",
            "{{ prefect.variables.never_made }}",
        ):
            given = {"dependency_set": value, "extra_py_deps": ["httpx", "rich>=14"]}
            api.deploy(value, pool=name, job_variables=given)
        with pytest.raises(RuntimeError, match=r"422.*is not one of \['none', 'etl', 'ml'\]"):
            api.deploy("misspelt", pool=name, job_variables={"dependency_set": "mll"})
        async with Pools.connect(strict_server.url) as pools:
            found = await pools.chosen(name, "dependency_set")
        assert found == {"ml", "ml-3f9a1c20de", ""}


async def test_all_is_listed_however_small_the_pages_are(
    strict_server: PrefectServer, name: str
) -> None:
    """Pools and deployments beyond the first page are found, whether or not the last page is full,
    and no page is asked for that is larger than the server allows."""
    names = [f"{name}-{number}" for number in range(7)]
    with strict_server.api() as api, temporary_settings({PREFECT_API_AUTH_STRING: _AUTH}):
        async with Pools.connect(strict_server.url) as pools:
            for number, one in enumerate(names, start=1):
                api.create_pool(one, image="x")
                api.deploy(one, pool=names[0], job_variables={"set": one})
                found = await pools.read_all()
                assert [key for key in found if key.startswith(name)] == names[:number]
                assert await pools.chosen(names[0], "set") == {*names[:number]}
                listed = await pools.deployments(names[0])
                assert {one.name for one in listed} == {*names[:number]}
            assert found[names[0]].type == "kubernetes"
            assert found[names[0]].template == api.template(names[0])
            made = [one.replace("-", "_") for one in names]
            for number, one in enumerate(made, start=1):
                api.call("POST", "/variables/", {"name": one, "value": [number]})
            found_variables = await pools.variables([*made, "never_made"])
            assert found_variables == {one: Variable([n]) for n, one in enumerate(made, start=1)}
            assert await pools.variables(["never_made"]) == {}


@pytest.mark.parametrize("auth", [None, "flowdeps:wrong-secret"])
async def test_other_credentials_are_refused_in_words(
    strict_server: PrefectServer, auth: str | None
) -> None:
    """401 is PrefectUnauthorized, says which variables to look at, and shows no credentials."""
    with temporary_settings({PREFECT_API_AUTH_STRING: auth}):
        async with Pools.connect(strict_server.url) as pools:
            for ask in (pools.read("x"), pools.read_all(), pools.write("x", {"a": 1})):
                with pytest.raises(PoolsError, match="PREFECT_API_AUTH_STRING") as caught:
                    await ask
                assert caught.value.reason is Reason.PREFECT_UNAUTHORIZED
                assert "wrong-secret" not in str(caught.value)
            with pytest.raises(PoolsError) as caught:
                await asyncio.wait_for(anext(pools.changes()), TIMEOUT)
            assert "wrong-secret" not in str(caught.value)


async def test_a_server_that_went_and_came_back_is_used_again(
    strict_server: PrefectServer, name: str
) -> None:
    """One client outlives its server's restart: an error meanwhile, an answer after."""
    with strict_server.api() as api:
        api.create_pool(name, image="x")
    with temporary_settings({PREFECT_API_AUTH_STRING: _AUTH}):
        async with Pools.connect(strict_server.url) as pools:
            assert await pools.read(name)
            await asyncio.to_thread(strict_server.down)
            with pytest.raises(PoolsError) as caught:
                await pools.read(name)
            assert caught.value.reason is Reason.PREFECT_UNAVAILABLE
            await asyncio.to_thread(strict_server.up)
            assert await pools.read(name)
