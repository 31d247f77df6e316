"""What is in the layer of an environment, and what a hostile tree can't do to who packs it."""

import os
import socket
import tarfile
from pathlib import Path

import pytest

from flowdeps.environments import layer as module
from flowdeps.environments.errors import PackError
from flowdeps.environments.layer import Bounds, pack_layer


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with one file."""
    (tmp_path / "tree" / "site").mkdir(parents=True)
    (tmp_path / "tree" / "site" / "a.py").write_text("a = 1\n")
    return tmp_path / "tree"


def members(tree: Path) -> dict[str, tarfile.TarInfo]:
    output = tree.with_name("layer")
    pack_layer(tree, output)
    with tarfile.open(output) as archive:
        return {one.name: one for one in archive}


def test_what_uv_leaves_behind_is_not_packed(tree: Path) -> None:
    """It is of the installation; a file of that name elsewhere is a package's."""
    (tree / "site" / ".lock").touch(mode=0o666)
    (tree / "site" / "package").mkdir()
    (tree / "site" / "package" / ".lock").touch()
    assert list(members(tree)) == ["site", "site/a.py", "site/package", "site/package/.lock"]


def test_in_an_image_the_tree_takes_the_place_of_what_is_there(tree: Path) -> None:
    """A layer has nothing above it: an image may have a link there, and keeps its modes."""
    output = tree.with_name("layer")
    pack_layer(tree, output, below="opt/flowdeps")
    with tarfile.open(output) as archive:
        found = {one.name: (one.type, one.mode, one.size) for one in archive}
    assert list(found) == [
        "opt/flowdeps",
        "opt/flowdeps/.wh..wh..opq",
        "opt/flowdeps/site",
        "opt/flowdeps/site/a.py",
    ]
    assert found["opt/flowdeps"] == (tarfile.DIRTYPE, 0o755, 0)
    assert found["opt/flowdeps/.wh..wh..opq"][0] == tarfile.REGTYPE


def test_links_are_never_followed(tree: Path, tmp_path: Path) -> None:
    """A flow's image could make one that leads to the registry's credentials."""
    (tmp_path / "secret").write_text("s3cret")
    (tree / "site" / "b.py").symlink_to(tmp_path / "secret")
    (tree / "c").symlink_to(tmp_path)
    found = members(tree)
    assert list(found) == ["c", "site", "site/a.py", "site/b.py"]
    assert found["site/b.py"].issym()
    assert found["site/b.py"].size == 0
    assert found["c"].issym()


def test_a_file_that_becomes_a_link_while_it_is_packed_is_not_followed(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at it and its opening."""
    (tmp_path / "secret").write_text("s3cret")
    add = module._add

    def swap(
        writer: module._Writer, tree: Path, path: str, status: os.stat_result, below: str
    ) -> None:
        if path == "site/a.py":
            (tree / path).unlink()
            (tree / path).symlink_to(tmp_path / "secret")
        add(writer, tree, path, status, below)

    monkeypatch.setattr(module, "_add", swap)
    with pytest.raises(PackError, match=r"^site/a\.py can't be packed: Too many levels of symb"):
        pack_layer(tree, tmp_path / "layer")


def test_hardlinks_are_files(tree: Path) -> None:
    """uv makes them where it can; an unpacked layer needs no file of another one."""
    os.link(tree / "site" / "a.py", tree / "site" / "b.py")
    assert [(one.name, one.size) for one in members(tree).values() if one.isreg()] == [
        ("site/a.py", 6),
        ("site/b.py", 6),
    ]


def test_what_is_no_file_is_left_out(tree: Path) -> None:
    """A pipe would never end, and a device have more than all disks."""
    os.mkfifo(tree / "site" / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tree / "site" / "s"))
        assert list(members(tree)) == ["site", "site/a.py"]


def test_no_mode_that_changes_users_is_kept(tree: Path) -> None:
    """Nodes unpack as root."""
    (tree / "site" / "a.py").chmod(0o6777)
    (tree / "site").chmod(0o3777)
    assert [one.mode for one in members(tree).values()] == [0o755, 0o755]


@pytest.mark.parametrize("name", [".wh.a.py", ".wh..wh..opq"])
def test_a_name_that_removes_files_is_refused(tree: Path, name: str) -> None:
    """A runtime would take it for a sign that another file of the layer is gone."""
    (tree / "site" / name).touch()
    with pytest.raises(PackError, match=r'^site/\.wh\..*: a name that begins with "\.wh\."'):
        members(tree)


def test_a_file_with_a_hole_is_not_read_beyond_the_bound(tree: Path, tmp_path: Path) -> None:
    """It takes no disk, and more time than there is."""
    with (tree / "site" / "b").open("wb") as file:
        file.truncate(2**42)
    with pytest.raises(
        PackError, match="the environment has more than 32,000,000,000 bytes; split"
    ):
        pack_layer(tree, tmp_path / "layer")
    assert (tmp_path / "layer").stat().st_size < 10_000


def test_a_directory_without_end_is_not_listed_whole(tree: Path, tmp_path: Path) -> None:
    """The names of one directory are in memory."""
    for number in range(20):
        (tree / "site" / f"{number}").touch()
    assert len(module._names(tree / "site", Bounds(entries=5))) == 6
    with pytest.raises(PackError, match="more than 5 files, links and directories"):
        pack_layer(tree, tmp_path / "layer", Bounds(entries=5))


def test_a_file_that_becomes_shorter_is_an_error(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layer would have its other files in the wrong places."""
    add = module._add

    def shorten(
        writer: module._Writer, tree: Path, path: str, status: os.stat_result, below: str
    ) -> None:
        if path == "site/a.py":
            os.truncate(tree / path, 1)
        add(writer, tree, path, status, below)

    monkeypatch.setattr(module, "_add", shorten)
    with pytest.raises(PackError, match=r"^site/a\.py can't be packed: it became shorter"):
        pack_layer(tree, tmp_path / "layer")


def test_a_full_disk_is_a_line_that_says_what_to_do() -> None:
    """And another try may go well."""
    with Path("/dev/full").open("wb", buffering=0) as file:
        writer = module._Writer(file)
        with pytest.raises(PackError, match="there is no room for it; give the build's pod") as end:
            writer.end()
    assert end.value.retry


def test_a_path_that_is_too_long_is_an_error_of_one_line(tree: Path, tmp_path: Path) -> None:
    """Names of a tree may be anything, and are shown short."""
    start = Path.cwd()
    try:
        os.chdir(tree)
        for _ in range(20):
            Path("\n" * 250).mkdir()
            os.chdir("\n" * 250)
    finally:
        os.chdir(start)
    with pytest.raises(PackError, match="can't be packed: File name too long") as error:
        pack_layer(tree, tmp_path / "layer")
    assert len(str(error.value)) < 300
