"""Locks with as few known vulnerabilities as may be, from real resolutions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from flowdeps.gather.least_vulnerable import least_vulnerable
from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.resolver.resolve import Resolution, Resolver
from flowdeps.vulnerabilities.matches import Vulnerability, find_vulnerabilities
from flowdeps.vulnerabilities.osv import Builder, Database
from tests.cluster.index import Index
from tests.integration.resolver.support import AMD64, ask, lock_of

WEEK = timedelta(days=7)


def flaws(**packages: tuple[str, str]) -> Database:
    """A database of a flaw in each package: the version that brought it, and the one without."""
    builder = Builder()
    for name, (since, fixed) in packages.items():
        events = [{"introduced": since}, {"fixed": fixed}]
        package = {"ecosystem": "PyPI", "name": name}
        affected = {"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
        builder.add({"id": f"GHSA-{name}", "affected": [affected]})
    return builder.database()


def stock(index: Index, name: str, **ages: float) -> None:
    """Releases of a package by their ages in days; ``v1_1`` is 1.1."""
    for version, days in ages.items():
        upload_time = datetime.now(UTC) - timedelta(days=days)
        index.add(name, version[1:].replace("_", "."), upload_time=upload_time)


async def safest_of(
    resolver: Resolver, request: LockRequest, database: Database, *, previous: Lock | None = None
) -> dict[str, str]:
    """The versions that are taken."""

    async def answer(one: LockRequest) -> Resolution:
        return await resolver.resolve(one, previous=previous)

    def known(lock: Lock) -> tuple[Vulnerability, ...]:
        return find_vulnerabilities(database, [(pin.name, pin.version) for pin in lock.pins])

    made = await least_vulnerable(request, ask=answer, known=known)
    return {pin.name: pin.version for pin in made.lock.pins}


@pytest.mark.parametrize(
    ("ages", "taken"),
    [
        ({"v1_1": 60, "v1_8": 10, "v1_9": 0.04}, "1.8"),
        ({"v1_1": 2, "v1_9": 0.04}, "1.1"),
        ({"v1_8": 2, "v1_9": 0.04}, "1.0"),
    ],
    ids=["a fix is old enough", "only the fix itself", "only what came after the fix"],
)
async def test_a_fix_is_younger_than_the_cooldown_only_where_it_must_be(
    index: Index, resolver: Resolver, ages: dict[str, float], taken: str
) -> None:
    """A release that is old enough comes first, then the lowest fixed one; what was released after
    it waits as ever, also where a kept pin has the flaw."""
    stock(index, "foo", v1_0=100)
    stock(index, "bar", v1_0=100)
    request = ask("foo", index=index.url, platforms=(AMD64,))
    previous = await lock_of(resolver, request, previous=None)
    stock(index, "foo", **ages)
    request = replace(request, requirements=("foo", "bar"), cooldown=WEEK)
    known = flaws(foo=("0", "1.1"))
    for before in (previous, None):
        versions = await safest_of(resolver, request, known, previous=before)
        assert versions == {"foo": taken, "bar": "1.0"}


@pytest.mark.parametrize(
    ("line", "cooldown", "taken"),
    [
        ("bar", None, "2.0.7"),
        ("bar<2.0.7", None, "1.26.18"),
        ("bar<2.0.7", WEEK, "1.26.18"),
        ("bar", WEEK, "2.0.7"),
        ("bar>=2,<2.0.7", None, "2.0.6"),
    ],
)
async def test_where_a_fix_is_out_of_reach_a_version_from_before_the_flaw_is_taken(
    index: Index, resolver: Resolver, line: str, cooldown: timedelta | None, taken: str
) -> None:
    """Not the next version that has it as well; a fix, however young, comes before that."""
    stock(index, "bar", v1_26_18=100, v2_0_4=90, v2_0_5=80, v2_0_6=70, v2_0_7=2)
    request = replace(ask(line, index=index.url, platforms=(AMD64,)), cooldown=cooldown)
    known = flaws(bar=("2.0.0", "2.0.7"))
    previous = await lock_of(resolver, replace(request, constraints=("bar<2.0.7",)), previous=None)
    assert await safest_of(resolver, request, known, previous=previous) == {"bar": taken}


async def test_a_fix_that_was_yanked_is_not_insisted_on(index: Index, resolver: Resolver) -> None:
    """It may be worse than the flaw."""
    stock(index, "foo", v1_0=100, v1_1=2)
    index.yank("foo", "1.1")
    request = ask("foo", index=index.url, platforms=(AMD64,))
    known = flaws(foo=("0", "1.1"))
    assert await safest_of(resolver, replace(request, cooldown=WEEK), known) == {"foo": "1.0"}


async def test_what_can_be_mended_is_where_another_flaw_stays(
    index: Index, resolver: Resolver
) -> None:
    """A young fix is taken though the fix of another package's flaw is out of reach."""
    stock(index, "foo", v1_0=100, v1_1=2)
    stock(index, "bar", v2_5=100, v2_6=100, v2_7=100)
    request = ask("foo", "bar<2.7", index=index.url, platforms=(AMD64,))
    known = flaws(foo=("0", "1.1"), bar=("2.0", "2.7"))
    versions = await safest_of(resolver, replace(request, cooldown=WEEK), known)
    assert versions == {"foo": "1.1", "bar": "2.5"}
