"""The client against what may answer in Prefect's place: proxies, login pages, faults."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flowdeps.api.reasons import Reason
from flowdeps.clients.prefect.client import Pool, Pools, Workers
from flowdeps.clients.prefect.errors import PoolsError

SECRET = "hunter2-never-shown"

POOL: dict[str, Any] = {
    "id": "6b4d6724-2ac6-49d0-9b2a-2b1092f0a767",
    "created": "2026-01-01T00:00:00Z",
    "updated": "2026-01-01T00:00:00Z",
    "name": "k",
    "type": "kubernetes",
    "base_job_template": {"note": 1},
    "default_queue_id": "6b4d6724-2ac6-49d0-9b2a-2b1092f0a768",
    "storage_configuration": {},
}

Respond = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(respond: Respond) -> AsyncIterator[Pools]:
    """A client of a server that answers every request with `respond`."""
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}, restore_defaults=[PREFECT_API_URL]):
        async with (
            RawTestServer(respond) as server,
            Pools.connect(f"{server.make_url('/')}api") as pools,
        ):
            yield pools


def always(status: int, *, text: str = "", media_type: str = "application/json") -> Respond:
    """The same answer to everything; a pause before it was asked to be retried would be long."""

    async def respond(_: web.BaseRequest) -> web.StreamResponse:
        headers = {"Retry-After": "0"} if status in (429, 503) else {}
        return web.Response(status=status, text=text, content_type=media_type, headers=headers)

    return respond


def _asks(pools: Pools) -> list[Awaitable[Any]]:
    return [pools.read("k"), pools.read_all(), pools.write("k", {"token": SECRET})]


_ECHO = f'{{"detail": "what you sent: {SECRET}"}}'


@pytest.mark.parametrize(
    ("status", "reason", "says"),
    [
        (400, Reason.NOT_MERGEABLE, "400"),
        (401, Reason.PREFECT_UNAUTHORIZED, "PREFECT_API_KEY"),
        (403, Reason.PREFECT_UNAUTHORIZED, "needs to read and update work pools"),
        (405, Reason.PREFECT_UNAVAILABLE, "405"),
        (408, Reason.PREFECT_UNAVAILABLE, "408"),
        (409, Reason.NOT_MERGEABLE, "409"),
        (413, Reason.NOT_MERGEABLE, "413"),
        (422, Reason.NOT_MERGEABLE, "422"),
        (429, Reason.PREFECT_UNAVAILABLE, "429"),
        (500, Reason.PREFECT_UNAVAILABLE, "500"),
        (502, Reason.PREFECT_UNAVAILABLE, "502"),
        (503, Reason.PREFECT_UNAVAILABLE, "503"),
    ],
)
async def test_each_status_has_its_reason_and_no_error_carries_a_body(
    status: int, reason: Reason, says: str
) -> None:
    """What ends by itself is an outage, what a person must mend is not; a template is refused only
    when one was sent; and whatever the answer holds, no error shows it."""
    async with answering(always(status, text=_ECHO)) as pools:
        for number, ask in enumerate(_asks(pools)):
            with pytest.raises(PoolsError) as caught:
                await ask
            writing = number == 2
            refused = reason is Reason.NOT_MERGEABLE and not writing
            assert caught.value.reason is (Reason.PREFECT_UNAVAILABLE if refused else reason)
            assert says in str(caught.value)
            assert SECRET not in repr(caught.value)


async def test_a_proxy_without_a_backend_is_no_missing_pool() -> None:
    """A proxy that answers 404 while Prefect restarts behind it must not read as a pool that is
    gone: its sets' ConfigMaps would be taken from under running flows."""
    page = "<html>404 page not found</html>"
    async with answering(always(404, text=page, media_type="text/html")) as pools:
        for ask in (pools.read("k"), pools.read_all()):
            with pytest.raises(PoolsError) as caught:
                await ask
            assert caught.value.reason is Reason.PREFECT_UNAVAILABLE


async def test_prefect_alone_says_that_a_pool_is_missing() -> None:
    """A 404 for the pool counts once a list, which only Prefect can give, lacks it too."""

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/api/work_pools/filter":
            return web.json_response([])
        return web.json_response({"detail": "not found"}, status=404)

    async with answering(respond) as pools:
        assert await pools.read("k") is None


async def test_a_poll_takes_two_requests() -> None:
    """As docs/how-to/cloud.md says: one for the pools, and one that finds no more of them."""
    asked: list[str] = []

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.path)
        if request.method == "GET":
            return web.json_response({}, status=404)  # there are no CSRF tokens
        many = [{**POOL, "name": f"k{number}"} for number in range(200)]
        return web.json_response([] if (await request.json())["offset"] else many)

    async with answering(respond) as pools:
        assert len(await pools.read_all()) == 200
        asked.clear()
        assert len(await pools.read_all()) == 200
    assert asked == ["/api/work_pools/filter"] * 2


async def test_a_pool_that_the_list_still_has_is_not_missing() -> None:
    """Where a 404 was a hiccup, the pool that the list shows is the answer."""

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/api/work_pools/filter":
            return web.json_response([POOL])
        return web.json_response({"detail": "not found"}, status=404)

    async with answering(respond) as pools:
        found = await pools.read("k")
        assert found is not None
        assert found.template == POOL["base_job_template"]


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        (f"<html>please log in, {SECRET}</html>", "text/html"),
        ("", "application/json"),
        ("null", "application/json"),
        ("[5]", "application/json"),
        ("5", "application/json"),
        ('{"name": "k"}', "application/json"),
        (f'{{"name": 5, "base_job_template": "{SECRET}"}}', "application/json"),
        (f'[{{"name": "k", "base_job_template": "{SECRET}"}}]', "application/json"),
    ],
)
async def test_an_answer_of_another_shape_is_an_outage_in_words(text: str, media_type: str) -> None:
    """A login page, or a version of Prefect with other fields, ends in a reason, and its text,
    which may be a template, is not shown."""
    async with answering(always(200, text=text, media_type=media_type)) as pools:
        for ask in (pools.read("k"), pools.read_all()):
            with pytest.raises(PoolsError) as caught:
                await ask
            assert caught.value.reason is Reason.PREFECT_UNAVAILABLE
            assert SECRET not in repr(caught.value)
            assert caught.value.__suppress_context__


async def test_a_server_that_hangs_up_is_an_outage() -> None:
    """A connection cut in the middle of an answer is PrefectUnavailable."""

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport
        request.transport.close()
        return web.Response()

    async with answering(respond) as pools:
        for ask in _asks(pools):
            with pytest.raises(PoolsError, match="did not answer") as caught:
                await ask
            assert caught.value.reason is Reason.PREFECT_UNAVAILABLE


async def test_a_server_that_never_answers_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time that a request may take, a silent server is an outage."""
    monkeypatch.setattr("flowdeps.clients.prefect.client._TIMEOUT_SECONDS", 0.2)

    async def respond(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async with answering(respond) as pools:
        with pytest.raises(PoolsError, match="did not answer") as caught:
            await asyncio.wait_for(pools.read("k"), 20)
        assert caught.value.reason is Reason.PREFECT_UNAVAILABLE


@pytest.mark.parametrize("header", [("Retry-After", "3600"), ("Prefect-Maintenance", "true")])
async def test_a_server_that_asks_for_long_patience_is_an_outage(
    header: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's client waits an hour where it is told to, and tries without end during maintenance;
    a pass must come back, and a poll must report what it found."""
    monkeypatch.setattr("flowdeps.clients.prefect.errors._TOTAL_SECONDS", 0.5)

    async def respond(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=503, headers=dict([header]))

    async with answering(respond) as pools:
        for ask in _asks(pools):
            with pytest.raises(PoolsError, match="did not answer in time") as caught:
                await asyncio.wait_for(ask, 20)
            assert caught.value.reason is Reason.PREFECT_UNAVAILABLE


async def test_fields_that_a_newer_prefect_adds_are_no_trouble() -> None:
    """Unknown fields of a pool are passed over."""

    async def respond(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({**POOL, "brand_new": {"a": 1}})

    async with answering(respond) as pools:
        found = await pools.read("k")
        assert found is not None
        assert found.template == POOL["base_job_template"]


async def test_the_event_stream_is_that_of_the_configured_address() -> None:
    """Where the address has no event stream, `changes` says so. Left alone without PREFECT_API_URL,
    Prefect's client would not ask there, but start a whole server beside the operator."""
    asked: list[str] = []

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=404)

    async with answering(respond) as pools:
        with pytest.raises(PoolsError) as caught:
            await asyncio.wait_for(anext(pools.changes()), 60)
        assert caught.value.reason is Reason.PREFECT_UNAVAILABLE
    assert asked[-1] == "/api/events/out"


async def test_who_leaves_while_connecting_leaves_no_connection_behind() -> None:
    """A stream that never lets the client in is closed when the client gives up waiting."""
    connected, closed = asyncio.Event(), asyncio.Event()

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["prefect"])
        if not socket.can_prepare(request):
            return web.Response(status=404)
        await socket.prepare(request)
        await socket.receive()  # how it says who it is
        connected.set()
        await socket.receive()  # and gets no answer
        closed.set()
        return socket

    async with answering(respond) as pools:
        waiting = asyncio.ensure_future(anext(pools.changes()))
        await asyncio.wait_for(connected.wait(), 60)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.wait_for(closed.wait(), 60)


async def test_what_a_worker_told_is_not_forgotten_in_the_crowd() -> None:
    """Of a busy pool's events few are read: a worker that has nothing to do has told its version
    when it started, or in an earlier answer. Where none is online, the last one that told counts,
    and of one worker the last that it told."""
    events = {
        "prefect.worker.started": [("idle", "3.9.0", 1), ("busy", "3.7.0", 2)],
        "prefect.worker.submitted-flow-run": [("busy", "3.8.0", 3)] * 50,
    }
    online: list[str] = []

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/api/admin/version":
            return web.json_response("3.9.1")
        if request.path == "/api/events/filter":
            [kind] = (await request.json())["filter"]["event"]["name"]
            told = sorted(events[kind], key=lambda one: -one[2])
            return web.json_response(
                {"events": [_event(*one) for one in told], "total": len(told), "next_page": None}
            )
        if request.path == "/api/work_pools/k/workers/filter":
            return web.json_response([_worker(name) for name in online])
        return web.Response(status=404)  # needs no token

    pool = Pool("k", "kubernetes", {}, POOL["id"])
    async with answering(respond) as pools:
        assert await pools.workers(pool) == Workers(versions={"busy": "3.8.0"}, server="3.9.1")
        online += ["busy", "idle", "silent"]
        both = Workers(versions={"idle": "3.9.0", "busy": "3.8.0"}, server="3.9.1")
        assert await pools.workers(pool) == both
        del events["prefect.worker.started"][:]
        assert await pools.workers(pool, both) == both
        events["prefect.worker.started"].append(("idle", "3.9.2", 4))
        assert (await pools.workers(pool, both)).versions == {"busy": "3.8.0", "idle": "3.9.2"}
        online.remove("idle")
        assert (await pools.workers(pool, both)).versions == {"busy": "3.8.0"}


def _event(worker: str, version: str, minute: int) -> dict[str, Any]:
    resource = {"prefect.resource.id": "w", "prefect.resource.name": worker}
    time = f"2026-01-01T00:{minute:02}:00Z"
    return {
        "event": "prefect.worker.started",
        "id": POOL["id"],
        "occurred": time,
        "received": time,
        "resource": {**resource, "prefect.version": version},
    }


def _worker(name: str) -> dict[str, Any]:
    return {
        "id": POOL["id"],
        "created": "2026-01-01T00:00:00Z",
        "updated": "2026-01-01T00:00:00Z",
        "name": name,
        "work_pool_id": POOL["id"],
        "status": "ONLINE",
    }


async def test_credentials_for_pools_alone_leave_the_servers_version() -> None:
    """Who may not read events or workers still learns which Prefect it is; an outage is one."""

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/api/admin/version":
            return web.json_response("3.9.1")
        needs_no_token = request.path == "/api/csrf-token"
        return web.Response(status=404 if needs_no_token else 403)

    pool = Pool("k", "kubernetes", {}, POOL["id"])
    async with answering(respond) as pools:
        assert await pools.workers(pool) == Workers(server="3.9.1")
    for status, reason in ((500, Reason.PREFECT_UNAVAILABLE), (403, Reason.PREFECT_UNAUTHORIZED)):
        async with answering(always(status)) as pools:
            with pytest.raises(PoolsError) as caught:
                await pools.workers(pool)
            assert caught.value.reason is reason
