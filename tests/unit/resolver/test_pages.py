"""What the program that reads an index's pages makes of them."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from flowdeps.locks.releases import Page
from flowdeps.resolver.child import Limits
from flowdeps.resolver.errors import LimitExceededError, ResolverError
from flowdeps.resolver.pages import read_pages
from tests.cluster.httpserver import NOT_FOUND, Answer, Server
from tests.integration.resolver.support import ask

_JSON = "application/vnd.pypi.simple.v1+json"
GOOD = Answer(
    body=b'<a href="/f/x-1.0-py3-none-any.whl" data-requires-python="&gt;=3.8">x</a>',
    media_type="text/html",
)


async def pages(
    answers: Mapping[str, Answer], tmp_path: Path, *, limits: Limits | None = None
) -> dict[str, Page]:
    """The pages of all that an index answers for."""
    server = Server(
        lambda request: answers.get(request.path.strip("/"), NOT_FOUND), host="127.0.0.1", port=0
    )
    try:
        found = await read_pages(
            {canonicalize_name(name): "1.0" for name in answers},
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


async def test_the_reader_is_confined(tmp_path: Path) -> None:
    """It ends at the limits of uv's."""
    with pytest.raises((LimitExceededError, ResolverError)):
        await pages({"x": GOOD}, tmp_path, limits=Limits(memory=8 * 1024**2))
