"""Where uv caches, and the stub wheels of images."""

import os
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from flowdeps.locks.access import Access
from flowdeps.locks.image import Distribution, ImageFacts
from flowdeps.resolver.directories import Directories

SIX = Distribution("typing-extensions", "4.15.0+own.1", ("six>=1",))
OLD = Distribution("six", "1.17.0")
FACTS = ImageFacts(
    python="3.11",
    platform="linux/amd64",
    markers={"python_version": "3.11"},
    distributions=(SIX, OLD),
)
DAY = 24 * 3600


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_who_has_other_access_has_another_cache(tmp_path: Path) -> None:
    """One for all without, and one each for what opens other indices; names tell nothing."""
    directories = Directories(tmp_path)
    ways = [Access(), Access(netrc="hunter2"), Access(ca="hunter2"), Access("hunter", "2")]
    found = [directories.cache(one) for one in ways]
    assert len(set(found)) == len(ways)
    assert found == [directories.cache(one) for one in ways]
    assert not any("hunter" in str(path) for path in found)
    again = Directories(tmp_path).cache(ways[1])
    assert again != found[1], "the name could be guessed from the credentials"


def test_what_nobody_uses_any_more_is_removed(tmp_path: Path) -> None:
    """Credentials that are renewed each hour, and images of each build, don't fill a disk."""
    directories = Directories(tmp_path)
    old, used = Access(netrc="old"), Access(netrc="used")
    for one in (old, used):
        (directories.cache(one) / "kept").write_text("x")
        age(directories.cache(one), 2 * DAY)
    directories.cache(used)
    directories.cache(Access(netrc="new"))
    assert (directories.cache(used) / "kept").exists()
    assert len(list((tmp_path / "private").iterdir())) == 2
    stubs = directories.stubs(FACTS)
    assert stubs
    age(stubs, 2 * DAY)
    directories.stubs(
        ImageFacts(python="3.11", platform="linux/amd64", markers={"os_name": "posix"})
    )
    assert not stubs.exists()
    assert directories.stubs(FACTS) == stubs
    assert stubs.is_dir()


def test_an_image_has_a_stub_for_each_package(tmp_path: Path) -> None:
    """Once; and none where nobody knows what the packages require."""
    directories = Directories(tmp_path)
    directory = directories.stubs(FACTS)
    assert directory
    assert {one.name for one in directory.iterdir()} == {
        "six-1.17.0-py3-none-any.whl",
        "typing_extensions-4.15.0+own.1-py3-none-any.whl",
    }
    before = {one: one.stat().st_mtime_ns for one in directory.iterdir()}
    assert directories.stubs(FACTS) == directory
    assert {one: one.stat().st_mtime_ns for one in directory.iterdir()} == before
    assert list(directory.parent.iterdir()) == [directory]
    assert directories.stubs(ImageFacts(python="3.11", platform="linux/amd64")) is None


def test_a_stub_says_what_the_image_says_of_a_package(tmp_path: Path) -> None:
    """With what is required by URL named without it, as far as the image has it."""
    odd = Distribution("app", "1.0", ("six @ https://example.com/x.whl", "y @ file:///y"), ("e",))
    directory = Directories(tmp_path).stubs(replace(FACTS, distributions=(odd, SIX, OLD)))
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
        Directories(tmp_path).stubs(FACTS)
