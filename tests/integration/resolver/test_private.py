"""Indices that ask who is there, or that an authority of one's own vouches for."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowdeps.locks.access import Access
from flowdeps.resolver.errors import (
    IndexRefusedError,
    IndexUnauthorizedError,
    IndexUnavailableError,
    ResolverError,
)
from flowdeps.resolver.network import Network
from flowdeps.resolver.resolve import Resolver
from tests.cluster import distributions
from tests.cluster.index import Index
from tests.cluster.pki import Authority
from tests.integration.resolver.support import (
    AMD64,
    EMPTY_RESOLUTION,
    MakeResolver,
    ask,
    limits,
    lock_of,
    long_cached,
    stand_in,
)

NAME, PASSWORD = "reader", "correct-horse"


def access(password: str = PASSWORD, *, host: str = "127.0.0.1", ca: str = "") -> Access:
    return Access(netrc=f"machine {host} login {NAME} password {password}\n", ca=ca)


@pytest.fixture
def guarded() -> Iterator[Index]:
    """An index that answers those who know the password."""
    with Index(username=NAME, password=PASSWORD) as one:
        one.add("app", "1.0")
        yield one


async def test_credentials_open_a_private_index(guarded: Index, resolver: Resolver) -> None:
    """With them the lock is made, and nothing of them is in it."""
    lock = await lock_of(resolver, ask("app", index=guarded.url), previous=None, access=access())
    assert [pin.name for pin in lock.pins] == ["app"]
    assert PASSWORD not in lock.render()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "it asks for credentials; name a Secret in spec.index.credentialsSecretRef"),
        (Access(), "it asks for credentials; name a Secret in spec.index.credentialsSecretRef"),
        (access("expired-horse"), "are wrong, have expired, or are for another host"),
        (access(host="index.example.com"), "are wrong, have expired, or are for another host"),
        (Access(netrc="machine 127.0.0.1 login"), "are wrong, have expired, or are for another"),
    ],
)
async def test_a_refusal_says_whether_credentials_were_given(
    guarded: Index, resolver: Resolver, given: Access | None, says: str
) -> None:
    """The field to look at is named, and the credentials are not."""
    with pytest.raises(IndexUnauthorizedError) as caught:
        await resolver.resolve(ask("app", index=guarded.url), previous=None, access=given)
    assert (caught.value.reason, caught.value.retry) == ("IndexUnauthorized", True)
    assert caught.value.message.startswith(f"{guarded.url} answers 401 Unauthorized for app: ")
    assert says in caught.value.message
    assert "horse" not in caught.value.message


async def test_credentials_are_tried_by_one_request(guarded: Index, resolver: Resolver) -> None:
    """For a page that is there or not; the answer is a refusal or none, and no exception."""
    for package in ("app", "absent"):
        guarded.forget()
        assert await resolver.refusal(guarded.url, package, access=access()) == ""
        assert len(guarded.requests) == 1
    guarded.forget()
    tried = await resolver.refusal(guarded.url, "app", access=access("expired-horse"))
    assert tried == "401 Unauthorized"
    assert len(guarded.requests) == 1


async def test_an_index_that_does_not_answer_refuses_nothing(
    guarded: Index, resolver: Resolver, tmp_path: Path
) -> None:
    """Neither one that is away or fails, nor one whose address is closed; the guard's own answer
    is none of the index."""
    closed = Resolver(limits=limits(), cache=tmp_path / "closed", network=Network())
    with pytest.raises(IndexRefusedError, match="is at an address of the operator"):
        await closed.refusal(guarded.url, "app", access=access())
    guarded.fail(500)
    with pytest.raises(IndexUnavailableError, match="500"):
        await resolver.refusal(guarded.url, "app", access=access())
    guarded.down()
    with pytest.raises(IndexUnavailableError, match="refused"):
        await resolver.refusal(guarded.url, "app", access=access())


async def test_credentials_may_be_renewed_without_another_resolver(
    guarded: Index, resolver: Resolver
) -> None:
    """What changes at the index and in the Secret holds from the next resolution on."""
    request = ask("app", index=guarded.url)
    lock = await lock_of(resolver, request, previous=None, access=access())
    guarded.protect(NAME, "new-horse")
    with pytest.raises(IndexUnauthorizedError):
        await resolver.resolve(request, previous=lock, access=access())
    assert await lock_of(resolver, request, previous=lock, access=access("new-horse")) == lock


async def test_an_index_that_forbids_is_no_outage(index: Index, resolver: Resolver) -> None:
    """403 is told like 401."""
    index.fail(403)
    with pytest.raises(IndexUnauthorizedError, match="answers 403 Forbidden"):
        await resolver.resolve(ask("app", index=index.url), previous=None)


async def test_what_one_may_see_is_served_to_nobody_else(
    guarded: Index, index: Index, make_resolver: MakeResolver
) -> None:
    """Who names no credentials gets no private package, also where another resolution reads its
    page into the cache after theirs began."""
    index.add("slow", "1.0", requires=["app"])
    index.slow(4)  # uv waits 6 s for an answer
    guarded.let_keep()
    resolver = make_resolver()
    request = ask("slow", index=(index.url, guarded.url), platforms=(AMD64,))
    curious = asyncio.create_task(resolver.resolve(request, previous=None))
    while not index.requests:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    request = ask("app", index=guarded.url, platforms=(AMD64,))
    await resolver.resolve(request, previous=None, access=access())
    assert not curious.done()
    with pytest.raises(IndexUnauthorizedError):
        await curious


async def test_a_page_that_may_be_kept_is_kept_for_its_reader_alone(
    make_resolver: MakeResolver, tmp_path: Path
) -> None:
    """Caches of readers with other credentials, and of those without, are apart."""
    files = [distributions.wheel(name="app", version="1.0")]
    resolver = make_resolver()
    with long_cached(files) as url:
        for one in (None, access(), access("other-horse")):
            await resolver.resolve(ask("app", index=url), previous=None, access=one)
    places = [path.parent for path in (tmp_path / "cache").rglob("CACHEDIR.TAG")]
    assert len(places) == 3
    assert not any("horse" in str(path) for path in places)


async def test_credentials_are_in_a_file_for_the_child_and_nowhere_else(
    make_resolver: MakeResolver, tmp_path: Path
) -> None:
    """No argument and no variable holds them; the file is ours alone and goes with the child."""
    seen = tmp_path / "seen"
    uv = stand_in(
        tmp_path / "uv",
        f"""
netrc = pathlib.Path(os.environ["NETRC"])
mode = oct(netrc.stat().st_mode & 0o777)
told = [netrc.read_text(), mode, sys.argv, dict(os.environ)]
pathlib.Path({str(seen)!r}).write_text(json.dumps(told))
"""
        + EMPTY_RESOLUTION,
    )
    secret = access()
    request = ask("app", index="https://example.com/simple")
    await make_resolver(uv=uv).resolve(request, previous=None, access=secret)
    text, mode, arguments, environment = json.loads(seen.read_text())
    assert (text, mode) == (secret.netrc, "0o600")
    assert PASSWORD not in json.dumps([arguments, environment])
    assert not Path(environment["NETRC"]).exists()  # noqa: ASYNC240
    assert PASSWORD not in repr(secret)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


async def test_an_authority_of_ones_own_is_trusted_besides_the_others(
    authority: Authority, tmp_path: Path, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A private index and one that the operator's own bundle vouches for, in one resolution; and
    credentials over TLS."""
    ours = Authority(tmp_path / "ours")
    certificates = [
        one.server("index", names=["localhost"], addresses=["127.0.0.1"])
        for one in (authority, ours)
    ]
    monkeypatch.setenv("SSL_CERT_FILE", str(ours.own.certificate))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    ca = authority.own.certificate.read_text()
    with (
        Index(certificate=certificates[0], username=NAME, password=PASSWORD) as private,
        Index(certificate=certificates[1]) as public,
    ):
        private.add("app", "1.0", requires=["lib"])
        public.add("lib", "1.0")
        request = ask("app", index=(private.url, public.url))
        lock = await lock_of(resolver, request, previous=None, access=access(ca=ca))
        assert [pin.name for pin in lock.pins] == ["app", "lib"]
        with pytest.raises(IndexUnavailableError, match="invalid peer certificate"):
            await resolver.resolve(request, previous=None, access=access())


async def test_public_authorities_stay_trusted_where_none_are_configured(
    make_resolver: MakeResolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uv's own list of authorities gives way to a bundle, so the bundle has them."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    seen = tmp_path / "seen"
    uv = stand_in(
        tmp_path / "uv",
        f"""
bundle = pathlib.Path(os.environ["SSL_CERT_FILE"]).read_text()
pathlib.Path({str(seen)!r}).write_text(bundle)
"""
        + EMPTY_RESOLUTION,
    )
    request = ask("app", index="https://example.com/simple")
    await make_resolver(uv=uv).resolve(request, previous=None, access=Access(ca="OURS"))
    bundle = seen.read_text()
    assert bundle.startswith("OURS\n")
    assert bundle.count("BEGIN CERTIFICATE") > 50


async def test_a_bundle_of_authorities_that_is_not_there_is_named(
    make_resolver: MakeResolver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where only we read it, for a set with authorities of its own."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    request = ask("app", index="https://example.com/simple")
    with pytest.raises(
        ResolverError, match=r"none\.pem can't be read \(No such file.*SSL_CERT_FILE"
    ):
        await make_resolver().resolve(request, previous=None, access=Access(ca="OURS"))
