"""`flowdeps diff`: two locks, what changed, for people and as JSON."""

import io
import json
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from flowdeps.cli.main import main
from flowdeps.locks.lock import Lock, Pin, parse_lock
from flowdeps.locks.target import Target

_TARGET = Target("3.11", ("linux/amd64",))


def _lock(**versions: str) -> str:
    pins = (
        Pin(canonicalize_name(name), version, (f"sha256:{'0' * 64}",), _TARGET.platforms)
        for name, version in versions.items()
    )
    return Lock(_TARGET, tuple(pins)).render()


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    old, new = tmp_path / "old.lock", tmp_path / "new.lock"
    old.write_text(_lock(pandas="2.3.2", six="1.16"))
    new.write_text(_lock(pandas="2.3.3", pyarrow="21.0.0"))
    return str(old), str(new)


def test_a_line_for_each_package_that_changed(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Moved, new and gone packages each have a line, sorted by name."""
    assert main(["diff", *files]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "pandas 2.3.2 → 2.3.3",
        "+pyarrow 21.0.0",
        "-six 1.16",
    ]


def test_json_says_the_same_as_data(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """--json: null stands for a package that wasn't, or no longer is, in the lock."""
    assert main(["diff", "--json", *files]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "changes": [
            {"name": "pandas", "old": "2.3.2", "new": "2.3.3", "image": False},
            {"name": "pyarrow", "old": None, "new": "21.0.0", "image": False},
            {"name": "six", "old": "1.16", "new": None, "image": False},
        ],
        "notes": [],
        "download": {"old": None, "new": None},
    }


def test_a_change_of_the_size_is_told(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A line after the changes, once the new lock says how large it is, unless nothing changed."""
    old, new = (Path(file) for file in files)
    new.write_text("# size: pandas 12000000\n# size: pyarrow 40000000\n" + new.read_text())
    assert main(["diff", *files]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "size: not known → 52 MB to download"
    old.write_text("# size: pandas 9000000\n" + old.read_text())
    assert main(["diff", *files]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "size: at least 9 MB to download → 52 MB to download"
    assert main(["diff", "--json", *files]) == 0
    sizes = json.loads(capsys.readouterr().out)["download"]
    assert sizes == {"old": 9_000_000, "new": 52_000_000}
    assert main(["diff", str(new), str(new)]) == 0
    assert capsys.readouterr().out == "no change\n"


def test_a_note_that_is_new_is_told(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What `flowdeps lock` noted comes after the changes, unless the old lock has the note too."""
    for file, notes in zip(files, (["six is old"], ["six is old", "no extra\nx"]), strict=True):
        lock = parse_lock(Path(file).read_text())
        Path(file).write_text(lock.render(notes))
    assert main(["diff", *files]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == ["-six 1.16", "note: no extra x"]
    assert main(["diff", "--json", *files]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == ["no extra x"]
    assert main(["diff", *files[1:] * 2]) == 0
    assert capsys.readouterr().out == "no change\n"


def test_equal_locks_say_so_and_either_may_come_by_a_pipe(
    files: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`-` reads one of the two from standard input."""
    monkeypatch.setattr("sys.stdin", io.StringIO(Path(files[0]).read_text()))
    assert main(["diff", "-", files[0]]) == 0
    assert capsys.readouterr().out == "no change\n"


def test_what_is_no_lock_is_named_with_its_line(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that isn't a lock, or isn't there, or `-` twice is one clear line and exit 1."""
    other = tmp_path / "requirements.txt"
    other.write_text("pandas==2.3.2\n")
    assert main(["diff", files[0], str(other)]) == 1
    assert "requirements.txt: line 1: not a flowdeps lock" in capsys.readouterr().err
    assert main(["diff", files[0], str(tmp_path / "nowhere")]) == 1
    assert "nowhere: No such file" in capsys.readouterr().err
    assert main(["diff", "-", "-"]) == 1
    assert "only one" in capsys.readouterr().err
