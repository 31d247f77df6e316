"""What a layer may hold that comes from a registry to which others may have written."""

import gzip
import os
import tarfile
from pathlib import Path

import pytest

from flowdeps.environments.errors import PackError
from flowdeps.environments.layer import Bounds
from flowdeps.environments.unpack import FullError
from tests.unit.environments.archives import Member, archive, directory, member, unpack

_SITE = directory("site")
_FOREIGN = "the environment in the registry is not one that flowdeps has made: "


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Member:
    return member(name, type=kind, linkname=target)


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([member("/site")], "is no path"),
        ([member("../site")], "is no path"),
        ([_SITE, member("site/../../x")], "is no path"),
        ([_SITE, member("site/./x")], "is no path"),
        ([_SITE, member("site//x")], "is no path"),
        ([_SITE, member(f"site/{'x' * 256}")], "is no path"),
        ([_SITE, member(f"site/{'x/' * 600}y")], "too long"),
        ([directory("site/" + "x/" * n) for n in range(65)], "is no path"),
        ([member("etc")], "is nothing that an environment has"),
        ([member("populated.json")], "is nothing that an environment has"),
        ([link("site", "/etc")], "is a link"),
        ([_SITE, link("site/x", "../../x")], "is a link"),
        ([_SITE, link("site/x", "a.py", tarfile.LNKTYPE)], "is neither a file nor a directory"),
        ([_SITE, member("site/x", type=tarfile.FIFOTYPE)], "is neither a file nor a directory"),
        ([_SITE, member("site/x", type=tarfile.CHRTYPE)], "is neither a file nor a directory"),
        ([_SITE, member("site/x", type=tarfile.XHDTYPE)], "is neither a file nor a directory"),
        ([_SITE, member("site/x", type=tarfile.CONTTYPE)], "is neither a file nor a directory"),
        ([member("site/x")], "is in no directory of it"),
        ([directory("image"), link("image/0", "/"), member("image/0/x")], "is in no directory"),
        ([directory("image"), link("image/0", "/x"), member("image/0")], "is in it twice"),
        ([_SITE, member("site/x"), member("site/x")], "is in it twice"),
        ([_SITE, _SITE], "is in it twice"),
        ([member("boot"), directory("boot")], "is in it twice"),
    ],
)
def test_what_is_no_file_in_its_place_is_refused(
    members: list[Member], why: str, tmp_path: Path
) -> None:
    """Before it is written, and for good: the registry would give the same again."""
    with pytest.raises(PackError, match=why) as error:
        unpack(archive(*members), tmp_path / "to")
    assert str(error.value).startswith(_FOREIGN)
    assert not error.value.retry
    assert {one.name for one in tmp_path.iterdir()} == {"to"}


def test_only_whether_a_file_is_executable_is_kept_of_a_mode(tmp_path: Path) -> None:
    """Nothing is set-uid, nothing can be written by others, and nothing has another owner."""
    before = os.umask(0o022)
    try:
        unpack(
            archive(
                member("site", type=tarfile.DIRTYPE, mode=0o7777, uid=12),
                member("site/a", mode=0o6777, uid=12),
                member("site/b", mode=0o6666),
            ),
            tmp_path / "to",
        )
    finally:
        os.umask(before)
    site = tmp_path / "to" / "site"
    found = [one.stat() for one in (site, site / "a", site / "b")]
    assert [one.st_mode & 0o7777 for one in found] == [0o755, 0o755, 0o644]
    assert {one.st_uid for one in found} == {os.getuid()}


def test_a_name_as_long_as_its_header_says_is_not_read(tmp_path: Path) -> None:
    """It would be in memory before anybody looks at it."""
    name = member("././@LongLink", type=tarfile.GNUTYPE_LONGNAME, size=2**33)
    with pytest.raises(PackError, match="a path that is too long"):
        unpack(archive(name), tmp_path / "to")


@pytest.mark.parametrize("size", [-1, -(2**40)])
def test_a_size_below_nothing_is_refused(size: int, tmp_path: Path) -> None:
    """The numbers of a header have a sign."""
    with pytest.raises(PackError, match="a size that it can't have"):
        unpack(archive(member("boot", size=size)), tmp_path / "to")


def test_a_layer_is_not_read_beyond_its_manifest(tmp_path: Path) -> None:
    """Nor is another one taken for it, nor one that ends early."""
    plain = archive(_SITE, member("site/a", os.urandom(10**6)))
    packed = gzip.compress(plain, 1, mtime=0)
    other = f"sha256:{'0' * 64}"
    with pytest.raises(PackError, match="is longer than its manifest says"):
        unpack(plain, tmp_path / "1", size=len(packed) - 1)
    with pytest.raises(PackError, match="is not the one that its manifest names"):
        unpack(plain, tmp_path / "2", size=len(packed) + 1)
    with pytest.raises(PackError, match="is not the one that its manifest names"):
        unpack(plain, tmp_path / "3", digest=other)
    with pytest.raises(PackError, match="something else than its configuration names"):
        unpack(plain, tmp_path / "4", diff_id=other)
    with pytest.raises(PackError, match="ended the environment's layer early") as error:
        unpack(plain, tmp_path / "5", packed=packed[: len(packed) // 2])
    assert error.value.retry


@pytest.mark.parametrize("behind", [b"x", gzip.compress(b"x"), bytes(20)])
def test_nothing_may_be_behind_the_end_of_a_layer(behind: bytes, tmp_path: Path) -> None:
    """Other programs might read it as the beginning."""
    plain = archive(_SITE)
    with pytest.raises(PackError, match="goes on behind its end"):
        unpack(plain, tmp_path / "1", packed=gzip.compress(plain) + behind)
    if behind.strip(b"\0"):
        with pytest.raises(PackError, match="goes on behind its end"):
            unpack(plain + behind, tmp_path / "2")


@pytest.mark.parametrize("packed", [b"no gzip", gzip.compress(b"no archive" * 100)])
def test_what_is_no_layer_is_refused(packed: bytes, tmp_path: Path) -> None:
    """By its first bytes."""
    with pytest.raises(PackError, match=r"can't be decompressed|is no archive"):
        unpack(b"", tmp_path / "to", packed=packed)


def test_what_does_not_fit_is_not_written_and_its_need_is_told(tmp_path: Path) -> None:
    """The need is that of all files, in blocks as disks have them. Others use the claim too."""
    plain = archive(_SITE, member("site/a", b"a"), member("site/b", bytes(10**6)), member("site/c"))
    needed = 4 * 4096 + 4096 + 245 * 4096
    assert unpack(plain, tmp_path / "1", room=needed).files == 3
    with pytest.raises(FullError) as error:
        unpack(plain, tmp_path / "2", room=10**6)
    assert (error.value.needed, error.value.entries) == (needed, 4)
    assert [one.name for one in (tmp_path / "2" / "site").iterdir()] == ["a"]


def test_there_is_an_end_to_what_one_layer_may_have(tmp_path: Path) -> None:
    """Of entries and of bytes: zeros compress to next to nothing."""
    plain = archive(_SITE, member("site/a", bytes(1000)))
    with pytest.raises(PackError, match="more than 1 files"):
        unpack(plain, tmp_path / "1", bounds=Bounds(entries=1))
    with pytest.raises(PackError, match="999 bytes"):
        unpack(plain, tmp_path / "2", bounds=Bounds(unpacked=999))


def test_links_to_the_images_own_path_are_kept_and_not_followed(tmp_path: Path) -> None:
    """The install container makes them, and they lead where they lead in a run."""
    plain = archive(directory("image"), link("image/0", "/app"), link("image/1", "x" * 200))
    unpack(plain, tmp_path / "to")
    links = tmp_path / "to" / "image"
    assert [str((links / one).readlink()) for one in "01"] == ["/app", "x" * 200]
