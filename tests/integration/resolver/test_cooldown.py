"""Releases that are too young, and pre-releases."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest, Prereleases
from flowdeps.resolver.errors import UnsatisfiableError
from flowdeps.resolver.resolve import Resolver
from tests.cluster.index import Index
from tests.integration.resolver.support import AMD64, ask, limits, lock_of

NOW = datetime(2026, 6, 15, 12, 0, 30, tzinfo=UTC)
WEEK = timedelta(days=7)


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def resolver(tmp_path: Path, clock: Clock) -> Resolver:
    return Resolver(limits=limits(), cache=tmp_path / "cache", now=clock)


@pytest.fixture
def stocked(index: Index) -> Index:
    """app and lib: an old release, and one of three days ago."""
    for name in ("app", "lib"):
        index.add(name, "1.0")
        index.add(name, "2.0", upload_time=NOW - timedelta(days=3))
    return index


def cooled(*lines: str, index: Index, exempt: tuple[str, ...] = ()) -> LockRequest:
    request = ask(*lines, index=index.url, platforms=(AMD64,))
    return replace(request, cooldown=WEEK, cooldown_exempt=exempt)


def versions(lock: Lock) -> dict[str, str]:
    return {pin.name: pin.version for pin in lock.pins}


async def test_a_release_is_passed_over_until_it_is_old_enough(
    stocked: Index, resolver: Resolver, clock: Clock
) -> None:
    """By the operator's clock, to the minute; names that are exempt are taken at once."""
    request = cooled("app", "lib", index=stocked)
    lock = await lock_of(resolver, request, previous=None)
    assert versions(lock) == {"app": "1.0", "lib": "1.0"}
    exempt = cooled("app", "lib", index=stocked, exempt=("LIB",))
    lock = await lock_of(resolver, exempt, previous=None)
    assert versions(lock) == {"app": "1.0", "lib": "2.0"}
    clock.now = NOW + timedelta(days=4, seconds=15)
    assert versions(await lock_of(resolver, request, previous=None))["app"] == "1.0"
    clock.now += timedelta(minutes=1)
    assert versions(await lock_of(resolver, request, previous=None))["app"] == "2.0"


async def test_a_release_that_is_too_young_is_named_with_the_way_out(
    stocked: Index, resolver: Resolver
) -> None:
    """Where nothing older will do: which release, how young, and which fields decide."""
    locked = await lock_of(resolver, ask("app", index=stocked.url), previous=None)
    way_out = (
        " is younger than spec.index.cooldown allows: "
        "wait, or name app in spec.index.cooldownExempt. "
    )
    for line in ("app>1", "app==2.0"):
        for previous, what in ((None, "app 2.0, uploaded on 2026-06-12,"), (locked, "app")):
            with pytest.raises(UnsatisfiableError) as caught:
                await resolver.resolve(cooled(line, index=stocked), previous=previous)
            told, _, _ = caught.value.message.partition(way_out)
            assert told.startswith(what)
            assert len(told) < len(caught.value.message)
            assert not re.search("exclude.newer|last lock", caught.value.message)


async def test_an_index_without_upload_times_can_not_keep_a_cooldown(resolver: Resolver) -> None:
    """It says so, with the field and the way out, which works."""
    with Index(upload_times=False) as index:
        index.add("app", "1.0")
        with pytest.raises(UnsatisfiableError) as caught:
            await resolver.resolve(cooled("app", index=index), previous=None)
        assert caught.value.message.startswith(
            f"The index {index.url} doesn't say when app-1.0-py3-none-any.whl was uploaded, "
            "so that spec.index.cooldown can't be kept: set it to 0s, name app in "
            "spec.index.cooldownExempt, or use an index that tells upload times. "
        )
        lock = await lock_of(resolver, cooled("app", index=index, exempt=("app",)), previous=None)
        assert versions(lock) == {"app": "1.0"}


@pytest.mark.parametrize(
    ("prereleases", "wanted"),
    [
        (Prereleases.DISALLOW, {"app": "1.0"}),
        (Prereleases.IF_NECESSARY, {"app": "1.0"}),
        (Prereleases.ALLOW, {"app": "2.0rc1"}),
    ],
)
async def test_pre_releases_are_as_the_set_wants_them(
    index: Index, resolver: Resolver, prereleases: Prereleases, wanted: dict[str, str]
) -> None:
    """Only with Allow a pre-release wins over a final release."""
    index.add("app", "1.0")
    index.add("app", "2.0rc1")
    request = replace(ask("app", index=index.url), prereleases=prereleases)
    assert versions(await lock_of(resolver, request, previous=None)) == wanted


async def test_no_pre_release_is_taken_where_they_are_disallowed(
    index: Index, resolver: Resolver
) -> None:
    """Not even where there is nothing else, or where it is named."""
    index.add("young", "0.1a1")
    for line in ("young", "young>=0.1a1"):
        request = replace(ask(line, index=index.url), prereleases=Prereleases.DISALLOW)
        with pytest.raises(UnsatisfiableError, match="young"):
            await resolver.resolve(request, previous=None)


async def test_excluded_versions_are_not_chosen(index: Index, resolver: Resolver) -> None:
    """A version that must not be used is passed over, also where the last lock has it."""
    index.add("app", "1.0")
    index.add("app", "2.0")
    request = ask("app", index=index.url, platforms=(AMD64,))
    before = await lock_of(resolver, request, previous=None)
    without = replace(request, exclude=("app!=2.0",))
    assert versions(await lock_of(resolver, without, previous=before)) == {"app": "1.0"}
