"""Indexes as they are: each oddity has a message of its own, and advice that works."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

import pytest

from flowdeps.resolver.errors import (
    IndexUnauthorizedError,
    IndexUnavailableError,
    ResolveError,
    UnsatisfiableError,
)
from flowdeps.resolver.resolve import Resolver
from tests.cluster import distributions
from tests.cluster.httpserver import NOT_FOUND, Answer, Request, Server
from tests.cluster.index import Index
from tests.integration.resolver.support import AMD64, ask, link, lock_of, served

WHEEL = distributions.wheel(name="app", version="1.0")
FILE = f"/files/{WHEEL.filename}"


@contextmanager
def answering(respond: Callable[[Request], Answer]) -> Iterator[str]:
    """A server of any answers; gives its URL as an index."""
    server = Server(respond, host="127.0.0.1", port=0)
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple/"
    finally:
        server.close()


async def pinned(
    resolver: Resolver, *lines: str, index: str | tuple[str, ...], constraint: str = ""
) -> dict[str, str]:
    """The versions by name in the lock of a request."""
    request = ask(
        *lines,
        index=index,
        platforms=(AMD64,),
        constraints=(constraint,) if constraint else (),
    )
    lock = await lock_of(resolver, request, previous=None)
    return {pin.name: pin.version for pin in lock.pins}


async def refusal(
    kind: type[ResolveError], resolver: Resolver, *lines: str, index: str | tuple[str, ...]
) -> str:
    with pytest.raises(kind) as caught:
        await pinned(resolver, *lines, index=index)
    return caught.value.message


async def test_an_index_that_forbids_what_it_lacks(index: Index, resolver: Resolver) -> None:
    """Object storage answers 403 for a missing name: it may come last, and then it works."""
    index.add("common", "2.0")
    pages = {
        "/simple/app/": Answer(body=link(WHEEL), media_type="text/html"),
        FILE: Answer(body=WHEEL.content),
    }
    forbidden = Answer(body=b"", status=HTTPStatus.FORBIDDEN)
    with answering(lambda request: pages.get(request.path, forbidden)) as storage:
        said = await refusal(
            IndexUnauthorizedError, resolver, "app", "common", index=(storage, index.url)
        )
        assert said.startswith(f"{storage} answers 403 Forbidden for common: ")
        assert "object storage does, must answer 404, or come last in spec.index" in said
        found = await pinned(resolver, "app", "common", index=(index.url, storage))
    assert found == {"app": "1.0", "common": "2.0"}


async def test_a_stale_copy_in_the_first_index(
    index: Index, other_index: Index, resolver: Resolver
) -> None:
    """Both indexes and the package are named; either way out works."""
    index.add("ours", "1.0", requires=["common>=2"])
    index.add("common", "1.0")
    other_index.add("common", "2.0")
    both = (index.url, other_index.url)
    said = await refusal(UnsatisfiableError, resolver, "ours", index=both)
    assert said.startswith(
        f"common comes from {index.url}, the first index that has it, which lacks common>=2; "
        f"{other_index.url} may have it: remove the copy from the first, or name the other before"
    )
    assert "dependency confusion" not in said
    wanted = {"ours": "1.0", "common": "2.0"}
    assert await pinned(resolver, "ours", index=both[::-1]) == wanted
    index.remove("common")
    assert await pinned(resolver, "ours", index=both) == wanted


@pytest.mark.parametrize(
    "page", [b"<html></html>", b"<html><a href='/login'>Log in first</a></html>"]
)
async def test_a_page_without_a_release(resolver: Resolver, page: bytes, index: Index) -> None:
    """Empty, or of another kind; an index after it isn't asked, and all that were are named."""
    index.add("app", "1.0")
    with served({"/simple/app/": page}) as base:
        one, both = f"{base}/simple/", (f"{base}/simple/", index.url)
        said = await refusal(UnsatisfiableError, resolver, "app", index=one)
        assert said.startswith(f"The index {one} knows app, but its page has no release that can")
        said = await refusal(UnsatisfiableError, resolver, "app", index=both)
        assert said.startswith(f"One of the indexes {', '.join(both)} knows app, but its page")


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"hello", "text/plain"),
        (b"{}", "application/vnd.pypi.simple.v1+json"),
        (b'<a href="app-1.0-py3-none-any.whl#md5=0">x</a>', "text/html"),
    ],
)
async def test_an_answer_that_is_no_page(resolver: Resolver, body: bytes, media_type: str) -> None:
    """As of a URL that is not an index: its URL, what is wrong, and where to correct it."""
    with answering(lambda _: Answer(body=body, media_type=media_type)) as url:
        said = await refusal(IndexUnavailableError, resolver, "app", index=url)
    assert said.startswith(f"{url}app/ is no page of a package index (")
    assert "correct spec.index.url, which often ends in /simple" in said


async def test_a_file_that_is_gone(resolver: Resolver) -> None:
    """A page that lists what the index no longer serves; the constraint in the advice works."""
    new = distributions.wheel(name="app", version="2.0")
    pages = {"/simple/app/": link(WHEEL) + link(new), FILE: WHEEL.content}
    with served(pages) as base:
        url = f"{base}/simple/"
        said = await refusal(IndexUnavailableError, resolver, "app", index=url)
        assert said.startswith(
            f"the index lists a file of app 2.0 that is not there ({base}/files/{new.filename} "
            "answers 404 Not Found): correct the index, or add app!=2.0 to spec.constraints"
        )
        assert await pinned(resolver, "app", index=url, constraint="app!=2.0") == {"app": "1.0"}


async def test_metadata_that_are_promised_and_not_there(resolver: Resolver) -> None:
    """A proxy that copies pages, but no metadata files: the wheel itself has them."""
    promised = link(WHEEL).replace(b"<a ", b'<a data-core-metadata="true" ')
    with served({"/simple/app/": promised, FILE: WHEEL.content}) as base:
        assert await pinned(resolver, "app", index=f"{base}/simple/") == {"app": "1.0"}


async def test_a_local_version_of_another_index(
    index: Index, other_index: Index, resolver: Resolver
) -> None:
    """`pip freeze` names builds that only their makers have; both ways in the advice work."""
    index.add("torch", "2.1")
    other_index.add("torch", "2.1+cu121")
    line = "torch==2.1+cu121"
    said = await refusal(UnsatisfiableError, resolver, line, index=(index.url, other_index.url))
    assert "torch 2.1+cu121 is in the index of those who built it alone: name that one" in said
    assert "or ask for torch==2.1." in said
    found = await pinned(resolver, line, index=(other_index.url, index.url))
    assert found == {"torch": "2.1+cu121"}
    assert await pinned(resolver, "torch==2.1", index=index.url) == {"torch": "2.1"}


async def test_a_server_that_knows_no_name(resolver: Resolver) -> None:
    """A URL below or above the index's own: nothing is found, and the name is told."""
    with answering(lambda _: NOT_FOUND) as url:
        said = await refusal(UnsatisfiableError, resolver, "app", index=url)
    assert said.startswith("There is no package named app in the index. ")
