"""Where uv caches, and the stub wheels of images."""

import io
import os
import time
import zipfile
from pathlib import Path

import pytest

from flowdeps.locks.access import Access
from flowdeps.locks.image import Distribution, ImageFacts
from flowdeps.resolver.places import Places, filename, stub

SIX = Distribution("typing-extensions", "4.15.0+own.1", ("six>=1",))
FACTS = ImageFacts(
    python="3.11",
    platform="linux/amd64",
    markers={"python_version": "3.11"},
    distributions=(SIX, Distribution("six", "1.17.0")),
)
DAY = 24 * 3600


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_who_has_other_access_has_another_cache(tmp_path: Path) -> None:
    """One for all without, and one each for what opens other indices; names tell nothing."""
    places = Places(tmp_path)
    ways = [Access(), Access(netrc="hunter2"), Access(ca="hunter2"), Access("hunter", "2")]
    found = [places.cache(one) for one in ways]
    assert len(set(found)) == len(ways)
    assert found == [places.cache(one) for one in ways]
    assert not any("hunter" in str(path) for path in found)
    again = Places(tmp_path).cache(ways[1])
    assert again != found[1], "the name could be guessed from the credentials"


def test_what_nobody_uses_any_more_is_removed(tmp_path: Path) -> None:
    """Credentials that are renewed each hour, and images of each build, don't fill a disk."""
    places = Places(tmp_path)
    old, used = Access(netrc="old"), Access(netrc="used")
    for one in (old, used):
        (places.cache(one) / "kept").write_text("x")
        age(places.cache(one), 2 * DAY)
    places.cache(used)
    places.cache(Access(netrc="new"))
    assert (places.cache(used) / "kept").exists()
    assert len(list((tmp_path / "private").iterdir())) == 2
    stubs = places.stubs(FACTS)
    assert stubs
    age(stubs, 2 * DAY)
    places.stubs(ImageFacts(python="3.11", platform="linux/amd64", markers={"os_name": "posix"}))
    assert not stubs.exists()
    assert places.stubs(FACTS) == stubs
    assert stubs.is_dir()


def test_an_image_has_a_stub_for_each_package(tmp_path: Path) -> None:
    """Once; and none where nobody knows what the packages require."""
    places = Places(tmp_path)
    directory = places.stubs(FACTS)
    assert directory
    names = {one.name for one in directory.iterdir()}
    assert names == {filename(one) for one in FACTS.distributions}
    before = {one: one.stat().st_mtime_ns for one in directory.iterdir()}
    assert places.stubs(FACTS) == directory
    assert {one: one.stat().st_mtime_ns for one in directory.iterdir()} == before
    assert list(directory.parent.iterdir()) == [directory]
    assert places.stubs(ImageFacts(python="3.11", platform="linux/amd64")) is None


def test_a_stub_is_a_wheel_without_code() -> None:
    """The same bytes each time, with the name that installers expect."""
    assert filename(SIX) == "typing_extensions-4.15.0+own.1-py3-none-any.whl"
    assert stub(SIX) == stub(SIX)
    with zipfile.ZipFile(io.BytesIO(stub(SIX))) as wheel:
        assert wheel.testzip() is None
        info = "typing_extensions-4.15.0+own.1.dist-info"
        assert wheel.namelist() == [f"{info}/{one}" for one in ("METADATA", "WHEEL", "RECORD")]
        assert b"Requires-Dist: six>=1\n" in wheel.read(f"{info}/METADATA")


def test_a_place_that_can_not_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    """The resolver tells it as one."""
    (tmp_path / "images").write_text("in the way")
    with pytest.raises(OSError, match="images"):
        Places(tmp_path).stubs(FACTS)
