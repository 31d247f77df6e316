"""What the program that reads an index's pages makes of them."""

import json
import socket
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from packaging.utils import canonicalize_name

from flowdeps.locks.releases import Page
from flowdeps.resolver.child import Limits
from flowdeps.resolver.errors import IndexUnavailableError, LimitExceededError, ResolverError
from flowdeps.resolver.pages import read_pages
from tests.cluster.httpserver import NOT_FOUND, Answer, Request, Server
from tests.integration.resolver.support import ask

_JSON = "application/vnd.pypi.simple.v1+json"
GOOD = Answer(
    body=b'<a href="/f/x-1.0-py3-none-any.whl" data-requires-python="&gt;=3.8">x</a>',
    media_type="text/html",
)


async def pages(
    answers: Mapping[str, Answer],
    tmp_path: Path,
    *,
    limits: Limits | None = None,
    respond: Callable[[Request], Answer] | None = None,
) -> dict[str, Page]:
    """The pages of all that an index answers for; `respond` answers for x alone."""
    server = Server(
        respond or (lambda request: answers.get(request.path.strip("/"), NOT_FOUND)),
        host="127.0.0.1",
        port=0,
    )
    try:
        found = await read_pages(
            {canonicalize_name(name): "1.0" for name in answers or ["x"]},
            ask("x", index="http://unused.example.com/"),
            (f"http://127.0.0.1:{server.server_port}/",),
            environment={"UV_HTTP_TIMEOUT": "5"},
            directory=tmp_path,
            limits=limits or Limits(),
        )
    finally:
        server.close()
    return {str(name): page for name, page in found.items()}


@pytest.mark.parametrize(
    "odd",
    [
        Answer(body=b"[]", media_type=_JSON),
        Answer(body=b"{", media_type=_JSON),
        Answer(body=b'{"files": [1]}', media_type=_JSON),
        Answer(body=b'{"files": [{"url": "x"}]}', media_type=_JSON),
        Answer(body=b"[" * 100_000, media_type=_JSON),
        Answer(body=b"", status=403),
        Answer(body=b"", status=501),
    ],
    ids=str,
)
async def test_an_odd_page_ends_nothing(odd: Answer, tmp_path: Path) -> None:
    """It is not known, and why is told; the pages of others are read all the same."""
    found = await pages({"odd": odd, "good": GOOD}, tmp_path)
    assert found["odd"].error
    assert found["odd"].releases == ()
    assert [str(one.version) for one in found["good"].releases] == ["1.0"]
    assert found["good"].releases[0].python == (">=3.8",)


async def test_what_is_no_release_is_passed_over(tmp_path: Path) -> None:
    """Links that go elsewhere, other kinds of files, and names that are none."""
    links = ["/login", "x-1.0.exe", "x-1.0.tar.gz", "x-y-z.whl", "x.whl", "mailto:me", "#top", ""]
    body = "".join(f"<a href='{one}'>" for one in links).encode() + b"<a>" + b"<a href>"
    found = await pages({"x": Answer(body=body, media_type="text/html")}, tmp_path)
    [release] = found["x"].releases
    assert (str(release.version), release.platforms, found["x"].error) == ("1.0", frozenset(), "")


async def test_a_page_that_no_index_has_says_nothing(tmp_path: Path) -> None:
    """As of a package that only an image has."""
    assert await pages({"x": NOT_FOUND}, tmp_path) == {"x": Page()}


async def test_a_page_has_texts_or_nothing(tmp_path: Path) -> None:
    """What an index says is compared and shown: another kind of value, or a long text, is none."""
    wheel = {"filename": "x-1.0-py3-none-any.whl", "url": "/x", "hashes": {"sha256": "0"}}
    odd: dict[str, dict[str, object]] = {
        "number": {"requires-python": 3, "upload-time": 3},
        "list": {"requires-python": ["<3"], "upload-time": {"a": 1}},
        "long": {"requires-python": "===" + 10_000 * "9"},
    }
    answers = {
        name: Answer(body=json.dumps({"files": [wheel | more]}).encode(), media_type=_JSON)
        for name, more in odd.items()
    }
    for page in (await pages(answers, tmp_path)).values():
        [release] = page.releases
        assert (release.python, release.uploaded, page.error) == (("",), "", "")


@pytest.mark.parametrize("place", ["me:hunter2@127.0.0.1", "127.0.0.1/a b"])
async def test_no_address_is_shown_with_what_opens_it(place: str, tmp_path: Path) -> None:
    """An index may name its files with a password or a token, also where they are no URLs."""
    link = f"<a href='http://{place}/x-1.0-py3-none-any.whl?token=hunter2'>x</a>"
    found = await pages({"x": Answer(body=link.encode(), media_type="text/html")}, tmp_path)
    shown = f"http://{place.removeprefix('me:hunter2@')}/x-1.0-py3-none-any.whl"
    assert found["x"].error == f"{shown} can't be read: its address is none"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
async def test_what_fails_for_now_is_asked_again_and_then_an_outage(
    status: int, tmp_path: Path
) -> None:
    """An index that has too much to do has the same answer later: a lock must not depend on it."""
    failure = Answer(body=b"", status=status)
    answers = [failure, failure, GOOD, failure, failure, failure]
    found = await pages({}, tmp_path, respond=lambda _: answers.pop(0))
    assert found["x"].releases
    with pytest.raises(IndexUnavailableError, match=f"it answers {status}"):
        await pages({}, tmp_path, respond=lambda _: answers.pop(0))
    assert answers == []


async def test_pages_that_are_too_much_end_nothing(tmp_path: Path) -> None:
    """uv has found a lock; what could not be looked at is said of it."""
    found = await pages({"x": GOOD, "y": GOOD}, tmp_path, limits=Limits(output=100))
    assert {page.error for page in found.values()} == {
        "what the index says of the packages is too much to read"
    }


async def test_the_reader_is_confined(tmp_path: Path) -> None:
    """It ends at the limits of uv's."""
    with pytest.raises((LimitExceededError, ResolverError)):
        await pages({"x": GOOD}, tmp_path, limits=Limits(memory=8 * 1024**2))


@pytest.mark.parametrize("scheme", ["ftp", "file"])
async def test_a_redirection_leads_to_the_web_only(scheme: str, tmp_path: Path) -> None:
    """Other protocols know no proxy, so that nobody would look at the address."""
    (tmp_path / "x").write_bytes(GOOD.body)
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0)
        port = other.getsockname()[1]
        place = f"127.0.0.1:{port}/x" if scheme == "ftp" else f"{tmp_path}/x"
        found = await redirected(f"{scheme}://{place}", tmp_path)
        assert "x/ can't be read" in found["x"].error
        with pytest.raises(BlockingIOError):
            other.accept()


async def redirected(to: str, tmp_path: Path) -> dict[str, Page]:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", to)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            found = await read_pages(
                {canonicalize_name("x"): "1.0"},
                ask("x", index="http://unused.example.com/"),
                (f"http://127.0.0.1:{server.server_port}/",),
                environment={"UV_HTTP_TIMEOUT": "5"},
                directory=tmp_path,
                limits=Limits(),
            )
        finally:
            server.shutdown()
            thread.join()
    return {str(name): page for name, page in found.items()}
