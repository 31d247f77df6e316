"""The proxy between the resolver's children and the network."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flowdeps.resolver import guard
from flowdeps.resolver.addresses import Policy
from flowdeps.resolver.guard import Guard
from tests.cluster.httpserver import Answer, Request, Server

OPEN = Policy(allowed=["127.0.0.0/8"])
_LINE = b"\r\n"


@pytest.fixture
def asked() -> list[Request]:
    return []


@pytest.fixture
def port(asked: list[Request]) -> Iterator[int]:
    """Of a server on this machine."""

    def respond(request: Request) -> Answer:
        asked.append(request)
        return Answer(body=b"hello")

    server = Server(respond, host="127.0.0.1", port=0)
    yield server.server_port
    server.close()


@asynccontextmanager
async def serving(
    policy: Policy, directory: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[int]:
    one = Guard(policy, environment or {}, directory=directory)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def say(port: int, *lines: str, then: bytes = b"", read: int = -1) -> str:
    """What the proxy answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode() + then)
    async with asyncio.timeout(30):
        answer = await (reader.read(read) if read > 0 else reader.read())
    writer.close()
    return answer.decode()


def notes(directory: Path, file: str) -> str:
    path = directory / file
    return path.read_text() if path.exists() else ""


LOOPBACKS = [
    *("127.0.0.1", "localhost", "LOCALHOST", "127.1", "0x7f000001", "2130706433", "0177.0.0.1"),
    *("[::ffff:127.0.0.1]", "0"),
]


@pytest.mark.parametrize("host", LOOPBACKS)
@pytest.mark.parametrize("method", ["GET", "CONNECT"])
async def test_this_machine_is_not_reached(
    host: str, method: str, port: int, asked: list[Request], tmp_path: Path
) -> None:
    """However it is written, in plain text and by a tunnel; it is told, without the address."""
    target = f"{host}:{port}" if method == "CONNECT" else f"http://{host}:{port}/x"
    async with serving(Policy(), tmp_path) as proxy:
        answer = await say(proxy, f"{method} {target} HTTP/1.1", f"Host: {host}")
    assert answer.startswith("HTTP/1.1 403 Refused by flowdeps")
    assert asked == []
    said = notes(tmp_path, guard.REFUSED)
    assert said.startswith(f"{host.lower()}:{port} is at an address of the operator's machine")
    assert "index.allowedNetworks" in said


async def test_what_the_configuration_names_is_reached(
    port: int, asked: list[Request], tmp_path: Path
) -> None:
    """An index of the configuration at any address, but no other port or scheme of its host."""
    policy = Policy(trusted=[("http", "localhost", port)])
    async with serving(policy, tmp_path) as proxy:
        answer = await say(proxy, f"GET http://localhost:{port}/x?y=z HTTP/1.1", "Host: localhost")
        assert answer.endswith("hello")
        assert [one.path for one in asked] == ["/x?y=z"]
        for other in (f"CONNECT localhost:{port}", f"GET http://127.0.0.1:{port}/x"):
            answer = await say(proxy, f"{other} HTTP/1.1", "Host: localhost")
            assert answer.startswith("HTTP/1.1 403")


async def test_a_name_that_changes_its_address_leads_nowhere_else(
    port: int, asked: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is resolved once for each connection, which goes to the address that was looked at."""
    answers = iter([["192.0.2.1", "127.0.0.1"], ["127.0.0.1"]])
    opened: list[list[str]] = []

    async def resolve(*_: object) -> list[str]:
        return next(answers)

    async def first_open(addresses: list[str], _: int) -> None:
        opened.append(addresses)
        raise OSError("nobody is there")

    monkeypatch.setattr(guard, "_resolve", resolve)
    monkeypatch.setattr(guard, "_first_open", first_open)
    async with serving(Policy(), tmp_path) as proxy:
        for status in (502, 403):
            answer = await say(proxy, f"GET http://rebound.example.com:{port}/ HTTP/1.1")
            assert answer.startswith(f"HTTP/1.1 {status}")
    assert opened == [["192.0.2.1"]]
    assert asked == []


async def test_credentials_in_plain_text_reach_the_index_alone(
    port: int, asked: list[Request], tmp_path: Path
) -> None:
    """Another port, or TLS that ends elsewhere, makes it another origin."""
    header = "Authorization: Basic c2VjcmV0"
    for indexes, given in (
        ([("http", "127.0.0.1", port)], "Basic c2VjcmV0"),
        ([("http", "127.0.0.1", port + 1)], None),
        ([("https", "127.0.0.1", port)], None),
        ([], None),
    ):
        policy = Policy(allowed=["127.0.0.0/8"], indexes=indexes, credentials=True)
        async with serving(policy, tmp_path) as proxy:
            await say(proxy, f"GET http://127.0.0.1:{port}/ HTTP/1.1", "Host: x", header)
        assert asked.pop().authorization == given


async def test_no_tunnel_carries_credentials_to_another_port(port: int, tmp_path: Path) -> None:
    """It is refused before anything is connected."""
    policy = Policy(
        allowed=["127.0.0.0/8"], indexes=[("https", "127.0.0.1", 443)], credentials=True
    )
    async with serving(policy, tmp_path) as proxy:
        answer = await say(proxy, f"CONNECT 127.0.0.1:{port} HTTP/1.1", "Host: x")
    assert answer.startswith("HTTP/1.1 403")
    assert "another port of the index's host" in notes(tmp_path, guard.REFUSED)


async def test_a_tunnel_is_what_it_carries(port: int, tmp_path: Path) -> None:
    """Bytes go through as they are."""
    request = b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with serving(OPEN, tmp_path) as proxy:
        answer = await say(proxy, f"CONNECT 127.0.0.1:{port} HTTP/1.1", "Host: x", then=request)
    assert answer.startswith("HTTP/1.1 200 Connected\r\n")
    assert answer.endswith("hello")


async def test_a_connection_is_for_one_request(
    port: int, asked: list[Request], tmp_path: Path
) -> None:
    """A second one in its wake, which may be for another host, reaches nobody."""
    second = b"GET http://other.example.com/secret HTTP/1.1\r\nHost: other\r\n\r\n"
    first = f"GET http://127.0.0.1:{port}/one HTTP/1.1"
    async with serving(OPEN, tmp_path) as proxy:
        answer = await say(proxy, first, "Host: x", "Connection: keep-alive", then=second, read=1)
    assert answer in {"", "H"}
    assert [one.path for one in asked] in ([], ["/one"])


@pytest.mark.parametrize(
    "line",
    [
        *("POST http://127.0.0.1/ HTTP/1.1", "GET / HTTP/1.1", "GET https://127.0.0.1/ HTTP/1.1"),
        *("GET file:///etc/passwd HTTP/1.1", "GET ftp://127.0.0.1/ HTTP/1.1", "nonsense", "GET x"),
        *("CONNECT  HTTP/1.1", "CONNECT 127.0.0.1:99999 HTTP/1.1", "GET http://[/ HTTP/1.1"),
        f"GET http://{'a' * 70}.example.com/ HTTP/1.1",
        f"GET http://127.0.0.1/{'a' * 70_000} HTTP/1.1",
    ],
)
async def test_what_is_no_request_for_an_index_is_answered_so(line: str, tmp_path: Path) -> None:
    """Nothing is connected, and the proxy goes on."""
    async with serving(OPEN, tmp_path) as proxy:
        assert (await say(proxy, line, "Host: x"))[:10] in {"HTTP/1.1 4", "HTTP/1.1 5", ""}
        assert (await say(proxy, "GET / HTTP/1.1", "Host: x")).startswith("HTTP/1.1 400")


async def test_a_name_that_is_not_known_is_told(tmp_path: Path) -> None:
    """With what to do."""
    async with serving(OPEN, tmp_path) as proxy:
        answer = await say(proxy, "CONNECT index.invalid:443 HTTP/1.1", "Host: x")
    assert answer.startswith("HTTP/1.1 502")
    assert notes(tmp_path, guard.UNREACHED) == (
        "the name index.invalid can't be resolved; check the index URL\n"
    )


@asynccontextmanager
async def upstream(answer: Callable[[bytes], bytes]) -> AsyncIterator[tuple[int, list[bytes]]]:
    """The operator's own proxy, and what it is asked."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(_LINE * 2))
        writer.write(answer(heads[-1]))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heads


async def test_the_operators_proxy_is_on_the_way(tmp_path: Path) -> None:
    """With its credentials, which nobody else gets; for what this machine can't resolve, too."""

    def answer(_: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup"

    async with upstream(answer) as (port, heads):
        environment = {
            "HTTPS_PROXY": f"http://me:pass%20word@127.0.0.1:{port}",
            "http_proxy": f"127.0.0.1:{port}",
        }
        async with serving(Policy(), tmp_path, environment) as proxy:
            plain = await say(
                proxy, "GET http://index.invalid/x HTTP/1.1", "Host: x", "Proxy-Authorization: ours"
            )
            await say(proxy, "CONNECT index.invalid:443 HTTP/1.1", "Host: x")
    assert plain.endswith("up")
    assert heads[0].startswith(b"GET http://index.invalid/x HTTP/1.1\r\n")
    assert b"roxy-" not in heads[0]
    assert heads[1].startswith(b"CONNECT index.invalid:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bWU6cGFzcyB3b3Jk\r\n" in heads[1]


async def test_the_operators_proxy_opens_nothing_that_is_closed(tmp_path: Path) -> None:
    """Where this machine knows the address; that it isn't asked is seen from its silence."""
    async with upstream(lambda _: b"HTTP/1.1 200 OK\r\n\r\n") as (port, heads):
        environment = {"ALL_PROXY": f"http://127.0.0.1:{port}"}
        async with serving(Policy(), tmp_path, environment) as proxy:
            for line in ("CONNECT 169.254.169.254:443", "GET http://localhost/x"):
                answer = await say(proxy, f"{line} HTTP/1.1", "Host: x")
                assert answer.startswith("HTTP/1.1 403")
    assert heads == []


@pytest.mark.parametrize("bypassed", ["*", "localhost", ".local,127.0.0.0/8", "127.0.0.1"])
async def test_hosts_without_the_operators_proxy_are_reached_directly(
    bypassed: str, port: int, asked: list[Request], tmp_path: Path
) -> None:
    """By name, domain, address or network."""
    environment = {"HTTP_PROXY": "http://proxy.invalid:1", "NO_PROXY": bypassed}
    host = "localhost" if bypassed == "localhost" else "127.0.0.1"
    async with serving(OPEN, tmp_path, environment) as proxy:
        await say(proxy, f"GET http://{host}:{port}/x HTTP/1.1", "Host: x")
    assert [one.path for one in asked] == ["/x"]


async def test_a_proxy_that_refuses_a_tunnel_is_told(tmp_path: Path) -> None:
    """With what it answers."""
    async with upstream(lambda _: b"HTTP/1.1 407 Who are you\r\n\r\n") as (port, _):
        environment = {"HTTPS_PROXY": f"http://127.0.0.1:{port}"}
        async with serving(Policy(), tmp_path, environment) as proxy:
            answer = await say(proxy, "CONNECT index.invalid:443 HTTP/1.1", "Host: x")
    assert answer.startswith("HTTP/1.1 502")
    assert notes(tmp_path, guard.UNREACHED) == (
        "the operator's proxy doesn't lead there: it answers 407 Who are you\n"
    )


@pytest.mark.parametrize("answer", [b"", b"hello\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000])
async def test_an_index_that_does_not_answer_is_told(answer: bytes, tmp_path: Path) -> None:
    """As a fault of its own, after which clients try again: a 4xx would be their own."""
    async with upstream(lambda _: answer) as (port, _), serving(OPEN, tmp_path) as proxy:
        said = await say(proxy, f"GET http://127.0.0.1:{port}/ HTTP/1.1", "Host: x")
    assert said.startswith("HTTP/1.1 502")
    assert notes(tmp_path, guard.UNREACHED) == "the connection ended without an answer of HTTP\n"


async def test_a_silent_address_holds_up_no_other(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of IPv6 where packets to it are dropped: the next one is tried beside it."""
    ended: list[str] = []
    opening = asyncio.open_connection

    async def open_connection(host: str, *args: int, **more: int) -> object:
        if host.startswith("127."):
            return await opening(host, *args, **more)
        try:
            return await asyncio.Event().wait()
        finally:
            ended.append(host)

    async def resolve(*_: object) -> list[str]:
        return ["2001:db8::1", "2001:db8::2", "127.0.0.1"]

    monkeypatch.setattr(guard, "_resolve", resolve)
    monkeypatch.setattr(guard, "_CONNECT_SECONDS", 3600)
    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    policy = Policy(allowed=["127.0.0.0/8", "2001:db8::/32"])
    async with serving(policy, tmp_path) as proxy:
        answer = await say(proxy, f"GET http://x.example.com:{port}/ HTTP/1.1", "Host: x")
    assert answer.endswith("hello")
    assert ended == ["2001:db8::1", "2001:db8::2"]
