"""Which versions get into a lock, from real resolutions."""

from pathlib import Path

import pytest

from flowdeps.locks.diff import diff, summarize
from flowdeps.locks.lock import Lock
from flowdeps.resolver.errors import UnsatisfiableError
from flowdeps.resolver.resolve import Resolver
from tests.cluster import distributions
from tests.cluster.index import Index
from tests.integration.resolver.support import (
    AMD64,
    ARM64,
    MakeResolver,
    ask,
    limits,
    lock_of,
    long_cached,
)

LOWERED = (
    "app 2.0 of the last lock is no longer chosen, 1.0 is: "
    "the index no longer offers it, or something else rules it out"
)


def versions(lock: Lock, platform: str = AMD64) -> dict[str, str]:
    return {name: pin.version for name, pin in lock.on(platform).items()}


async def test_equal_requests_give_the_same_bytes(index: Index, tmp_path: Path) -> None:
    """Neither the order of lines nor what is cached changes a lock."""
    index.add("app", "1.0", requires=["lib"], extras={"fast": ["speed"]})
    index.add("lib", "1.0")
    index.add("speed", "1.0")
    texts = set()
    for number, lines in enumerate((("app[fast]", "lib"), ("LIB", "app[fast] ", "lib"))):
        one = Resolver(limits=limits(), cache=tmp_path / str(number))
        for _ in range(2):
            lock = await lock_of(one, ask(*lines, index=index.url), previous=None)
            texts.add(lock.render())
    assert len(texts) == 1


async def test_a_new_requirement_keeps_the_other_pins(index: Index, resolver: Resolver) -> None:
    """Versions move only when asked to, even where newer ones are out."""
    index.add("app", "1.0", requires=["lib"])
    index.add("lib", "1.0")
    before = await lock_of(resolver, ask("app", index=index.url), previous=None)
    index.add("app", "2.0", requires=["lib"])
    index.add("lib", "2.0")
    index.add("more", "1.0", requires=["lib"])
    request = ask("app", "more", index=index.url)
    after = await lock_of(resolver, request, previous=before)
    assert summarize(diff(before, after), 100) == "+more 1.0"
    assert versions(after, ARM64) == versions(after, AMD64)


async def test_a_refresh_upgrades(index: Index, resolver: Resolver) -> None:
    """Without a previous lock each pin is the newest that fits, a second after its release."""
    index.add("app", "1.0", requires=["lib<3"])
    index.add("lib", "1.0")
    before = await lock_of(resolver, ask("app", index=index.url), previous=None)
    index.add("lib", "2.0")
    index.add("lib", "3.0")
    after = await lock_of(resolver, ask("app", index=index.url), previous=None)
    assert summarize(diff(before, after), 100) == "lib 1.0 → 2.0"


async def test_a_release_is_found_at_once_where_an_index_lets_its_pages_be_kept(
    resolver: Resolver,
) -> None:
    """Neither a refresh nor a new requirement is answered from a page that was read before."""
    files = [distributions.wheel(name="app", version="1.0")]
    with long_cached(files) as url:
        before = await lock_of(resolver, ask("app", index=url), previous=None)
        files.append(distributions.wheel(name="app", version="2.0"))
        refreshed = await lock_of(resolver, ask("app", index=url), previous=None)
        files.append(distributions.wheel(name="app", version="3.0"))
        asked = await lock_of(resolver, ask("app>=3", index=url), previous=before)
    assert [versions(one)["app"] for one in (before, refreshed, asked)] == ["1.0", "2.0", "3.0"]


async def test_a_pin_that_is_no_longer_allowed_moves_alone(
    index: Index, resolver: Resolver
) -> None:
    """What the request rules out moves on both platforms; the rest stays."""
    for version in ("1.0", "2.0"):
        index.add("app", version)
        index.add("lib", version)
    old = ask("app<2", "lib<2", index=index.url)
    before = await lock_of(resolver, old, previous=None)
    after = await lock_of(resolver, ask("app>=2", "lib", index=index.url), previous=before)
    assert summarize(diff(before, after), 100) == "app 1.0 → 2.0"


async def test_what_is_no_longer_asked_for_leaves(index: Index, resolver: Resolver) -> None:
    """A previous pin is a preference, not a wish."""
    index.add("app", "1.0")
    index.add("lib", "1.0")
    before = await lock_of(resolver, ask("app", "lib", index=index.url), previous=None)
    after = await lock_of(resolver, ask("lib", index=index.url), previous=before)
    assert summarize(diff(before, after), 100) == "-app 1.0"


async def test_a_constraint_limits_without_asking(index: Index, resolver: Resolver) -> None:
    """A constrained package gets into a lock only if something requires it."""
    index.add("app", "1.0", requires=["lib"])
    index.add("lib", "1.0")
    index.add("lib", "2.0")
    request = ask("app", index=index.url, constraints=("lib<2", "absent>=9"))
    assert versions(await lock_of(resolver, request, previous=None)) == {"app": "1.0", "lib": "1.0"}


async def test_no_requirements_need_no_resolver(make_resolver: MakeResolver) -> None:
    """An empty request is an empty lock, and starts nothing."""
    resolver = make_resolver(uv=Path("/nonexistent"))
    request = ask(index="http://127.0.0.1:1/simple", constraints=("lib<2",))
    assert (await lock_of(resolver, request, previous=None)).pins == ()


async def test_markers_are_those_of_the_target(index: Index, resolver: Resolver) -> None:
    """Platform and version of Python are the target's, not those of the machine we run on."""
    index.add(
        "app",
        "1.0",
        requires=[
            "arm; platform_machine == 'aarch64'",
            "intel; platform_machine == 'x86_64'",
            "old; python_version < '3.13'",
            "new; python_version >= '3.13'",
            "win; sys_platform == 'win32'",
            "lin; sys_platform == 'linux' and os_name == 'posix'",
        ],
    )
    for name in ("arm", "intel", "old", "new", "win", "lin"):
        index.add(name, "1.0")
    lock = await lock_of(resolver, ask("app", index=index.url, python="3.13"), previous=None)
    assert set(lock.on(AMD64)) == {"app", "intel", "new", "lin"}
    assert set(lock.on(ARM64)) == {"app", "arm", "new", "lin"}
    assert 'arm==1.0 ; platform_machine == "aarch64" \\\n' in lock.render()
    assert "app==1.0 \\\n" in lock.render()


async def test_a_requirement_that_no_platform_asks_for_is_told(
    index: Index, resolver: Resolver
) -> None:
    """A lock without it is made, with a note; on two platforms, one that asks is enough."""
    index.add("app", "1.0")
    index.add("fast", "1.0")
    lines = ("app", "fast; platform_machine == 'x86_64'")
    done = await resolver.resolve(ask(*lines, index=index.url, platforms=(ARM64,)), previous=None)
    assert set(done.lock.on(ARM64)) == {"app"}
    assert done.notes == (
        "fast is left out: its marker holds on no platform of the set"
        " (platform_machine is aarch64); correct it if that is not meant",
    )
    both = await resolver.resolve(ask(*lines, index=index.url), previous=None)
    assert set(both.lock.on(AMD64)) == {"app", "fast"}
    assert both.notes == ()


async def test_an_extra_brings_its_requirements(index: Index, resolver: Resolver) -> None:
    """An extra is resolved like the package itself; without it its requirements stay out."""
    index.add("app", "1.0", extras={"fast": ["speed"]})
    index.add("speed", "1.0")
    plain = await lock_of(resolver, ask("app", index=index.url), previous=None)
    fast = await lock_of(resolver, ask("app[fast]", index=index.url), previous=plain)
    assert summarize(diff(plain, fast), 100) == "+speed 1.0"


async def test_a_pre_release_is_taken_only_when_it_is_asked_for(
    index: Index, resolver: Resolver
) -> None:
    """Final releases come first; a requirement that names a pre-release, or nothing else, wins."""
    index.add("app", "1.0")
    index.add("app", "2.0rc1")
    index.add("young", "0.1a1")
    final = await lock_of(resolver, ask("app", "young", index=index.url), previous=None)
    assert versions(final) == {"app": "1.0", "young": "0.1a1"}
    named = await lock_of(resolver, ask("app>=2.0rc1", index=index.url), previous=None)
    assert versions(named) == {"app": "2.0rc1"}


async def test_a_pin_that_was_yanked_moves_alone(index: Index, resolver: Resolver) -> None:
    """A yanked release is chosen for no lock, and the last lock's goes, which is told; the rest
    stays."""
    for version in ("1.0", "2.0"):
        index.add("app", version)
        index.add("lib", version)
    request = ask("app", "lib", index=index.url)
    before = await lock_of(resolver, request, previous=None)
    index.add("lib", "3.0")
    index.yank("app", "2.0")
    after = await resolver.resolve(request, previous=before)
    assert summarize(diff(before, after.lock), 100) == "app 2.0 → 1.0"
    assert after.notes == (LOWERED,)


async def test_a_yanked_release_that_is_insisted_on_is_locked_with_a_note(
    index: Index, resolver: Resolver
) -> None:
    """A requirement that allows nothing else gets it, with the index's reason."""
    index.add("app", "1.0")
    index.add("app", "2.0", yanked="breaks on Mondays")
    index.add("lib", "1.0", yanked=True)
    request = ask("app==2.0", "lib==1.0", index=index.url)
    for previous in (None, await lock_of(resolver, request, previous=None)):
        done = await resolver.resolve(request, previous=previous)
        assert versions(done.lock) == {"app": "2.0", "lib": "1.0"}
        assert done.notes == (
            "app 2.0 was yanked (breaks on Mondays); choose another version",
            "lib 1.0 was yanked; choose another version",
        )


async def test_a_pin_that_vanished_from_the_index_moves_or_is_named(
    index: Index, resolver: Resolver
) -> None:
    """Another version takes its place, which is told; where none may, it says that the index lost
    it. A refresh, which keeps no pin, says the same."""
    for version in ("1.0", "2.0"):
        index.add("app", version)
    before = await lock_of(resolver, ask("app", index=index.url), previous=None)
    index.remove("app", "2.0")
    for keep in (True, False):
        request = ask("app", index=index.url)
        after = await resolver.resolve(request, previous=before, keep=keep)
        assert versions(after.lock) == {"app": "1.0"}
        assert after.notes == (LOWERED,)
    gone = "The last lock has app 2.0, which the index no longer has. "
    for line in ("app==2.0", "app>1", "app>=2,<3"):
        for keep in (True, False):
            with pytest.raises(UnsatisfiableError) as caught:
                await resolver.resolve(ask(line, index=index.url), previous=before, keep=keep)
            assert caught.value.message.startswith(gone)
        with pytest.raises(UnsatisfiableError) as caught:
            await resolver.resolve(ask(line, index=index.url), previous=None)
        assert "last lock" not in caught.value.message
    index.remove("app")
    with pytest.raises(UnsatisfiableError, match="no package named app") as caught:
        await resolver.resolve(ask("app", index=index.url), previous=before)
    assert gone in caught.value.message


async def test_a_release_for_other_versions_of_python_is_not_chosen(
    index: Index, resolver: Resolver
) -> None:
    """Requires-Python is compared with the target's first patch release."""
    index.add("app", "1.0")
    index.add("app", "2.0", requires_python=">=3.12")
    old = await lock_of(resolver, ask("app", index=index.url, python="3.11"), previous=None)
    new = await lock_of(resolver, ask("app", index=index.url, python="3.12"), previous=None)
    assert (versions(old), versions(new)) == ({"app": "1.0"}, {"app": "2.0"})


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
async def test_platforms_agree_on_a_version_where_they_can(
    index: Index, resolver: Resolver, machine: str
) -> None:
    """A release that one platform has no wheel of yet is chosen for none."""
    index.add("app", "1.0")
    index.add("app", "2.0", tags=[f"py3-none-manylinux_2_17_{machine}"])
    lock = await lock_of(resolver, ask("app", index=index.url), previous=None)
    assert versions(lock, AMD64) == versions(lock, ARM64) == {"app": "1.0"}


async def test_platforms_that_can_not_agree_have_their_own_versions_for_good(
    index: Index, resolver: Resolver
) -> None:
    """Each gets what it can have, and resolving again changes nothing."""
    index.add("app", "1.0", tags=["py3-none-manylinux_2_17_aarch64"])
    index.add("app", "2.0", tags=["py3-none-manylinux_2_17_x86_64"])
    request = ask("app", index=index.url)
    lock = await lock_of(resolver, request, previous=None)
    assert (versions(lock, AMD64), versions(lock, ARM64)) == ({"app": "2.0"}, {"app": "1.0"})
    assert await lock_of(resolver, request, previous=lock) == lock
    assert await lock_of(resolver, request, previous=None) == lock


async def test_a_package_that_one_platform_lacks_names_the_platform(
    index: Index, resolver: Resolver
) -> None:
    """A lock holds for all its platforms or isn't made."""
    index.add("app", "1.0", tags=["py3-none-manylinux_2_17_x86_64"])
    with pytest.raises(UnsatisfiableError, match=r"^On linux/arm64: .*manylinux_2_17_x86_64"):
        await lock_of(resolver, ask("app", index=index.url), previous=None)
    request = ask("app", index=index.url, platforms=(AMD64,))
    assert versions(await lock_of(resolver, request, previous=None)) == {"app": "1.0"}


async def test_the_first_index_that_knows_a_name_answers_for_it(
    index: Index, other_index: Index, resolver: Resolver
) -> None:
    """The URL is asked before the extra ones: a higher version elsewhere takes no name over."""
    index.add("shared", "1.0")
    other_index.add("shared", "9.0")
    other_index.add("apart", "1.0")
    for urls, version in (
        ((index.url, other_index.url), "1.0"),
        ((other_index.url, index.url), "9.0"),
    ):
        lock = await lock_of(resolver, ask("shared", "apart", index=urls), previous=None)
        assert versions(lock) == {"shared": version, "apart": "1.0"}
    with pytest.raises(UnsatisfiableError, match=r"only shared==1\.0 is available") as caught:
        await lock_of(resolver, ask("shared>1", index=(index.url, other_index.url)), previous=None)
    assert "--" not in caught.value.message


async def test_several_extra_indices_are_asked_in_order(
    index: Index, other_index: Index, resolver: Resolver
) -> None:
    """The second extra index answers only for names that the first doesn't know."""
    with Index() as empty:
        index.add("shared", "1.0")
        other_index.add("shared", "2.0")
        for urls, version in (
            ((empty.url, index.url, other_index.url), "1.0"),
            ((empty.url, other_index.url, index.url), "2.0"),
        ):
            lock = await lock_of(resolver, ask("shared", index=urls), previous=None)
            assert versions(lock) == {"shared": version}
