"""Laws of unpacking: what was packed comes out, and what anybody else has packed stays inside.

Hostile archives are of any entries, with the names and kinds that lead out of a directory, beside
those that an environment has.
"""

import io
import os
import stat
import tarfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flowdeps.environments.errors import PackError
from flowdeps.environments.unpack import FullError, unpack_layer
from tests.property.environments.test_layer import _TREES, Link, Tree, entries, make, packed
from tests.unit.environments.archives import Member, archive, member, unpack

_TOPS = [b"site", b"boot", b"lock.json", b"image", b"etc", b"..", b"."]
_PATHS = st.lists(
    st.sampled_from([*_TOPS, b"0", b"a", b"", b"\xff", b"x" * 300]), min_size=1, max_size=5
).map(lambda names: os.fsdecode(b"/".join(names)))
_TYPES = st.sampled_from(
    [
        *(tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE),
        *(tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.XHDTYPE, tarfile.AREGTYPE),
        *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.GNUTYPE_SPARSE),
    ]
)


@st.composite
def _members(draw: st.DrawFn) -> Member:
    kind = draw(_TYPES)
    content = draw(st.binary(max_size=700))
    size = draw(st.sampled_from([len(content), len(content), 0, -1, 10**9]))
    return member(
        draw(_PATHS),
        content if kind in {tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME} else b"",
        type=kind,
        size=size if kind != tarfile.DIRTYPE else 0,
        mode=draw(st.integers(0, 0o7777)),
        linkname=draw(st.sampled_from(["/etc/passwd", "..", "../../outside", "site", ""])),
    )


def without_links(tree: Tree) -> Tree:
    return {
        name: without_links(one) if isinstance(one, dict) else one
        for name, one in tree.items()
        if not isinstance(one, Link)
    }


@given(tree=_TREES)
@settings(deadline=None)
def test_what_is_packed_is_unpacked(tree: Tree) -> None:
    """The same files, and of their modes what they were packed with; the same layer, by what it
    says of itself."""
    whole: Tree = {b"site": without_links(tree), b"image": {b"0": Link(b"/app")}, b"lock.json": b""}
    assume(all(len(path) <= 1024 for path in entries(whole)))
    with TemporaryDirectory() as directory:
        at = Path(directory)
        make(whole, os.fsencode(at / "tree"))
        layer = packed(at / "tree", at / "layer")
        (at / "to").mkdir()
        root = os.open(at / "to", os.O_RDONLY)
        try:
            found = unpack_layer(
                io.BytesIO((at / "layer").read_bytes()),
                root,
                digest=layer.digest,
                size=layer.size,
                diff_id=layer.diff_id,
                room=2**40,
            )
        finally:
            os.close(root)
        assert found == layer
        assert packed(at / "to", at / "again") == layer


@given(members=st.lists(_members(), max_size=8))
@settings(deadline=None)
def test_nothing_is_written_outside(members: list[Member]) -> None:
    """Nor is anything made that is no file, directory or link of the image's path; what is wrong
    is an error that says so."""
    with TemporaryDirectory() as directory:
        at = Path(directory)
        (at / "outside").mkdir()
        with suppress(PackError, FullError):
            unpack(archive(*members), at / "to")
        assert {one.name for one in at.iterdir()} == {"outside", "to"}
        assert list((at / "outside").iterdir()) == []
        for place, directories, files in os.walk(os.fsencode(at / "to")):
            for name in (*directories, *files):
                path = os.path.join(place, name)  # noqa: PTH118 - bytes
                status = os.lstat(path)
                if stat.S_ISLNK(status.st_mode):
                    assert place == os.fsencode(at / "to" / "image")
                    assert name == b"0"
                else:
                    assert stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
                    assert not status.st_mode & 0o7000
