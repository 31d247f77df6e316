"""Laws of the layer of an environment: the same files make the same bytes, and all of them.

The trees have any names that Linux takes. Each is made twice, with nothing the same but its files:
in another order, at other times, with another umask, and for root with other owners.
"""

import gzip
import hashlib
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowdeps.environments.errors import PackError
from flowdeps.environments.layer import LEFT_OUT, Bounds, Layer, pack_layer

Tree = dict[bytes, "bytes | Link | Tree | Program"]
_ROOT_USER = os.geteuid() == 0
_BELOW = "opt/flowdeps"


@dataclass(frozen=True)
class Link:
    """A symbolic link, to anywhere."""

    target: bytes


@dataclass(frozen=True)
class Program:
    """An executable file."""

    content: bytes = field(default=b"#!")


def _is_name(name: bytes) -> bool:
    return name not in {b".", b".."} and not name.startswith(b".wh.")


_NAMES = st.one_of(
    st.sampled_from([b"site", b".lock", b"a b", b"-", b"caf\xe9", "é\n".encode(), b"x" * 255]),
    st.lists(st.integers(1, 255).filter(lambda one: one != 47), min_size=1, max_size=120).map(
        bytes
    ),
).filter(_is_name)
_FILES = st.one_of(
    st.binary(max_size=2000),
    st.builds(Program, st.binary(max_size=20)),
    st.builds(Link, st.binary(min_size=1, max_size=200).filter(lambda one: b"\0" not in one)),
)
_TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(_NAMES, _FILES, max_size=5),
    lambda inner: st.dictionaries(_NAMES, st.one_of(_FILES, inner), max_size=5),
    max_leaves=10,
)


def make(
    tree: Tree, at: bytes, *, backwards: bool = False, umask: int = 0o022, time: int = 0
) -> None:
    """Make a tree; its owners are those of its number of seconds, where this is root."""
    before = os.umask(umask)
    try:
        _make(tree, at, backwards=backwards, time=time)
    finally:
        os.umask(before)


def _make(tree: Tree, at: bytes, *, backwards: bool, time: int) -> None:
    os.mkdir(at)  # noqa: PTH102 - here and below, paths are bytes
    for name in sorted(tree, reverse=backwards):
        path, content = os.path.join(at, name), tree[name]  # noqa: PTH118
        if isinstance(content, dict):
            _make(content, path, backwards=backwards, time=time)
        elif isinstance(content, Link):
            os.symlink(content.target, path)  # noqa: PTH211
        else:
            data = content.content if isinstance(content, Program) else content
            mode = 0o777 if isinstance(content, Program) else 0o666
            with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, mode), "wb") as file:
                file.write(data)
        os.utime(path, (time, time), follow_symlinks=False)
        if _ROOT_USER:
            os.chown(path, time % 60000, time % 60000, follow_symlinks=False)


def packed(tree: Path, output: Path, **bounds: int) -> Layer:
    output.unlink(missing_ok=True)
    return pack_layer(tree, output, Bounds(**bounds))


def entries(tree: Tree, below: bytes = b"") -> "dict[bytes, bytes | Link | Program | None]":
    """All entries by their paths; of a directory, nothing."""
    found: dict[bytes, bytes | Link | Program | None] = {}
    for name, content in tree.items():
        path = os.path.join(below, name)  # noqa: PTH118
        if os.fsdecode(path) in LEFT_OUT:
            continue
        if isinstance(content, dict):
            found |= {path: None, **entries(content, path)}
        else:
            found[path] = content
    return found


@given(tree=_TREES, time=st.integers(1, 2**33))
@settings(deadline=None)
def test_two_builds_of_the_same_files_have_one_digest(tree: Tree, time: int) -> None:
    """Whoever made them, in whatever order, and when."""
    with TemporaryDirectory() as directory:
        one, other = Path(directory) / "one", Path(directory) / "other"
        make(tree, os.fsencode(one))
        make(tree, os.fsencode(other), backwards=True, umask=0o077, time=time)
        assert packed(one, Path(directory) / "1") == packed(other, Path(directory) / "2")


@given(tree=_TREES)
@settings(deadline=None)
def test_a_layer_holds_the_files_of_its_tree(tree: Tree) -> None:
    """All of them, with the names and bytes that they have, and nothing of who made them; the
    digests are those of what was written."""
    with TemporaryDirectory() as directory:
        make(tree, os.fsencode(Path(directory) / "tree"), time=10**9)
        output = Path(directory) / "layer"
        layer = packed(Path(directory) / "tree", output)
        written = output.read_bytes()
        assert layer.digest == f"sha256:{hashlib.sha256(written).hexdigest()}"
        assert layer.size == len(written)
        assert layer.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(written)).hexdigest()}"
        found: dict[bytes, bytes | Link | Program | None] = {}
        with tarfile.open(output, encoding="utf-8", errors="surrogateescape") as archive:
            for member in archive:
                assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")
                path = member.name.encode("utf-8", "surrogateescape")
                assert path not in found
                if member.isdir():
                    assert member.mode == 0o755
                    found[path] = None
                elif member.issym():
                    found[path] = Link(member.linkname.encode("utf-8", "surrogateescape"))
                else:
                    file = archive.extractfile(member)
                    assert file is not None
                    content = file.read()
                    assert member.mode in {0o644, 0o755}
                    found[path] = Program(content) if member.mode == 0o755 else content
        assert found == entries(tree)
        assert layer.files == sum(isinstance(one, (bytes, Program)) for one in found.values())


@given(tree=_TREES)
@settings(deadline=None)
def test_bounds_are_exact(tree: Tree) -> None:
    """What has as much as is allowed is packed, and what has one more is not."""
    with TemporaryDirectory() as directory:
        at, output = Path(directory) / "tree", Path(directory) / "layer"
        make(tree, os.fsencode(at))
        layer, count = packed(at, output), len(entries(tree))
        assert packed(at, output, entries=count, unpacked=layer.unpacked) == layer
        if count:
            with pytest.raises(
                PackError, match=r"more than .* files, links and directories; split"
            ):
                packed(at, output, entries=count - 1)
        if layer.unpacked:
            with pytest.raises(PackError, match=r"more than .* bytes; split the set"):
                packed(at, output, unpacked=layer.unpacked - 1)


@given(tree=_TREES, time=st.integers(1, 2**33))
@settings(deadline=None)
def test_the_layer_of_an_image_is_the_tree_below_a_directory(tree: Tree, time: int) -> None:
    """Two builds make the same bytes. Nothing is above or beside that directory, what lower layers
    have in it is hidden, and all else is as in the layer of an environment."""
    with TemporaryDirectory() as directory:
        one, other = Path(directory) / "one", Path(directory) / "other"
        make(tree, os.fsencode(one))
        make(tree, os.fsencode(other), backwards=True, umask=0o077, time=time)
        alone, output = packed(one, Path(directory) / "1"), Path(directory) / "2"
        layer = pack_layer(one, output, below=_BELOW)
        assert layer == pack_layer(other, Path(directory) / "3", below=_BELOW)
        assert (layer.files, layer.unpacked) == (alone.files, alone.unpacked)
        (top, hidden, *rest), inner = _members(output), _members(Path(directory) / "1")
        assert (top[0], top[1]["type"]) == (_BELOW, tarfile.DIRTYPE)
        assert (hidden[0], hidden[1]["size"]) == (f"{_BELOW}/.wh..wh..opq", 0)
        assert rest == [(f"{_BELOW}/{name}", about) for name, about in inner]


def _members(layer: Path) -> list[tuple[str, dict[str, object]]]:
    """The names of a layer's entries, and what is said of each."""
    kept = ("type", "mode", "size", "linkname", "mtime", "uid", "gid", "uname", "gname")
    with tarfile.open(layer, encoding="utf-8", errors="surrogateescape") as archive:
        return [(one.name, {name: getattr(one, name) for name in kept}) for one in archive]
