"""What whoever reaches the port may use up."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from flowdeps.telemetry import server as module
from flowdeps.telemetry.metrics import Metrics
from flowdeps.telemetry.server import Server

_GET = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _nothing() -> None:
    pass


def _server(port: int, *, before_scrape: Callable[[], Awaitable[None]] = _nothing) -> Server:
    return Server(Metrics(), port=port, alive=[lambda: None], ready=[], before_scrape=before_scrape)


async def _ask(client: Client, request: bytes) -> bytes:
    """What the server says until it hangs up; nothing where it does so at once."""
    reader, writer = client
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def _dripping(port: int) -> Client:
    """A client that begins a request, and never ends it."""
    client = await asyncio.open_connection("127.0.0.1", port)
    client[1].write(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
    return client


async def test_a_probe_is_answered_however_many_clients_say_nothing(unused_tcp_port: int) -> None:
    """Three times as many as there are places: the oldest go, whoever asks is answered, and no
    more are open than there are places."""
    async with _server(unused_tcp_port) as server:
        slow = [await _dripping(unused_tcp_port) for _ in range(3 * module.CONNECTIONS)]
        probe = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
        assert (await _ask(probe, _GET % b"healthz")).startswith(b"HTTP/1.1 200 OK")
        assert len(server._open) <= module.CONNECTIONS
        ended = [reader.at_eof() or reader.exception() is not None for reader, _ in slow]
        assert not any(ended[-module.CONNECTIONS + 2 :])
        for _, writer in slow:
            writer.close()


@pytest.mark.parametrize("says", [b"", b"GET /healthz HTTP/1.1\r\nX-Slow: ", _GET % b"healthz"])
async def test_a_connection_ends(
    says: bytes, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Soon, whatever its client says or leaves unsaid; an answer ends it as well."""
    monkeypatch.setattr(module, "CONNECTION_SECONDS", 0.05)
    async with _server(unused_tcp_port) as server:
        client = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
        async with asyncio.timeout(10):
            answer = await _ask(client, says)
        assert answer.startswith(b"HTTP/1.1 200") == says.endswith(b"\r\n\r\n")
        assert not server._open


async def test_a_client_that_reads_nothing_keeps_no_connection(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that nobody takes is given up with its connection."""
    monkeypatch.setattr(module, "CONNECTION_SECONDS", 0.05)
    monkeypatch.setattr(module, "generate_latest", lambda _: b"x" * 50_000_000)
    async with _server(unused_tcp_port) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
        writer.write(_GET % b"metrics")
        async with asyncio.timeout(10):
            while not server._open:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            while server._open:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 5000),
        b"GET /healthz HTTP/1.1\r\nX-Long: %s\r\n\r\n" % (b"x" * 5000),
        b"GET /healthz HTTP/1.1\r\n%s\r\n" % b"".join(b"X-%d: y\r\n" % n for n in range(200)),
        b"\x16\x03\x01\x02\x00" * 10,
    ],
    ids=["line", "field", "fields", "tls"],
)
async def test_a_request_that_is_long_or_none_is_refused(
    request_: bytes, unused_tcp_port: int
) -> None:
    """With 400, and the connection ends."""
    async with _server(unused_tcp_port) as server:
        client = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
        async with asyncio.timeout(10):
            assert (await _ask(client, request_))[:12] in {b"HTTP/1.1 400", b"HTTP/1.0 400"}
        assert not server._open


async def test_many_scrapes_at_once_are_one(unused_tcp_port: int) -> None:
    """The page is made once for all who wait for it, also where the first of them hangs up."""
    go, made = asyncio.Event(), 0

    async def before_scrape() -> None:
        nonlocal made
        made += 1
        await go.wait()

    async with _server(unused_tcp_port, before_scrape=before_scrape):
        clients = [await asyncio.open_connection("127.0.0.1", unused_tcp_port) for _ in range(20)]
        asked = [asyncio.create_task(_ask(one, _GET % b"metrics")) for one in clients]
        while not made:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        clients[0][1].transport.abort()
        probe = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
        assert b" 200 OK" in await _ask(probe, _GET % b"healthz")
        go.set()
        answers = await asyncio.gather(*asked)
        assert sum(b"flowdeps_leader" in one for one in answers) == 19
        assert made <= 2  # one that comes as late as that gets the next page


async def test_no_more_than_half_of_the_time_goes_to_pages(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next page begins as long after the last one as that took: whoever asks on and on takes
    no more of the processor."""
    now, begun = 0.0, list[float]()

    async def before_scrape() -> None:
        nonlocal now
        begun.append(now)
        now += 0.3

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    server = Server(
        Metrics(),
        port=unused_tcp_port,
        alive=[],
        ready=[],
        before_scrape=before_scrape,
        clock=lambda: now,
    )
    async with server:
        monkeypatch.setattr(asyncio, "sleep", sleep)
        for _ in range(3):
            client = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
            assert b" 200 OK" in await _ask(client, _GET % b"metrics")
    assert begun == pytest.approx([0.0, 0.6, 1.2])
