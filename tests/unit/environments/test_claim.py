"""The directories of a claim: whole under their names, and never in anybody's way."""

import errno
import fcntl
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from flowdeps.environments.claim import Claim, Populated, Room
from flowdeps.environments.errors import PackError
from flowdeps.environments.populate import read_request
from flowdeps.environments.slower import measure

_LOCK = f"sha256:{'1' * 64}"
_NAME = f"sha256-{'2' * 64}"
_REFERENCE = f"registry.example.com/flowdeps/team-a@{_NAME.replace('-', ':')}"
_FOUND = Populated(directory=_NAME, files=1, bytes=90, slower=1.5)


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    (tmp_path / "claim").mkdir()
    return Claim(root=tmp_path / "claim")


def make(claim: Claim) -> None:
    with claim.new() as path:
        (path / "lock.json").write_text(json.dumps({"digest": _LOCK}))
        claim.finish(path, _FOUND)


def names(claim: Claim) -> set[str]:
    return {one.name for one in claim.root.iterdir()} - {".flowdeps.lock"}


def test_a_directory_has_its_name_once_it_is_whole(claim: Claim) -> None:
    """And with it what was measured of it; one that is not finished leaves nothing."""
    with claim.new() as path:
        (path / "lock.json").touch()
    assert names(claim) == set()
    make(claim)
    assert names(claim) == {_NAME}
    assert claim.find(_NAME, lock=_LOCK) == _FOUND


def test_nothing_that_is_there_is_replaced(claim: Claim) -> None:
    """Runs may have mounted it. Where locks are of no use, two may finish the same one."""
    make(claim)
    number = (claim.root / _NAME).stat().st_ino
    make(claim)
    assert (claim.root / _NAME).stat().st_ino == number
    assert names(claim) == {_NAME}


def test_what_dead_populators_left_is_removed_by_the_next(claim: Claim) -> None:
    """Whatever they were at, and nothing else."""
    make(claim)
    for name in (".flowdeps-new-1", ".flowdeps-old-1"):
        (claim.root / name / "site").mkdir(parents=True)
    (claim.root / ".flowdeps-new-2").symlink_to(claim.root / _NAME)
    (claim.root / "somebody's").mkdir()
    with claim.locked():
        assert names(claim) == {_NAME, "somebody's"}
    assert claim.find(_NAME, lock=_LOCK) == _FOUND


def test_one_that_is_removed_meanwhile_can_not_be_finished(claim: Claim) -> None:
    """Where locks are of no use, it would have lost some of its files."""
    with claim.new() as path:
        (path / "site").mkdir()
        with claim.locked():
            pass
        with pytest.raises(PackError, match="the claim can't be used") as error:
            claim.finish(path, _FOUND)
    assert error.value.retry
    assert names(claim) == set()


def test_two_take_turns(claim: Claim) -> None:
    """The second waits no longer than it may."""
    other = Claim(root=claim.root)
    with (
        claim.locked(),
        pytest.raises(PackError, match="another populator has been at work"),
        other.locked(0),
    ):
        pass
    with other.locked(0):
        pass


def test_a_claim_without_locks_is_refused(claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(PackError, match="has no locks"), claim.locked():
        pass


def test_a_removal_begins_with_the_name(claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing is ever found half-removed."""
    make(claim)
    monkeypatch.setattr(shutil, "rmtree", lambda _: None)
    grow_old(claim)
    assert list(claim.tidy(set())) == [_NAME]
    [left] = names(claim)
    assert left.startswith(".flowdeps-old-")
    monkeypatch.undo()
    with claim.locked():
        assert names(claim) == set()


def test_a_link_in_place_of_a_directory_leads_nowhere(claim: Claim, tmp_path: Path) -> None:
    """Neither to be read nor to be removed."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "lock.json").write_text(json.dumps({"digest": _LOCK}))
    (claim.root / _NAME).symlink_to(tmp_path / "other")
    with pytest.raises(PackError, match="is not what flowdeps has made"):
        claim.find(_NAME, lock=_LOCK)
    (tmp_path / "other" / "populated.json").touch()
    os.utime(tmp_path / "other" / "populated.json", (0, 0))
    assert list(claim.tidy(set())) == []
    assert (tmp_path / "other" / "lock.json").exists()


@pytest.mark.parametrize("note", [None, "{}", "[]", '{"files": -1, "bytes": 1, "slower": 1}'])
def test_what_flowdeps_did_not_make_is_not_believed(claim: Claim, note: str | None) -> None:
    """Nor is another lock under the name."""
    make(claim)
    with pytest.raises(PackError, match="is not what flowdeps has made"):
        claim.find(_NAME, lock=f"sha256:{'3' * 64}")
    (claim.root / _NAME / "populated.json").unlink()
    if note is not None:
        (claim.root / _NAME / "populated.json").write_text(note)
    with pytest.raises(PackError, match="delete this directory"):
        claim.find(_NAME, lock=_LOCK)


def grow_old(claim: Claim) -> None:
    """As if nothing had used the environment for more than a week."""
    before = time.time() - 8 * 24 * 3600
    os.utime(claim.root / _NAME / "populated.json", (before, before))


def test_what_is_of_no_use_for_a_week_is_removed(claim: Claim) -> None:
    """Neither what is named nor what is younger; and a name counts as use."""
    make(claim)
    (claim.root / "none").mkdir()
    (claim.root / "somebody's").mkdir()
    assert list(claim.tidy(set())) == []
    grow_old(claim)
    assert list(claim.tidy({"2" * 10})) == []
    assert list(claim.tidy(set())) == []
    grow_old(claim)
    assert list(claim.tidy({"1" * 10})) == [_NAME]
    assert names(claim) == {"none", "somebody's"}


def test_nothing_is_removed_under_a_run(claim: Claim) -> None:
    """Each of its interpreters holds a lock, as boot takes it."""
    make(claim)
    grow_old(claim)
    with (claim.root / _NAME / "populated.json").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        assert list(claim.tidy(set())) == []
    assert list(claim.tidy(set())) == [_NAME]


def test_what_flowdeps_did_not_make_is_not_removed(claim: Claim) -> None:
    """Without a note, or with a pipe in its place."""
    (claim.root / _NAME).mkdir()
    assert list(claim.tidy(set())) == []
    os.mkfifo(claim.root / _NAME / "populated.json")
    os.utime(claim.root / _NAME / "populated.json", (0, 0))
    list(claim.tidy(set()))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"FLOWDEPS_REFERENCE": "registry.example.com/a:1"}, "FLOWDEPS_REFERENCE must be"),
        ({"FLOWDEPS_REFERENCE": f"{_REFERENCE}0"}, "FLOWDEPS_REFERENCE must be"),
        ({"FLOWDEPS_LOCK": ""}, "FLOWDEPS_LOCK must be"),
        ({"FLOWDEPS_REFERENCE": ""}, "FLOWDEPS_REFERENCE must be"),
        ({"FLOWDEPS_KEEP": "0123456789,"}, "nothing was removed"),
        ({"FLOWDEPS_KEEP": "0"}, "nothing was removed"),
    ],
)
def test_variables_that_make_no_sense_are_named(
    change: dict[str, str], error: str, tmp_path: Path
) -> None:
    """They are the operator's, in an image of the same version."""
    env = {"FLOWDEPS_REFERENCE": _REFERENCE, "FLOWDEPS_LOCK": _LOCK}
    request = read_request(env, claim=tmp_path, credentials=tmp_path)
    assert (request.directory, request.keep) == (_NAME, None)
    kept = read_request(
        {**env, "FLOWDEPS_KEEP": "0123456789,0123456780"}, claim=tmp_path, credentials=tmp_path
    )
    assert kept.keep == frozenset({"0123456789", "0123456780"})
    with pytest.raises(PackError, match=error):
        read_request(env | change, claim=tmp_path, credentials=tmp_path)


def test_a_full_claim_says_how_much_is_needed_and_free(
    claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And how many files, where these lack."""
    said = str(Room(bytes=10**6, files=5).lacking(2 * 10**6, entries=6))
    assert said == (
        "the claim is full: 2,000,000 bytes (2.0 MB) are needed, 1,000,000 bytes (1.0 MB) are free;"
        " 6 files are needed, 5 are free; make the claim larger"
    )

    def fsync(_: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(PackError, match=r"^the claim is full: 4,096 bytes"):
        claim.make_none()


def test_modules_of_a_tree_are_read_and_links_are_not_followed(tmp_path: Path) -> None:
    """It is an estimate: of nothing it is 0, and it is never below that."""
    (tmp_path / "site").mkdir()
    assert measure(tmp_path) == 0
    (tmp_path / "site" / "a.py").write_bytes(bytes(10**6))
    (tmp_path / "site" / "b.txt").symlink_to("/dev/zero")
    assert measure(tmp_path) > 0
    (tmp_path / "site" / "c.so").symlink_to("/dev/zero")
    assert measure(tmp_path) == 0
