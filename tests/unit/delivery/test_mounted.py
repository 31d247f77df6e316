"""The install script reads a lock as one version of its ConfigMap had it, whole or not at all."""

import json
import os
import shutil
from pathlib import Path

import pytest

from flowdeps.delivery.in_image import mounted
from flowdeps.delivery.in_image.installer import InstallError
from flowdeps.locks.lock import Lock, Pin
from flowdeps.locks.target import Target
from tests.unit.delivery.install_pod import Pod

_BOTH = ("linux/amd64", "linux/arm64")
_HASHES = tuple(f"sha256:{digit * 64}" for digit in "ab")


def _lock(version: str) -> Lock:
    pin = Pin("alpha", version, _HASHES, _BOTH)  # type: ignore[arg-type]
    return Lock(Target("3.11", _BOTH), (pin,))


class Volume:
    """A ConfigMap as kubelet mounts it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._versions = 0

    def put(self, lock: Lock, **other: str) -> None:
        """Write a version, let the names lead to it, and delete the one before."""
        self._versions += 1
        new = self.place / f"..version_{self._versions}"
        new.mkdir()
        about = json.dumps({"digest": lock.digest, "packages": 1})
        files = {"lock.json": about, "requirements.txt": lock.render(), "digest": lock.digest}
        for name, text in (files | other).items():
            (new / name).write_text(text)
            if not (self.place / name).is_symlink():
                (self.place / name).symlink_to(f"..data/{name}")
        before = os.path.realpath(self.place / "..data")
        (self.place / "..data_tmp").symlink_to(new.name)
        (self.place / "..data_tmp").rename(self.place / "..data")
        if self._versions > 1:
            shutil.rmtree(before)


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volume:
    monkeypatch.setattr(mounted, "SOURCE", tmp_path)
    return Volume(tmp_path)


@pytest.mark.parametrize("swapped", [0, 1, 2])
def test_a_lock_that_changes_while_it_is_read_is_read_anew(
    swapped: int, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file is about to be read when kubelet writes another version, what is read is of
    that version alone."""
    volume.put(_lock("1.0"))
    reads = 0

    def read(path: Path) -> bytes:
        nonlocal reads
        reads += 1
        if reads == swapped + 1:
            volume.put(_lock("2.0"))
        with path.open("rb") as file:
            return file.read()

    monkeypatch.setattr(Path, "read_bytes", read)
    lock, text = mounted.read_lock("ml")
    assert reads > swapped + 1
    assert lock["digest"] == _lock("2.0").digest
    assert text == _lock("2.0").render()


def test_a_lock_that_never_rests_ends_with_a_line(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No run waits for it for ever."""
    reads = 0

    def read(_: Path) -> bytes:
        nonlocal reads
        reads += 1
        volume.put(_lock(f"1.{reads}"))
        return b""

    volume.put(_lock("1.0"))
    monkeypatch.setattr(Path, "read_bytes", read)
    with pytest.raises(InstallError, match="the lock changes all the time"):
        mounted.read_lock("ml")
    assert reads == mounted.VERSIONS * len(mounted.FILES)


@pytest.mark.parametrize(
    "other",
    [
        {"requirements.txt": _lock("2.0").render()},
        {"requirements.txt": _lock("1.0").render() + "evil==1.0\n"},
        {"requirements.txt": _lock("1.0").render() + "--index-url https://example.com/\n"},
        {"requirements.txt": _lock("1.0").render().replace("3.11", "3.12")},
        {"requirements.txt": "# image: six==1.17.0\n" + _lock("1.0").render()},
        {"digest": _lock("2.0").digest},
        {"lock.json": json.dumps({"digest": _lock("2.0").digest})},
        {"lock.json": "[1]"},
        {"lock.json": "{}"},
    ],
    ids=lambda other: f"{[*other]}"[2:-2],
)
def test_a_text_that_is_not_the_one_of_its_digest_is_refused(
    other: dict[str, str], volume: Volume
) -> None:
    """Files of two locks, or one that somebody has edited, install nothing."""
    volume.put(_lock("1.0"), **other)
    with pytest.raises(InstallError, match='the lock of "ml" is damaged'):
        mounted.read_lock("ml")


def test_what_is_damaged_stops_the_run(pod: Pod) -> None:
    """With a line that says what to do, before anything is installed."""
    pod.write("alpha==1.0", digest=_lock("1.0").digest)
    outcome = pod.run()
    assert outcome.code == 1
    assert outcome.lines == [
        'flowdeps: the lock of "ml" is damaged: its text is not the one that it was made with. '
        "flowdeps writes it anew within minutes: start the run again; if that does not help, see "
        "who else writes the ConfigMap"
    ]


def test_a_lock_that_somebody_puts_in_the_place_of_the_one_to_try_is_refused(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is whole, but what the pod finds would be taken for what the other one is."""
    wanted, other = _lock("1.0"), _lock("2.0")
    volume.put(wanted)
    monkeypatch.setenv("FLOWDEPS_LOCK", wanted.digest)
    assert mounted.read_lock("ml")[0]["digest"] == wanted.digest
    volume.put(other)
    with pytest.raises(InstallError, match="another one than this pod is to try"):
        mounted.read_lock("ml")
    monkeypatch.setenv("FLOWDEPS_LOCK", "")
    assert mounted.read_lock("ml")[0]["digest"] == other.digest
