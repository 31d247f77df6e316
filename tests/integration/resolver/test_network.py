"""What an index can make of our place in the network, and of our disk, with the real uv."""

import gzip
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from uv import find_uv_bin

from flowdeps.locks.access import Access
from flowdeps.resolver import network
from flowdeps.resolver.confine import find_version
from flowdeps.resolver.errors import (
    DiskFullError,
    IndexRefusedError,
    IndexUnauthorizedError,
    IndexUnavailableError,
    LimitExceededError,
    ResolveError,
    ResolverError,
    UnsatisfiableError,
)
from flowdeps.resolver.network import Network
from flowdeps.resolver.resolve import Resolver
from tests.cluster import distributions
from tests.cluster.index import Index
from tests.integration.resolver.support import (
    AMD64,
    EMPTY_RESOLUTION,
    LOOPBACK,
    MakeResolver,
    ask,
    limits,
    link,
    stand_in,
)

MIB = 1024**2
WHEEL = distributions.wheel(name="app", version="1.0")
confined = pytest.mark.skipif(find_version() < 4, reason="Landlock with ports: Linux 6.7")


@contextmanager
def site(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[int]:
    """A server that answers as it likes; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content_Type": "text/html", **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def trusting(tmp_path: Path, port: int) -> Resolver:
    """A resolver whose configuration names the index at this port, and opens nothing else."""
    network = Network(trusted=(f"http://127.0.0.1:{port}/simple/",))
    return Resolver(limits=limits(), cache=tmp_path / "cache", network=network)


@pytest.mark.parametrize("way", ["page", "file", "redirect", "index"])
async def test_an_index_leads_to_no_place_that_is_closed(way: str, tmp_path: Path) -> None:
    """By its address, a redirect of a page or a file, or a link: nothing is asked there."""
    asked: list[str] = []

    def closed(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        send(handler, link(WHEEL) if handler.path.startswith("/simple") else WHEEL.content)

    with site(closed) as target:
        there = f"http://127.0.0.1:{target}"

        def index(handler: BaseHTTPRequestHandler) -> None:
            if way == "page" or (way == "redirect" and handler.path.startswith("/files")):
                send(handler, b"", 302, Location=f"{there}{handler.path}")
            elif handler.path == "/simple/app/":
                send(handler, link(WHEEL, base=f"{there}/files" if way == "file" else "/files"))

        with site(index) as port:
            url = f"{there if way == 'index' else f'http://127.0.0.1:{port}'}/simple/"
            request = ask("app", index=url, platforms=(AMD64,))
            with pytest.raises(IndexRefusedError) as caught:
                await trusting(tmp_path, port).resolve(request, previous=None)
    assert asked == []
    assert (caught.value.reason, caught.value.retry) == ("IndexNotAllowed", False)
    assert caught.value.message.startswith(f"127.0.0.1:{target} is at an address of the operator")


@confined
async def test_nothing_passes_the_guard_by(
    index: Index, make_resolver: MakeResolver, tmp_path: Path
) -> None:
    """Whatever a child makes of its variables, it connects to the guard alone."""
    seen = tmp_path / "seen"
    uv = stand_in(
        tmp_path / "uv",
        f"""
import socket
guard = int(os.environ["HTTPS_PROXY"].rpartition(":")[2])
said = []
for port in ({index.port}, guard):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        said.append("open")
    except OSError as error:
        said.append(type(error).__name__)
pathlib.Path({str(seen)!r}).write_text(json.dumps(said))
"""
        + EMPTY_RESOLUTION,
    )
    request = ask("app", index=index.url, platforms=(AMD64,))
    await make_resolver(uv=uv).resolve(request, previous=None)
    assert json.loads(seen.read_text()) == ["PermissionError", "open"]


@confined
@pytest.mark.parametrize("hashes", [{}, {"sha256": WHEEL.sha256}])
@pytest.mark.parametrize("older", [False, True])
async def test_a_link_does_not_tell_whether_a_file_exists(
    resolver: Resolver, tmp_path: Path, hashes: dict[str, str], older: bool
) -> None:
    """What there is to see is the same for all: none, one that may not be read, a wheel, another
    file, a directory, a pipe. Also where an older release would do."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "text").write_text("root:x:0:0")
    (folder / "closed").touch(mode=0)
    (folder / "wheel.whl").write_bytes(WHEEL.content)
    (folder / "directory").mkdir()
    os.mkfifo(folder / "pipe")
    said = set()
    for name in ("none", "text", "closed", "wheel.whl", "directory", "pipe", "../secret"):
        files = [{"filename": WHEEL.filename, "url": f"file://{folder}/{name}", "hashes": hashes}]
        if older:
            old = {"filename": "app-0.9-py3-none-any.whl", "url": "/old", "hashes": hashes}
            files.append(old)
        page = {"meta": {"api-version": "1.1"}, "name": "app", "files": files}
        body = json.dumps(page).encode()

        def index(handler: BaseHTTPRequestHandler, body: bytes = body) -> None:
            page = body if handler.path.startswith("/simple") else WHEEL.content
            send(handler, page, Content_Type="application/vnd.pypi.simple.v1+json")

        with site(index) as port:
            request = ask("app", index=f"http://127.0.0.1:{port}/simple/", platforms=(AMD64,))
            with pytest.raises(ResolveError) as caught:
                await resolver.resolve(request, previous=None)
        assert isinstance(caught.value, UnsatisfiableError)
        said.add(caught.value.message.replace(" of app", ""))
    assert len(said) == 1, said
    [one] = said
    assert one.startswith("the index offers a file that is not on the network")


@pytest.mark.parametrize("older", [False, True])
async def test_what_a_release_requires_does_not_tell_whether_a_file_exists(
    index: Index, resolver: Resolver, tmp_path: Path, older: bool
) -> None:
    """A release that requires a path of this machine is passed over, whatever is there."""
    (tmp_path / "text").write_text("root:x:0:0")
    (tmp_path / "wheel.whl").write_bytes(WHEEL.content)
    (tmp_path / "directory").mkdir()
    if older:
        index.add("app", "0.9")
    said = set()
    for name in ("none", "text", "none.txt", "wheel.whl", "none.whl", "directory"):
        index.add("app", "1.0", requires=[f"evil @ file://{tmp_path}/{name}"])
        request = ask("app", index=index.url, platforms=(AMD64,))
        try:
            made = await resolver.resolve(request, previous=None)
            said.add((made.lock.render(), *made.notes))
        except UnsatisfiableError as error:
            said.add((error.message,))
    assert len(said) == 1, said
    [one] = said
    assert "app==0.9" in one[0] if older else "by a file: URL, which is not allowed" in one[0]


@pytest.fixture
def packed() -> bytes:
    """A page of 100 MB, which takes longer to make than a test's event loop may stand still."""
    file = {"filename": WHEEL.filename, "url": "/" + "x" * 10_000, "hashes": {"sha256": "0" * 64}}
    page = {"meta": {"api-version": "1.1"}, "name": "app", "files": [file] * 10_000}
    return gzip.compress(json.dumps(page).encode())


async def test_a_page_that_is_large_once_it_is_unpacked_fills_no_cache(
    packed: bytes, make_resolver: MakeResolver, tmp_path: Path
) -> None:
    """An index sends 100 KB that become 100 MB: that is a limit, and the cache stays small."""
    assert len(packed) < MIB

    def index(handler: BaseHTTPRequestHandler) -> None:
        kind = "application/vnd.pypi.simple.v1+json"
        send(handler, packed, Content_Type=kind, Content_Encoding="gzip")

    with site(index) as port:
        request = ask("app", index=f"http://127.0.0.1:{port}/simple/", platforms=(AMD64,))
        resolver = make_resolver(within=limits(file=64 * MIB))
        with pytest.raises(LimitExceededError, match="it wrote too large a file"):
            await resolver.resolve(request, previous=None)
    sizes = [one.stat().st_size for one in (tmp_path / "cache").rglob("*") if one.is_file()]
    assert sum(sizes) < 65 * MIB


async def test_who_writes_too_much_in_many_files_is_ended(
    make_resolver: MakeResolver, tmp_path: Path
) -> None:
    """Each of them is small enough."""
    program = """
for number in range(20):
    pathlib.Path(str(number)).write_bytes(bytes(1024 * 1024))
time.sleep(600)
"""
    uv = stand_in(tmp_path / "uv", program)
    request = ask("app", index="http://127.0.0.1:1/simple/", platforms=(AMD64,))
    resolver = make_resolver(uv=uv, within=limits(file=2 * MIB, written=10 * MIB))
    with pytest.raises(LimitExceededError, match="it wrote more than 10 MiB") as caught:
        await resolver.resolve(request, previous=None)
    assert not caught.value.retry


async def test_a_cache_that_grows_too_large_is_empty_for_the_next_run_of_uv(
    index: Index, tmp_path: Path
) -> None:
    """A request may run uv for many times, each of which fills it anew."""
    index.add("app", "1.0")
    program = f"""
cache = pathlib.Path(sys.argv[sys.argv.index("--cache-dir") + 1])
sizes = [one.stat().st_size for one in cache.rglob("filled")]
with open({str(tmp_path / "seen")!r}, "a") as seen:
    seen.write(f"{{sum(sizes)}}\\n")
(cache / "filled").write_bytes(bytes(6 * 1024 * 1024))
os.execv("{find_uv_bin()}", ["uv", *sys.argv[1:]])
"""
    uv = stand_in(tmp_path / "uv", program)
    cache = tmp_path / "cache"
    resolver = Resolver(limits=limits(), cache=cache, cache_size=10 * MIB, network=LOOPBACK, uv=uv)
    await resolver.resolve(ask("app", index=index.url), previous=None)
    assert (tmp_path / "seen").read_text().split() == ["0", "0"]
    assert not list(cache.rglob("filled"))


async def test_a_full_disk_is_told_and_ends_by_itself(
    index: Index, make_resolver: MakeResolver, tmp_path: Path
) -> None:
    """What others have cached is removed, and the same request is made again later."""
    index.add("app", "1.0")
    request = ask("app", index=index.url, platforms=(AMD64,))
    kept = make_resolver()
    await kept.resolve(request, previous=None)
    assert list((tmp_path / "cache").rglob("*.rkyv"))
    program = f"""
output.symlink_to("/dev/full")
os.execv("{find_uv_bin()}", ["uv", *sys.argv[1:]])
"""
    uv = stand_in(tmp_path / "uv", program)
    with pytest.raises(DiskFullError) as caught:
        await make_resolver(uv=uv).resolve(request, previous=None)
    assert (caught.value.reason, caught.value.retry) == ("ResolverLimit", True)
    assert "resolver.cacheSize" in caught.value.message
    assert not list((tmp_path / "cache").rglob("*.rkyv"))
    assert (await kept.resolve(request, previous=None)).lock.pins


async def test_a_disk_without_room_for_our_own_files_is_told(
    make_resolver: MakeResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where uv finds it."""

    def full(path: Path, *_: object, **__: object) -> int:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)
    request = ask("app", index="http://127.0.0.1:1/simple/", platforms=(AMD64,))
    with pytest.raises(DiskFullError):
        await make_resolver().resolve(request, previous=None)


async def test_credentials_of_an_index_go_to_no_other_port_of_its_host(
    resolver: Resolver,
) -> None:
    """uv sends them to who asks for some, so they are left out on the way."""
    given: dict[str, list[str | None]] = {"index": [], "other": []}

    def other(handler: BaseHTTPRequestHandler) -> None:
        given["other"].append(handler.headers["Authorization"])
        send(handler, WHEEL.content, 200 if handler.headers["Authorization"] else 401)

    with site(other) as target:

        def index(handler: BaseHTTPRequestHandler) -> None:
            given["index"].append(handler.headers["Authorization"])
            if handler.headers["Authorization"]:
                send(handler, link(WHEEL, base=f"http://127.0.0.1:{target}/files"))
            else:
                send(handler, b"", 401)

        with site(index) as port:
            access = Access(netrc="machine 127.0.0.1 login me password secret\n")
            request = ask("app", index=f"http://127.0.0.1:{port}/simple/", platforms=(AMD64,))
            with pytest.raises(IndexUnauthorizedError):
                await resolver.resolve(request, previous=None, access=access)
    assert set(given["index"]) - {None}
    assert given["other"]
    assert set(given["other"]) == {None}


@pytest.mark.parametrize(
    ("networks", "error"), [((), ResolverError), (("0.0.0.0/0", "::/0"), IndexUnavailableError)]
)
async def test_a_proxy_that_is_not_of_http_needs_open_networks(
    networks: tuple[str, ...],
    error: type[ResolveError],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through it nobody sees where an index is."""
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    network = Network(allowed=networks)
    resolver = Resolver(limits=limits(), cache=tmp_path / "cache", network=network)
    with pytest.raises(error) as caught:
        await resolver.resolve(ask("app", index="http://192.0.2.1/simple/"), previous=None)
    assert ("ALL_PROXY of the operator is no HTTP proxy" in caught.value.message) == (not networks)


async def test_a_proxy_that_others_go_before_is_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in terminals that have all three variables: those of the scheme are used."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    resolver = Resolver(limits=limits(), cache=tmp_path / "cache", network=Network())
    with pytest.raises(IndexUnavailableError, match="proxy doesn't lead there"):
        await resolver.resolve(ask("app", index="http://192.0.2.1/simple/"), previous=None)


@confined
async def test_certificates_in_several_directories_can_be_read(
    index: Index, make_resolver: MakeResolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_DIR is a list of them, as PATH is."""
    places = [tmp_path / "ours", tmp_path / "theirs"]
    (tmp_path / "bin").mkdir()  # the program's directory is open
    for one in places:
        one.mkdir()
        (one / "ca.pem").write_text("certificate")
    monkeypatch.setenv("SSL_CERT_DIR", ":".join(map(str, places)))
    uv = stand_in(
        tmp_path / "bin" / "uv",
        'for one in os.environ["SSL_CERT_DIR"].split(":"):\n'
        '    assert (pathlib.Path(one) / "ca.pem").read_text() == "certificate"\n'
        + EMPTY_RESOLUTION,
    )
    request = ask("app", index=index.url, platforms=(AMD64,))
    await make_resolver(uv=uv).resolve(request, previous=None)


async def test_a_proxy_that_does_not_start_is_told(
    index: Index, make_resolver: MakeResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is not to blame."""
    monkeypatch.setattr(network, "_COMMAND", (sys.executable, "-c", "import nothing_of_this_name"))
    request = ask("app", index=index.url, platforms=(AMD64,))
    with pytest.raises(ResolverError, match="proxy ended: ModuleNotFoundError: No module named"):
        await make_resolver(within=limits(timeout=20)).resolve(request, previous=None)
