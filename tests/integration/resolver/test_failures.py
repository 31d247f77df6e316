"""What goes wrong outside, against the real uv: each ends in the right error and a clear text."""

import asyncio
import re

import pytest

from flowdeps.resolver.errors import (
    IndexUnauthorizedError,
    IndexUnavailableError,
    ResolveError,
    ResolverError,
    UnsatisfiableError,
)
from flowdeps.resolver.resolve import Resolver
from tests.cluster import distributions
from tests.cluster.index import Index
from tests.integration.resolver.support import (
    AMD64,
    MakeResolver,
    ask,
    link,
    lock_of,
    served,
)

# One platform: these requests fail in the first.
ONE = (AMD64,)


async def failure(resolver: Resolver, *lines: str, index: str | tuple[str, ...]) -> ResolveError:
    with pytest.raises(ResolveError) as caught:
        await lock_of(resolver, ask(*lines, index=index, platforms=ONE), previous=None)
    return caught.value


async def test_a_conflict_is_told_in_the_resolvers_own_words(
    index: Index, resolver: Resolver
) -> None:
    """Time doesn't help, the spec must change; the text says which requirements are in the way."""
    index.add("app", "1.0", requires=["lib<2"])
    index.add("lib", "1.0")
    index.add("lib", "2.0")
    error = await failure(resolver, "app", "lib>=2", index=index.url)
    assert isinstance(error, UnsatisfiableError)
    assert (error.reason, error.retry) == ("Unsatisfiable", False)
    assert error.message == (
        "Because all versions of app depend on lib<2 and you require app, we can conclude that you "
        "require lib<2. And because you require lib>=2, we can conclude that your requirements are "
        "unsatisfiable."
    )


async def test_an_unknown_package_is_named(index: Index, resolver: Resolver) -> None:
    """A misspelt name, or one that only a dependency wants, is said in plain words."""
    index.add("app", "1.0", requires=["pandsa"])
    for lines in (["pandsa"], ["app"]):
        error = await failure(resolver, *lines, index=index.url)
        assert isinstance(error, UnsatisfiableError)
        assert error.message.startswith("There is no package named pandsa in the index. Because ")


async def test_a_release_for_another_python_says_so(index: Index, resolver: Resolver) -> None:
    """The text has the version that was asked for and the one that is needed."""
    index.add("app", "1.0", requires_python=">=3.12")
    error = await failure(resolver, "app", index=index.url)
    assert isinstance(error, UnsatisfiableError)
    assert "(>=3.11) does not satisfy Python>=3.12" in error.message
    assert "--python-version" not in error.message


async def test_a_refused_first_index_does_not_pass_the_name_on(
    index: Index, other_index: Index, resolver: Resolver
) -> None:
    """While the first index can't be asked, no other may answer in its place."""
    other_index.add("app", "1.0")
    for status in (401, 403):
        index.fail(status)
        error = await failure(resolver, "app", index=(index.url, other_index.url))
        assert isinstance(error, IndexUnauthorizedError)


async def test_an_outage_is_an_outage_and_not_an_answer(
    index: Index, other_index: Index, make_resolver: MakeResolver
) -> None:
    """Server errors, closed ports, unknown hosts, broken TLS and silence: retried, and named."""
    resolver = make_resolver()
    other_index.add("app", "1.0")
    with Index() as closed, Index() as slow:
        index.fail(503)
        slow.slow(60)
        closed.down()
        cases = {
            index.url: r"can't be read: HTTP status server error \(503 Service Unavailable\)",
            closed.url: "can't be read: Connection refused",
            slow.url: "can't be read: operation timed out",
            "http://index.invalid/simple/": "can't be read: the name index.invalid can't be",
            f"https://127.0.0.1:{other_index.port}/simple/": "can't be read: ",
        }
        errors = await asyncio.gather(
            *(failure(resolver, "app", index=(url, other_index.url)) for url in cases)
        )
    for (url, text), error in zip(cases.items(), errors, strict=True):
        assert isinstance(error, IndexUnavailableError)
        assert error.retry
        assert re.match(f"{re.escape(url)}app/ {text}", error.message)


async def test_a_kept_pin_is_no_answer_during_an_outage(index: Index, resolver: Resolver) -> None:
    """What was cached doesn't hide that the index is away."""
    index.add("app", "1.0")
    request = ask("app", index=index.url, platforms=ONE)
    lock = await lock_of(resolver, request, previous=None)
    index.down()
    with pytest.raises(IndexUnavailableError):
        await lock_of(resolver, request, previous=lock)
    index.up()
    assert await lock_of(resolver, request, previous=lock) == lock


async def test_a_damaged_wheel_is_named(resolver: Resolver) -> None:
    """A file that is no wheel may be replaced: it is a failure to retry."""
    wheel = distributions.wheel(name="app", version="1.0")
    pages = {"/simple/app/": link(wheel), f"/files/{wheel.filename}": b"no wheel at all"}
    with served(pages) as base:
        error = await failure(resolver, "app", index=f"{base}/simple/")
    assert isinstance(error, ResolverError)
    assert (error.reason, error.retry) == ("ResolverFailed", True)
    assert "app" in error.message


async def test_no_message_holds_credentials_of_a_url(resolver: Resolver) -> None:
    """User name, password and query of any URL stay out of what people and logs see."""
    wheel = distributions.wheel(name="app", version="1.0")
    pages: dict[str, bytes] = {}
    with served(pages) as base:
        host = base.removeprefix("http://")
        hidden = f"http://me:secret@{host}/away"
        pages["/simple/app/"] = link(wheel, base=hidden, fragment="?token=hidden")
        error = await failure(resolver, "app", index=f"{base}/simple/")
    assert f"http://{host}/away" in error.message
    assert not any(word in error.message for word in ("me:", "secret", "token", "hidden"))
