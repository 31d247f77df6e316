import base64
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

import pytest

from flowdeps.vulnerabilities.load import Advisories
from flowdeps.vulnerabilities.read import Bounds
from tests.cluster.httpserver import Answer, Request, Server
from tests.unit.vulnerabilities.builders import archive, osv


@dataclass
class Site:
    """A server whose answer can be changed."""

    answer: Answer
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    def respond(self, request: Request) -> Answer:
        self.requests.append(request)
        return self.answer

    def url(self, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.port}/PyPI/all.zip"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(Answer(body=archive(osv(1)), media_type="application/zip"))
    server = Server(made.respond, host="127.0.0.1", port=0)
    made.port = server.server_port
    yield made
    server.close()


async def test_an_archive_is_fetched_only_when_it_changed(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The ETag of the one that we have is sent; a new archive replaces it."""
    caplog.set_level(logging.INFO, "httpx")
    advisories = Advisories(site.url())
    assert await advisories.load()
    assert advisories.problem is None
    assert advisories.current
    assert advisories.current.records == 1
    assert not await advisories.load()
    site.answer = Answer(body=archive(osv(1), osv(2)))
    assert await advisories.load()
    assert advisories.current.records == 2
    assert not await advisories.load()
    assert _statuses(caplog) == ["200", "304", "200", "304"]


def _statuses(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [one.getMessage() for one in caplog.records if one.name == "httpx"]
    return [line.rpartition("HTTP/1.1 ")[2][:3] for line in lines]


async def test_an_archive_that_could_not_be_read_is_fetched_again(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Only a database that is in use is not asked for; a broken one doesn't replace it."""
    caplog.set_level(logging.INFO, "httpx")
    good, site.answer = site.answer, Answer(body=b"nothing")
    advisories = Advisories(site.url())
    for _ in range(2):
        assert not await advisories.load()
        assert f"{site.url()}: no advisory about PyPI packages; " in str(advisories.problem)
    site.answer = good
    assert await advisories.load()
    site.answer = Answer(body=b"nothing")
    assert not await advisories.load()
    assert "no advisory" in str(advisories.problem)
    assert advisories.current
    site.answer = good
    assert not await advisories.load()
    assert advisories.problem is None
    assert _statuses(caplog) == ["200", "200", "200", "200", "304"]


@pytest.mark.parametrize(
    ("answer", "silence", "problem"),
    [
        (Answer(body=b"", status=HTTPStatus.NOT_FOUND), 30, "the answer is 404"),
        (Answer(body=b"", status=HTTPStatus.NOT_MODIFIED), 30, "the answer is 304"),
        (Answer(body=b"x" * 5000), 30, "more than 4,000 bytes"),
        (Answer(body=archive(osv(1)), delay=30), 0.5, "can't be fetched (no answer in time)"),
    ],
)
async def test_an_answer_that_is_no_archive_is_a_problem(
    site: Site, answer: Answer, silence: float, problem: str
) -> None:
    """Errors, floods and silence end within bounds and are told apart."""
    site.answer = answer
    advisories = Advisories(site.url(), bounds=Bounds(download=4000, silence=silence))
    assert not await advisories.load()
    assert advisories.problem == f"{site.url()}: {problem}"


async def test_a_long_download_ends(site: Site) -> None:
    """However much time is left for a single silence."""
    site.answer = Answer(body=archive(osv(1)), delay=30)
    advisories = Advisories(site.url(), bounds=Bounds(timeout=0.3, silence=30))
    await advisories.load()
    assert advisories.problem == f"{site.url()}: can't be fetched (no answer in time)"


async def test_a_server_that_is_away_keeps_the_last_database(site: Site) -> None:
    """And the problem says why nothing newer is there."""
    advisories = Advisories(site.url())
    await advisories.load()
    version, port = advisories.version, site.port
    away = Advisories("http://127.0.0.1:1/all.zip")
    await away.load()
    assert away.problem
    assert away.problem.startswith("http://127.0.0.1:1/all.zip: can't be fetched (")
    site.answer = Answer(body=b"", status=HTTPStatus.BAD_GATEWAY)
    assert not await advisories.load()
    assert advisories.version == version
    assert advisories.problem == f"http://127.0.0.1:{port}/PyPI/all.zip: the answer is 502"


async def test_no_secret_of_the_url_is_shown(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """User, password and query are sent, but stand in no message and no log of ours."""
    caplog.set_level(logging.INFO, "flowdeps")
    advisories = Advisories(f"{site.url('me:hush@')}?token=hush")
    assert await advisories.load()
    expected = base64.b64encode(b"me:hush").decode()
    assert site.requests[-1].authorization == f"Basic {expected}"
    assert site.requests[-1].path == "/PyPI/all.zip?token=hush"
    site.answer = Answer(body=b"", status=HTTPStatus.FORBIDDEN)
    await advisories.load()
    assert advisories.problem == f"{site.url()}: the answer is 403"
    ours = [one.getMessage() for one in caplog.records if one.name.startswith("flowdeps")]
    assert ours
    assert "hush" not in "".join(ours)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:very/hush@127.0.0.1:1/all.zip",
        "http://me:1/hush@127.0.0.1:1/all.zip",
        "http://me:hush@[::1/all.zip",
        "http://me:hush@127.0.0.1:hush/all.zip",
        "HTTP://me:hush@127.0.0.1:1/all.zip#hush",
        "http://",
    ],
)
async def test_a_wrong_url_is_a_problem_that_shows_no_secret(url: str) -> None:
    """Whatever is wrong with it."""
    advisories = Advisories(url)
    assert not await advisories.load()
    assert advisories.problem
    assert "hush" not in advisories.problem
