"""Locks on top of an image, from real resolutions."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flowdeps.locks.image import Distribution, ImageFacts
from flowdeps.locks.index import Index as PackageIndex
from flowdeps.locks.inspection import parse_freeze
from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest, Prereleases
from flowdeps.resolver.errors import UnsatisfiableError
from flowdeps.resolver.resolve import Resolver
from tests.cluster.index import Index
from tests.integration.resolver.support import AMD64, PLATFORMS, ask, lock_of, served

PREFECT = Distribution("prefect", "3.8.8", ("python-dateutil<3,>=2.8.2", "pydantic>=2.10"))
DATEUTIL = Distribution("python-dateutil", "2.9.0.post0", ("six>=1.5",))
PYDANTIC = Distribution("pydantic", "2.14.3")
SIX = Distribution("six", "1.16.0")


def image(*distributions: Distribution) -> ImageFacts:
    return ImageFacts(
        python="3.11",
        full_version="3.11.9",
        platform=AMD64,
        markers={"python_full_version": "3.11.9", "python_version": "3.11"},
        distributions=distributions or (PREFECT, DATEUTIL, PYDANTIC, SIX),
    )


def on(
    facts: ImageFacts,
    *lines: str,
    index: Index,
    shadow: Sequence[str] = (),
    platforms: tuple[str, ...] = (AMD64,),
) -> LockRequest:
    request = ask(*lines, index=index.url, platforms=platforms)
    return replace(request, image=facts, shadow=tuple(shadow))


def versions(lock: Lock, platform: str = AMD64) -> dict[str, str]:
    return {name: pin.version for name, pin in lock.on(platform).items()}


@pytest.fixture
def stocked(index: Index) -> Index:
    """pandas and what it needs; of what the image has, newer versions; nothing of Prefect."""
    index.add("numpy", "2.3.3")
    index.add("pandas", "2.3.3", requires=["numpy>=1.26", "python-dateutil>=2.8.2"])
    for version in ("2.9.0.post0", "4.0.0"):
        index.add("python-dateutil", version, requires=["six>=1.5"])
    for version in ("1.16.0", "1.17.0"):
        index.add("six", version)
    for version in ("2.9.0", "2.14.3", "2.15.0"):
        index.add("pydantic", version)
    return index


async def test_a_lock_holds_only_what_the_image_lacks(stocked: Index, resolver: Resolver) -> None:
    """What the image has stays as it is, and the lock names what of it the pins build on."""
    request = on(image(), "pandas", index=stocked)
    for previous in (None, await lock_of(resolver, request, previous=None)):
        lock = await lock_of(resolver, request, previous=previous)
        assert versions(lock) == {"numpy": "2.3.3", "pandas": "2.3.3"}
        assert lock.base == (("python-dateutil", "2.9.0.post0"), ("six", "1.16.0"))


async def test_what_the_image_has_already_needs_no_pin(stocked: Index, resolver: Resolver) -> None:
    """Also where no index knows it: then its metadata in the image are all there is to know."""
    request = on(image(), "prefect>=3", "python-dateutil", index=stocked)
    lock = await lock_of(resolver, request, previous=None)
    assert lock.pins == ()
    assert [name for name, _ in lock.base] == ["prefect", "pydantic", "python-dateutil", "six"]


async def test_a_conflict_with_the_image_names_both_sides_and_the_way_out(
    stocked: Index, resolver: Resolver
) -> None:
    """Which version the image has, who in it requires what, and what to do."""
    with pytest.raises(UnsatisfiableError) as caught:
        await resolver.resolve(on(image(), "python-dateutil>=4", index=stocked), previous=None)
    assert caught.value.message.startswith(
        "python-dateutil 2.9.0.post0 is in the image, where prefect 3.8.8 requires "
        "python-dateutil<3,>=2.8.2: move the requirement, name python-dateutil in spec.shadow "
        "(what the image requires still holds), or change the image. "
    )
    assert "you require python-dateutil>=4" in caught.value.message
    with pytest.raises(UnsatisfiableError) as caught:
        await resolver.resolve(on(image(), "six>1.16", index=stocked), previous=None)
    assert caught.value.message.startswith("six 1.16.0 is in the image, where ")


async def test_all_lines_of_a_freeze_that_differ_are_told_at_once(
    stocked: Index, resolver: Resolver
) -> None:
    """With the image's versions; without these lines there is a lock, in which the image's are."""
    lines = ["six==1.15.0", "pydantic==2.9.2", "pandas"]
    with pytest.raises(UnsatisfiableError) as caught:
        await resolver.resolve(on(image(), *lines, index=stocked), previous=None)
    assert caught.value.message.startswith(
        "2 requirements can't be met on top of the image: pydantic==2.9.2 (it has 2.14.3), "
        "six==1.15 (it has 1.16.0). Delete these lines, then the image's versions are used; or "
        "name packages in spec.shadow"
    )
    assert len(stocked.requests) == 0, "no index has a say in it"
    lock = await lock_of(resolver, on(image(), "pandas", index=stocked), previous=None)
    assert versions(lock) == {"numpy": "2.3.3", "pandas": "2.3.3"}


async def test_a_shadowed_package_moves_only_where_it_must(
    stocked: Index, resolver: Resolver
) -> None:
    """It keeps the image's version while that fits, and moves as far as the image allows."""
    kept = await lock_of(
        resolver, on(image(), "pandas", index=stocked, shadow=["*"]), previous=None
    )
    assert versions(kept) == {"numpy": "2.3.3", "pandas": "2.3.3"}
    moved = await lock_of(
        resolver, on(image(), "six>1.16", "pydantic", index=stocked, shadow=["six"]), previous=None
    )
    assert versions(moved) == {"six": "1.17.0"}
    assert moved.base == (("pydantic", "2.14.3"),)
    with pytest.raises(UnsatisfiableError) as caught:
        await resolver.resolve(
            on(image(), "python-dateutil>=4", index=stocked, shadow=["python-dateutil"]),
            previous=None,
        )
    assert caught.value.message.startswith(
        "In the image, prefect 3.8.8 requires python-dateutil<3,>=2.8.2: "
        "move the requirement, or change the image. "
    )


async def test_what_the_image_requires_and_lacks_is_brought_as_it_requires(
    stocked: Index, resolver: Resolver
) -> None:
    """An optional package that the image's packages limit is taken within their limits."""
    facts = image(Distribution("prefect", "3.8.8", ("pydantic<2.15", "six; extra == 'x'")))
    lock = await lock_of(resolver, on(facts, "pydantic", index=stocked), previous=None)
    assert versions(lock) == {"pydantic": "2.14.3"}


async def test_an_extra_of_an_image_package_brings_what_it_needs(
    stocked: Index, resolver: Resolver
) -> None:
    """The package stays the image's own; what its extra asks for comes on top."""
    facts = image(replace(PREFECT, requires=("numpy>=2; extra == 'array'",), extras=("array",)))
    lock = await lock_of(resolver, on(facts, "prefect[array]", index=stocked), previous=None)
    assert (versions(lock), lock.base) == ({"numpy": "2.3.3"}, (("prefect", "3.8.8"),))


async def test_a_newer_image_ends_a_shadow(stocked: Index, resolver: Resolver) -> None:
    """A pin that was put before the image's version gives way to a newer image, as soon as that may
    be; until then it is kept."""
    stocked.add("six", "1.18.0")
    request = on(image(SIX), "six>1.16,<1.18", index=stocked, shadow=["six"])
    before = await lock_of(resolver, request, previous=None)
    assert versions(before) == {"six": "1.17.0"}
    stocked.add("six", "1.17.1")
    newer = image(replace(SIX, version="1.18.0"))
    for line, pins, base in (
        ("six>1.16,<1.18", {"six": "1.17.0"}, ()),
        ("six>1.16", {}, (("six", "1.18.0"),)),
    ):
        request = on(newer, line, index=stocked, shadow=["six"])
        lock = await lock_of(resolver, request, previous=before)
        assert (versions(lock), lock.base) == (pins, base)


async def test_an_extra_that_the_image_uses_is_kept_whole(index: Index, resolver: Resolver) -> None:
    """A shadowed package moves only as far as the extra allows that another package asks for."""
    for version in ("4.1", "5.0"):
        index.add("h2", version)
    facts = image(
        replace(PREFECT, requires=("httpx[http2]>=0.23",)),
        Distribution("httpx", "0.28", ("h2<5,>=3; extra == 'http2'",), ("http2",)),
        Distribution("h2", "4.0"),
    )
    request = on(facts, "h2>4", index=index, shadow=["h2"])
    assert versions(await lock_of(resolver, request, previous=None)) == {"h2": "4.1"}
    with pytest.raises(UnsatisfiableError, match=r"^In the image, httpx 0.28 requires h2<5,>=3:"):
        await resolver.resolve(on(facts, "h2>=5", index=index, shadow=["h2"]), previous=None)


async def test_everything_shadowed_never_breaks_what_stays(
    stocked: Index, resolver: Resolver
) -> None:
    """A package that may move but isn't asked for stays, so what it requires must hold."""
    request = on(image(), "python-dateutil>=4", index=stocked, shadow=["*"])
    with pytest.raises(UnsatisfiableError) as caught:
        await resolver.resolve(request, previous=None)
    assert caught.value.message == (
        "prefect 3.8.8 of the image requires python-dateutil<3,>=2.8.2, the lock has 4.0.0: "
        "ask for a version that fits, or change the image"
    )


async def test_what_must_move_with_another_moves_along(index: Index, resolver: Resolver) -> None:
    """Where a requirement breaks a package of the image that may move, that moves too; where it
    would break a further one, that is named with the way to let it move as well."""
    for version in ("1.0", "2.0"):
        index.add("low", version)
        index.add("mid", version, requires=[f"low=={version}"])
        index.add("top", version, requires=[f"mid=={version}"])
    low, mid = Distribution("low", "1.0"), Distribution("mid", "1.0", ("low<2",))
    request = on(image(low, mid), "low>=2", index=index, shadow=["low", "mid"])
    lock = await lock_of(resolver, request, previous=None)
    assert versions(lock) == {"low": "2.0", "mid": "2.0"}
    assert versions(await lock_of(resolver, request, previous=lock)) == versions(lock)

    request = replace(request, image=image(low, mid, Distribution("top", "1.0", ("mid<2",))))
    request = replace(request, shadow=("*",))
    with pytest.raises(UnsatisfiableError) as caught:
        await resolver.resolve(request, previous=None)
    assert caught.value.message == (
        "top 1.0 of the image requires mid<2, the lock has 2.0: ask for a version that fits, "
        "add top to spec.requirements, so that it can move too, or change the image"
    )
    request = replace(request, requirements=("low>=2", "top"))
    lock = await lock_of(resolver, request, previous=None)
    assert versions(lock) == {"low": "2.0", "mid": "2.0", "top": "2.0"}


async def test_more_that_may_move_never_forbids_more(index: Index, resolver: Resolver) -> None:
    """An older release that leaves the image whole is taken, as where its packages can't move."""
    for version in ("1.0", "2.0"):
        index.add("low", version)
        index.add("app", version, requires=[f"low>={version}"])
    facts = image(Distribution("low", "1.0"), Distribution("mid", "1.0", ("low<2",)))
    for shadow in (["low"], ["*"]):
        lock = await lock_of(resolver, on(facts, "app", index=index, shadow=shadow), previous=None)
        assert (versions(lock), lock.base) == ({"app": "1.0"}, (("low", "1.0"),))


async def test_a_version_that_can_not_be_compared_is_not_passed_over(
    stocked: Index, resolver: Resolver
) -> None:
    """The lock puts no other copy before it, unless it may."""
    facts = replace(image(DATEUTIL), unreadable=("six",))
    with pytest.raises(
        UnsatisfiableError, match=r"^the lock would put six 1.17.0 before the image"
    ):
        await resolver.resolve(on(facts, "pandas", index=stocked), previous=None)
    request = on(facts, "pandas", index=stocked, shadow=["six"])
    assert "six" in versions(await lock_of(resolver, request, previous=None))


async def test_each_platform_stands_on_the_image(stocked: Index, resolver: Resolver) -> None:
    """Several platforms have one image's packages; markers are those of each."""
    tags = ["py3-none-manylinux_2_17_x86_64", "py3-none-manylinux_2_17_aarch64"]
    stocked.add("fast", "1.0", tags=tags, requires=["six>1.16; platform_machine == 'aarch64'"])
    request = on(image(), "pandas", "fast", index=stocked, platforms=PLATFORMS, shadow=["six"])
    lock = await lock_of(resolver, request, previous=None)
    assert versions(lock, "linux/amd64") == {"numpy": "2.3.3", "pandas": "2.3.3", "fast": "1.0"}
    assert versions(lock, "linux/arm64")["six"] == "1.17.0"
    assert lock.base == (("python-dateutil", "2.9.0.post0"), ("six", "1.16.0"))


async def test_the_images_own_patch_release_of_python_counts(
    index: Index, resolver: Resolver
) -> None:
    """Requires-Python is compared with the interpreter that is in the image, a development build's
    with that of the release before it."""
    index.add("app", "1.0")
    index.add("app", "2.0", requires_python=">=3.11.5")
    index.add("app", "3.0", requires_python=">=3.11.10")
    for full in ("3.11.9", "3.11.9+"):
        facts = replace(image(), full_version=full, markers={"python_full_version": full})
        lock = await lock_of(resolver, on(facts, "app", index=index), previous=None)
        assert versions(lock) == {"app": "2.0"}


async def test_wheels_may_need_the_glibc_that_the_image_has(
    index: Index, resolver: Resolver
) -> None:
    """On each platform; where it isn't known, only what each image has."""
    index.add("app", "1.0")
    for needed in (31, 39):
        tags = [f"py3-none-manylinux_2_{needed}_{machine}" for machine in ("x86_64", "aarch64")]
        index.add("app", f"2.{needed}", tags=tags)
    for libc_version, version in (("2.36", "2.31"), ("2.28", "1.0"), ("", "1.0")):
        facts = replace(image(), libc_version=libc_version)
        request = on(facts, "app", index=index, platforms=PLATFORMS)
        lock = await lock_of(resolver, request, previous=None)
        assert [versions(lock, one) for one in PLATFORMS] == [{"app": version}] * 2
    with pytest.raises(UnsatisfiableError, match=r"^Only wheels for glibc 2.28 and older are used"):
        await resolver.resolve(on(image(), "app>=2", index=index), previous=None)


async def test_what_an_image_has_is_neither_too_young_nor_too_early(
    index: Index, resolver: Resolver
) -> None:
    """Cooldowns and the rule for pre-releases are for what the lock brings."""
    index.add("app", "1.0", requires=["fresh", "early"])
    index.add("fresh", "2.0", upload_time=datetime.now(UTC))
    index.add("early", "1.0")
    index.add("early", "2.0rc1")
    facts = image(Distribution("fresh", "2.0"), Distribution("early", "2.0rc1"))
    request = replace(on(facts, "app", index=index), cooldown=timedelta(days=7))
    for one in (request, replace(request, prereleases=Prereleases.DISALLOW)):
        lock = await lock_of(resolver, one, previous=None)
        assert versions(lock) == {"app": "1.0"}
        assert dict(lock.base) == {"fresh": "2.0", "early": "2.0rc1"}


async def test_a_build_of_ones_own_in_the_image_is_kept(index: Index, resolver: Resolver) -> None:
    """A local version, and a requirement on a file, are no reason to put another before it."""
    index.add("app", "1.0", requires=["torch>=2"])
    index.add("torch", "2.3.0")
    index.add("torch", "2.4.0")
    facts = image(
        Distribution("torch", "2.3.0+cu121", ("triton @ https://example.com/triton.whl",)),
        Distribution("triton", "1.0"),
        Distribution("broken", "1.0", ("not a requirement !!", "", "x\ny")),
    )
    lock = await lock_of(resolver, on(facts, "app", "broken", index=index), previous=None)
    assert versions(lock) == {"app": "1.0"}
    assert dict(lock.base) == {"broken": "1.0", "torch": "2.3.0+cu121", "triton": "1.0"}


async def test_what_the_image_requires_by_url_and_lacks_is_not_taken_from_an_index(
    index: Index, resolver: Resolver
) -> None:
    """Whatever has that name there may be somebody else's."""
    index.add("app", "1.0", requires=["house"])
    index.add("helper", "9.0")
    house = Distribution("house", "1.0", ("helper @ https://example.com/helper-1.0.whl",))
    lock = await lock_of(resolver, on(image(house), "app", index=index), previous=None)
    assert versions(lock) == {"app": "1.0"}


async def test_the_lines_of_pip_freeze_keep_versions_too(
    stocked: Index, resolver: Resolver
) -> None:
    """Without what the packages require, the index tells it; versions stay all the same, also those
    that the index spells otherwise."""
    facts = parse_freeze("six==1.16\npython-dateutil==2.9.0.post0\n", python="3.11", platform=AMD64)
    lock = await lock_of(resolver, on(facts, "pandas", index=stocked), previous=None)
    assert versions(lock) == {"numpy": "2.3.3", "pandas": "2.3.3"}
    assert lock.base == (("python-dateutil", "2.9.0.post0"), ("six", "1.16"))


async def test_what_a_new_image_no_longer_brings_keeps_its_version(
    stocked: Index, resolver: Resolver
) -> None:
    """A change moves no version that may stay, also of a package that has to become a pin."""
    request = on(image(), "pandas", index=stocked)
    before = await lock_of(resolver, request, previous=None)
    without = image(DATEUTIL, PYDANTIC)
    after = await lock_of(resolver, replace(request, image=without), previous=before)
    assert versions(after)["six"] == "1.16.0"
    newer = image(PREFECT, DATEUTIL, PYDANTIC, Distribution("six", "1.17.0"))
    request = on(newer, "pandas", index=stocked, shadow=["six"])
    after = await lock_of(resolver, request, previous=before)
    assert ("six", "1.17.0") in after.base, "the image that has it says which version"


async def test_images_leave_one_directory_each(
    stocked: Index, resolver: Resolver, tmp_path: Path
) -> None:
    """Resolving again for an image writes no file anew, of ours or of uv's."""
    request = on(image(), "pandas", index=stocked)
    await resolver.resolve(request, previous=None)
    before = {one for one in (tmp_path / "cache").rglob("*") if one.is_file()}
    await resolver.resolve(request, previous=None)
    assert {one for one in (tmp_path / "cache").rglob("*") if one.is_file()} == before
    [directory] = (tmp_path / "cache" / "images").iterdir()
    assert len(list(directory.glob("*.whl"))) == len(image().distributions)


async def test_nothing_but_the_index_is_ever_asked(
    stocked: Index, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an image, a cooldown, kept pins and a failure: whoever else is asked, is by a proxy that
    sees it."""
    asked: list[str] = []
    with served({}, log=asked) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy)
            monkeypatch.delenv(name.lower(), raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("no_proxy", raising=False)
        request = replace(on(image(), "pandas", index=stocked), cooldown=timedelta(days=7))
        lock = await lock_of(resolver, request, previous=None)
        await resolver.resolve(request, previous=lock)
        with pytest.raises(UnsatisfiableError):
            await resolver.resolve(on(image(), "absent", index=stocked), previous=lock)
        assert asked == []
        elsewhere = replace(request, index=PackageIndex("http://index.example.com/simple/"))
        with pytest.raises(UnsatisfiableError):
            await resolver.resolve(elsewhere, previous=None)
        assert any("index.example.com" in path for path in asked)
