"""Where uv caches, and the stub wheels of images."""

import os
import shutil
import tempfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from flowdeps.locks.access import Access
from flowdeps.locks.image import Distribution, ImageFacts
from flowdeps.resolver.directories import WORK, Directories

SIX = Distribution("typing-extensions", "4.15.0+own.1", ("six>=1",))
OLD = Distribution("six", "1.17.0")
FACTS = ImageFacts(
    python="3.11",
    platform="linux/amd64",
    markers={"python_version": "3.11"},
    distributions=(SIX, OLD),
)
DAY = 24 * 3600
NOBODY = Access()


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


MIB = 1024**2


def made(root: Path, *, size: int = 100 * MIB) -> Directories:
    return Directories(root, size=size)


def cache_of(directories: Directories, access: Access = NOBODY) -> Path:
    """The cache that is used now, when it is not used any more."""
    with directories.cache(access) as path:
        return path


def stubs_of(directories: Directories, facts: ImageFacts) -> Path | None:
    with directories.stubs(facts) as path:
        return path


def test_who_has_other_access_has_another_cache(tmp_path: Path) -> None:
    """One for all without, and one each for what opens other indices; names tell nothing."""
    directories = made(tmp_path)
    ways = [Access(), Access(netrc="hunter2"), Access(ca="hunter2"), Access("hunter", "2")]
    found = [cache_of(directories, one) for one in ways]
    assert len(set(found)) == len(ways)
    assert found == [cache_of(directories, one) for one in ways]
    assert not any("hunter" in str(path) for path in found)
    again = cache_of(made(tmp_path), ways[1])
    assert again != found[1], "the name could be guessed from the credentials"


def test_what_nobody_uses_any_more_is_removed(tmp_path: Path) -> None:
    """Credentials that are renewed each hour, and images of each build, don't fill a disk; what all
    use stays."""
    directories = made(tmp_path)
    old, used = Access(netrc="old"), Access(netrc="used")
    for one in (old, used, NOBODY):
        (cache_of(directories, one) / "kept").write_text("x")
        age(cache_of(directories, one), 2 * DAY)
    stubs = stubs_of(directories, FACTS)
    assert stubs
    age(stubs, 2 * DAY)
    cache_of(directories, used)
    directories.tidy()
    assert (cache_of(directories, used) / "kept").exists()
    assert (cache_of(directories) / "kept").exists()
    assert len(list((tmp_path / "private").iterdir())) == 1
    assert not stubs.exists()
    assert stubs_of(directories, FACTS) == stubs
    assert stubs.is_dir()


def test_tokens_that_follow_each_other_share_a_cache(tmp_path: Path) -> None:
    """And nobody else has it, whatever is in their netrc file."""
    directories = made(tmp_path)
    ways = [Access("token-1", holder="one"), Access("token-1", holder="two")]
    ways += [Access("token-1"), Access("one"), Access("one\0")]
    assert len({cache_of(directories, way) for way in ways}) == len(ways)
    assert cache_of(directories, Access("token-2", holder="one")) == cache_of(directories, ways[0])


@pytest.mark.parametrize("access", [NOBODY, Access(netrc="me")])
def test_a_cache_that_is_too_large_makes_way_for_an_empty_one(
    tmp_path: Path, access: Access
) -> None:
    """At half of what all may take. Others stay."""
    directories = made(tmp_path, size=10 * MIB)
    other = cache_of(directories, Access(netrc="other"))
    (cache_of(directories, access) / "page").write_bytes(bytes(4 * MIB))
    directories.tidy()
    assert (cache_of(directories, access) / "page").exists()
    (cache_of(directories, access) / "file").write_bytes(bytes(2 * MIB))
    directories.tidy()
    assert not list(cache_of(directories, access).glob("[a-z]*"))
    assert other.exists()
    assert sum(one.stat().st_size for one in tmp_path.rglob("*")) < MIB


def test_many_small_files_are_too_large_as_well(tmp_path: Path) -> None:
    """Each takes a block, and room in a directory."""
    directories = made(tmp_path, size=MIB)
    path = cache_of(directories)
    for number in range(200):
        (path / str(number)).touch()
    directories.tidy()
    assert not path.exists()


def test_of_caches_that_are_too_much_together_the_oldest_go(tmp_path: Path) -> None:
    """Those that were used least recently, until the others are within the limit."""
    directories = made(tmp_path, size=10 * MIB)
    ways = [Access(netrc=f"{number}") for number in range(5)]
    paths = [cache_of(directories, one) for one in ways]
    for number, path in enumerate(paths):
        (path / "page").write_bytes(bytes(3 * MIB))
        age(path, 1000 - number)
    age(paths[1], 1)
    directories.tidy()
    assert [path.exists() for path in paths] == [False, True, False, True, True]


def test_what_is_used_is_not_pulled_away(tmp_path: Path) -> None:
    """It stays to the end of its use, also where another process tidies; who comes meanwhile gets
    an empty one. Nothing of it is left then."""
    ours, theirs = made(tmp_path, size=MIB), made(tmp_path, size=MIB)
    with ours.cache(NOBODY) as path:
        (path / "page").write_bytes(bytes(2 * MIB))
        for one in (ours, theirs):
            one.tidy()
            one.tidy(everything=True)
        assert (path / "page").stat().st_size == 2 * MIB
        with ours.cache(NOBODY) as other, theirs.cache(NOBODY) as third:
            assert other == third != path
    theirs.tidy()
    assert not path.exists()
    assert other.exists()


def test_the_stubs_of_an_image_that_is_resolved_stay(tmp_path: Path) -> None:
    """Those alone: all others are removed where the disk is full."""
    directories = made(tmp_path)
    with directories.stubs(FACTS) as path:
        other = stubs_of(directories, replace(FACTS, distributions=(OLD,)))
        directories.tidy(everything=True)
        assert path
        assert path.exists()
        assert other
        assert not other.exists()


def test_a_removal_that_was_interrupted_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between its two steps leaves a directory that nobody uses, for the next time."""
    directories = made(tmp_path, size=MIB)
    path = cache_of(directories)
    (path / "page").write_bytes(bytes(2 * MIB))
    with monkeypatch.context() as crashing:
        crashing.setattr(shutil, "rmtree", lambda *_, **__: None)
        directories.tidy()
    assert not (path / "page").exists()
    assert [one.stat().st_size for one in tmp_path.rglob("page")] == [2 * MIB]
    made(tmp_path, size=MIB).tidy()
    assert not list(tmp_path.rglob("page"))


def test_what_a_killed_operator_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The children's own directories, with credentials in them, after a day; no others."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, used, other = (tmp_path / name for name in (f"{WORK}left", f"{WORK}used", "flowdeps-x"))
    for path in (left, used, other):
        path.mkdir()
        (path / "netrc").touch()
        age(path, 2 * DAY if path != used else DAY / 2)
    made(tmp_path / "cache").tidy()
    assert [one.exists() for one in (left, used, other)] == [False, True, True]


def test_what_an_older_version_cached_is_removed(tmp_path: Path) -> None:
    """Its caches had other names, so that nobody uses them any more. What else is beside them isn't
    ours."""
    for name in ("shared/simple-v1", "private/0a1b2c", "else"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "shared/simple-v1/page").touch()
    made(tmp_path).tidy()
    assert {str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*")} <= {
        *("shared", "private", "trash", "else"),
    }
    assert (tmp_path / "else").exists()


def test_an_image_has_a_stub_for_each_package(tmp_path: Path) -> None:
    """Once; and none where nobody knows what the packages require."""
    directories = made(tmp_path)
    directory = stubs_of(directories, FACTS)
    assert directory
    assert {one.name for one in directory.glob("[!.]*")} == {
        "six-1.17.0-py3-none-any.whl",
        "typing_extensions-4.15.0+own.1-py3-none-any.whl",
    }
    before = {one: one.stat().st_mtime_ns for one in directory.iterdir()}
    assert stubs_of(directories, FACTS) == directory
    assert {one: one.stat().st_mtime_ns for one in directory.iterdir()} == before
    assert list(directory.parent.iterdir()) == [directory]
    assert stubs_of(directories, ImageFacts(python="3.11", platform="linux/amd64")) is None


def test_a_stub_says_what_the_image_says_of_a_package(tmp_path: Path) -> None:
    """With what is required by URL named without it, as far as the image has it."""
    odd = Distribution("app", "1.0", ("six @ https://example.com/x.whl", "y @ file:///y"), ("e",))
    directory = stubs_of(made(tmp_path), replace(FACTS, distributions=(odd, SIX, OLD)))
    assert directory
    with zipfile.ZipFile(directory / "app-1.0-py3-none-any.whl") as wheel:
        assert wheel.read("app-1.0.dist-info/METADATA").decode() == (
            "Metadata-Version: 2.1\nName: app\nVersion: 1.0\nProvides-Extra: e\n"
            "Requires-Dist: six\n"
        )


def test_a_place_that_can_not_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    """The resolver tells it as one."""
    (tmp_path / "images").write_text("in the way")
    with pytest.raises(OSError, match="images"):
        stubs_of(made(tmp_path), FACTS)
