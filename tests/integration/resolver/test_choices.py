"""What uv passes over in silence: a lock avoids it where it can, and people are told."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import pytest

from flowdeps.locks import releases
from flowdeps.locks.access import Access
from flowdeps.locks.image import ImageFacts
from flowdeps.resolver import command
from flowdeps.resolver.errors import IndexUnavailableError
from flowdeps.resolver.resolve import Resolution, Resolver
from tests.cluster import distributions, tools
from tests.cluster.httpserver import Answer, Request, Server
from tests.cluster.index import Index
from tests.cluster.pki import Authority
from tests.integration.resolver.support import AMD64, ask, limits, link, served

CAPPED = ">=3.8,<3.10"


async def resolved(
    resolver: Resolver, *lines: str, index: str | tuple[str, ...], **changes: object
) -> Resolution:
    request = ask(*lines, index=index, platforms=(AMD64,))
    request = replace(request, **changes)  # type: ignore[arg-type]
    return await resolver.resolve(request, previous=None)


def pinned(made: Resolution) -> list[str]:
    return [f"{pin.name}=={pin.version}" for pin in made.lock.pins]


async def test_releases_for_older_pythons_are_passed_over(index: Index, resolver: Resolver) -> None:
    """An upper bound of Requires-Python holds, whoever asks for the package, for all its releases
    that have one; the newest without is taken, and what was not is named."""
    index.add("capped", "1.0", requires_python=">=3.8")
    index.add("capped", "1.1", requires_python=CAPPED)
    index.add("capped", "2.0", requires_python=CAPPED)
    index.add("app", "1.0", requires=["capped"])
    for line in ("capped", "app"):
        made = await resolved(resolver, line, index=index.url)
        assert "capped==1.0" in pinned(made)
        assert made.notes == (
            "capped 2.0 says that it is not for Python 3.11 (>=3.8,<3.10), so capped 1.0 was taken",
        )


async def test_a_release_for_older_pythons_that_must_be_is_told(
    index: Index, resolver: Resolver
) -> None:
    """Where nothing else fits it stays, and the note says which images can't install it; what else
    is passed over is none the worse for it."""
    index.add("capped", "1.0")
    index.add("other", "1.0")
    for name in ("capped", "other"):
        index.add(name, "2.0", requires_python=CAPPED)
    made = await resolved(resolver, "capped==2.0", "other", index=index.url)
    assert pinned(made) == ["capped==2.0", "other==1.0"]
    assert made.notes == (
        "capped 2.0 says that it is not for Python 3.11 (>=3.8,<3.10), nor any other that fits: an"
        " image with pip won't install it",
        "other 2.0 says that it is not for Python 3.11 (>=3.8,<3.10), so other 1.0 was taken",
    )


async def test_more_releases_than_one_constraint_names_end_the_search(
    index: Index, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that can't be ruled out so stays: it is not resolved again and again."""
    monkeypatch.setattr(releases, "_MOST_EXCLUDED", 1)
    index.add("capped", "1.0")
    index.add("capped", "1.1", requires_python=CAPPED)
    index.add("capped", "2.0", requires_python=CAPPED)
    made = await resolved(resolver, "capped<2", index=index.url)
    assert pinned(made) == ["capped==1.1"]
    assert "1.1 says that it is not for Python 3.11" in made.notes[0]
    assert index.requests.count("/simple/capped/") < 6


async def test_the_images_own_python_is_the_measure(index: Index, resolver: Resolver) -> None:
    """A bound on the patch release holds for the image that has it."""
    index.add("capped", "1.0")
    index.add("capped", "2.0", requires_python="<3.11.5")
    for full, version in (("3.11.4", "2.0"), ("3.11.9", "1.0")):
        image = ImageFacts(python="3.11", full_version=full, platform=AMD64)
        made = await resolved(resolver, "capped", index=index.url, image=image)
        assert pinned(made) == [f"capped=={version}"]


async def test_a_page_in_html_says_as_much(resolver: Resolver) -> None:
    """An index of the older kind (PEP 503), whose pages have attributes."""
    old, new = (distributions.wheel(name="app", version=one) for one in ("1.0", "2.0"))
    capped = link(new).replace(b"<a ", b'<a data-requires-python="&lt;3.10" ')
    pages = {"/simple/app/": link(old) + capped}
    pages |= {f"/files/{one.filename}": one.content for one in (old, new)}
    with served(pages) as base:
        made = await resolved(resolver, "app", index=f"{base}/simple/")
    assert pinned(made) == ["app==1.0"]


@pytest.mark.parametrize("promised", [True, False])
async def test_a_page_that_does_not_tell_is_no_excuse(
    resolver: Resolver, *, promised: bool
) -> None:
    """Many indexes of files alone have no Requires-Python: the metadata of the wheels have it, as a
    file of their own or not, one release after the other."""
    bounds = {"1.0": ">=3.8", "1.1": CAPPED, "2.0": CAPPED}
    pages = {"/simple/app/": b""}
    for version, bound in bounds.items():
        one = distributions.wheel(name="app", version=version, requires_python=bound)
        pages["/simple/app/"] += link(one).replace(
            b"<a ", b'<a data-core-metadata="true" ' if promised else b"<a "
        )
        pages[f"/files/{one.filename}"] = one.content
        if promised:
            pages[f"/files/{one.filename}.metadata"] = one.metadata or b""
    with served(pages) as base:
        made = await resolved(resolver, "app", index=f"{base}/simple/")
    assert pinned(made) == ["app==1.0"]
    assert made.notes == (
        "app 2.0 says that it is not for Python 3.11 (>=3.8,<3.10), so app 1.0 was taken",
    )


async def test_a_private_index_is_read_as_uv_reads_it(resolver: Resolver, tmp_path: Path) -> None:
    """With the set's credentials, and its authority besides the usual ones."""
    authority = Authority(tmp_path / "authority")
    certificate = authority.server("index", names=[], addresses=["127.0.0.1"])
    ca = authority.own.certificate.read_text()
    access = Access(netrc="machine 127.0.0.1 login me password secret\n", ca=ca)
    with Index(username="me", password="secret", certificate=certificate) as index:
        index.add("capped", "1.0")
        index.add("capped", "2.0", requires_python=CAPPED)
        request = ask("capped", index=index.url, platforms=(AMD64,))
        made = await resolver.resolve(request, previous=None, access=access)
    assert pinned(made) == ["capped==1.0"]


async def test_credentials_reach_no_other_host(resolver: Resolver) -> None:
    """An index that sends us elsewhere doesn't send the password along."""
    asked: list[Request] = []
    wheel = distributions.wheel(name="app", version="1.0")

    def other(request: Request) -> Answer:
        asked.append(request)
        body = link(wheel) if request.path.startswith("/simple") else wheel.content
        return Answer(body=body, media_type="text/html")

    target = Server(other, host="127.0.0.1", port=0)
    try:
        access = Access(netrc="machine localhost login me password secret\n")
        page = link(wheel, base=f"http://127.0.0.1:{target.server_port}/files")
        with served({"/simple/app/": page}) as base:
            url = f"{base.replace('127.0.0.1', 'localhost')}/simple/"
            request = ask("app", index=url, platforms=(AMD64,))
            await resolver.resolve(request, previous=None, access=access)
    finally:
        target.close()
    assert asked
    assert {one.authorization for one in asked} == {None}


async def test_newer_releases_without_a_wheel_are_told(index: Index, resolver: Resolver) -> None:
    """Those for other systems, with sources only or for a newer glibc; not those that nobody asks
    for: withdrawn, not final, for another Python, or ruled out by the set."""
    index.add("app", "1.0")
    index.add_sdist("app", "1.1")
    index.add("app", "2.0", tags=["cp311-cp311-win_amd64", "cp311-cp311-manylinux_2_39_x86_64"])
    index.add("app", "3.0", tags=["cp311-cp311-win_amd64"], yanked=True)
    index.add("app", "4.0a1", tags=["cp311-cp311-win_amd64"])
    index.add("app", "5.0", tags=["cp312-cp312-manylinux_2_17_x86_64"], requires_python=">=3.12")
    made = await resolved(resolver, "app", index=index.url)
    assert made.notes == (
        "app 1.0 is the newest with a wheel for Python 3.11, linux/amd64 and glibc 2.28: 2.0 has"
        " none",
    )
    for line in ("app<2", "app==1.0"):
        made = await resolved(resolver, line, "app!=1.1", index=index.url)
        assert made.notes == ()


async def test_newer_releases_that_are_too_young_are_not_missed(
    index: Index, tmp_path: Path
) -> None:
    """A cooldown keeps them out on purpose."""
    now = datetime(2026, 6, 15, tzinfo=UTC)
    index.add("app", "1.0")
    index.add("app", "2.0", tags=["cp311-cp311-win_amd64"], upload_time=now - timedelta(days=3))
    resolver = Resolver(limits=limits(), cache=tmp_path / "cache", now=lambda: now)
    made = await resolved(resolver, "app", index=index.url, cooldown=timedelta(days=7))
    assert made.notes == ()
    made = await resolved(resolver, "app", index=index.url, cooldown=timedelta(days=1))
    assert len(made.notes) == 1


async def test_an_unknown_extra_is_told(index: Index, resolver: Resolver) -> None:
    """A misspelt extra brings nothing, so whoever asked for it must know."""
    index.add("dask", "1.0", extras={"dataframe": ["pandas"]})
    made = await resolved(resolver, "dask[datafram]", index=index.url)
    assert made.notes == ("dask 1.0 has no extra datafram: correct it, or leave it out",)


async def test_a_pre_release_beside_a_final_one_is_told(index: Index, resolver: Resolver) -> None:
    """A requirement that names a pre-release allows them, which few mean."""
    index.add("app", "1.0")
    index.add("app", "1.1.dev1")
    index.add("lib", "1.0", requires=["app>=1.1.dev0"])
    made = await resolved(resolver, "lib", index=index.url)
    assert pinned(made) == ["app==1.1.dev1", "lib==1.0"]
    assert made.notes == ("app 1.1.dev1 is a development release: the newest final release is 1.0",)
    made = await resolved(resolver, "lib", "app==1.1.dev1", index=index.url)
    assert made.notes == (), "whoever names it knows"
    index.add("app", "2.0rc1")
    made = await resolved(resolver, "app==2rc1", index=index.url)
    assert (pinned(made), made.notes) == (["app==2.0rc1"], ()), "however it is written"


async def test_a_pre_release_that_nothing_else_fits_is_told(
    index: Index, resolver: Resolver
) -> None:
    """Where the final releases have sources alone, what is left is a pre-release."""
    index.add_sdist("app", "1.0")
    index.add("app", "1.1rc1")
    made = await resolved(resolver, "app", index=index.url)
    assert pinned(made) == ["app==1.1rc1"]
    assert made.notes == ("app 1.1rc1 is a pre-release: no final one fits",)


async def test_hashes_that_only_a_newer_glibc_needs_are_computed(resolver: Resolver) -> None:
    """Where the index gives none, a run takes the best wheel for its own glibc: the lock has the
    hash of each that it may take, and of no other."""
    tags = [
        *(f"cp311-abi3-manylinux_2_{minor}_x86_64" for minor in (17, 28, 34)),
        *("cp311-cp311-musllinux_1_2_x86_64", "cp312-cp312-manylinux_2_34_x86_64"),
    ]
    wheels = [distributions.wheel(name="fast", version="1.0", tag=tag) for tag in tags]
    pages = {f"/files/{one.filename}": one.content for one in wheels}
    pages["/simple/fast/"] = b"".join(map(link, wheels))
    log: list[str] = []
    with served(pages, log=log) as base:
        made = await resolved(resolver, "fast", index=f"{base}/simple/")
    [pin] = made.lock.pins
    assert pin.hashes == tuple(sorted(f"sha256:{one.sha256}" for one in wheels[:3]))
    assert not any("musl" in path or "cp312" in path for path in log)


class _OnlyOnce(Index):
    """Its pages can be read once."""

    status = HTTPStatus.OK

    def _answer(self, path: str, *, accept: str) -> Answer:
        again = self.requests.count(path) > 1 and path.startswith("/simple/")
        return (
            Answer(body=b"", status=self.status) if again else super()._answer(path, accept=accept)
        )


@pytest.fixture
def only_once() -> Iterator[_OnlyOnce]:
    with _OnlyOnce() as index:
        index.add("app", "1.0")
        yield index


async def test_an_index_that_fails_meanwhile_is_an_outage(
    only_once: _OnlyOnce, resolver: Resolver
) -> None:
    """What uv could read and we could not is no answer: equal requests have equal locks."""
    only_once.status = HTTPStatus.SERVICE_UNAVAILABLE
    with pytest.raises(IndexUnavailableError, match="/simple/app/ can't be read: it answers 503"):
        await resolved(resolver, "app", index=only_once.url)


async def test_a_page_that_cannot_be_read_again_is_told(
    only_once: _OnlyOnce, resolver: Resolver
) -> None:
    """An index that refuses us, though not uv: the lock is made, and what is not known is said."""
    only_once.status = HTTPStatus.FORBIDDEN
    made = await resolved(resolver, "app", index=only_once.url)
    assert pinned(made) == ["app==1.0"]
    assert made.notes == (
        f"whether app is for this Python is not known: {only_once.url}app/ can't be read: it"
        " answers 403 Forbidden",
    )


def test_uv_says_which_index_it_asks_where_none_is_named(tmp_path: Path) -> None:
    """So that this one's pages are read."""
    (tmp_path / command.NOTHING).touch()
    subprocess.run([tools.uv(), *command.DEFAULT_INDEX], cwd=tmp_path, check=True)
    assert re.fullmatch(r"--index-url https://\S+\s*", (tmp_path / command.OUTPUT).read_text())
