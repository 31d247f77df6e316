"""`make test`: the suites side by side."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import suites
from tests.cluster import tools

_ROOT = Path(__file__).parents[3]
_MEETS = """
import sys, time
from pathlib import Path
mine, other = map(Path, sys.argv[1:])
mine.touch()
deadline = time.monotonic() + 60
while not other.exists() and time.monotonic() < deadline:
    time.sleep(0.01)
assert other.exists()
print(mine.name)
"""
_TAKES_BACK = """
import sys, time
from pathlib import Path
there = Path(sys.argv[1])
try:
    there.touch()
    time.sleep(600)
finally:
    time.sleep(0.2)
    print("taken back", there.name)
    there.unlink()
"""
_RUNS = """
import sys
from tests import suites
names = sys.argv[2:]
sys.exit(suites.run({name: (sys.executable, "-c", sys.argv[1], name) for name in names}))
"""
_PRINTED = """\
============================= slowest 20 durations =============================
12.50s call     tests/unit/test_a.py::test_x
0.25s setup    tests/unit/test_a.py::test_y
=========================== short test summary info ============================
FAILED tests/unit/test_a.py::test_x - assert 1 passed in 2s
============= 2 failed, 30 passed, 1 skipped in 129.96s (0:02:09) ==============
"""


def test_every_test_is_of_one_suite() -> None:
    """Also one in a folder that is new."""
    for path in _ROOT.glob("tests/*/**/test_*.py"):
        within = [
            name
            for name, arguments in suites.SUITES.items()
            if any(path.is_relative_to(_ROOT / one) for one in arguments)
            and not any(
                path.is_relative_to(_ROOT / one.removeprefix("--ignore="))
                for one in arguments
                if one.startswith("--ignore=")
            )
        ]
        assert len(within) == 1, (path, within)
    named = [one.removeprefix("--ignore=") for each in suites.SUITES.values() for one in each]
    assert [one for one in named if not (_ROOT / one).is_dir()] == []


def test_suites_run_at_once_and_are_shown_in_turn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of two waits for the other; what they print is not mixed."""
    one, other = (str(tmp_path / name) for name in ("one", "other"))
    assert (
        suites.run(
            {
                "first": (sys.executable, "-c", _MEETS, one, other),
                "second": (sys.executable, "-c", _MEETS, other, one),
            }
        )
        == 0
    )
    shown = capsys.readouterr().out.splitlines()
    assert shown[:4] == [
        "test: what first prints",
        "one",
        "test: what second prints",
        "other",
    ]


def test_the_next_suite_starts_when_one_has_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first one runs on until the last has been there, which waits for the second's end."""
    one, other = (str(tmp_path / name) for name in ("one", "other"))
    counts = "import sys; from pathlib import Path; print(Path(sys.argv[1]).exists())"
    commands = {
        "first": (sys.executable, "-c", _MEETS, one, other),
        "second": (sys.executable, "-c", counts, other),
        "third": (sys.executable, "-c", _MEETS, other, one),
    }
    assert suites.run(commands) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if "prints" not in line]
    assert shown[:3] == ["one", "False", "other"]


def test_the_worst_exit_status_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """A suite that fails is not hidden by one that passes after it."""
    commands = {str(status): ("sh", "-c", f"exit {status}") for status in (0, 2, 1)}
    assert suites.run(commands) == 2
    assert suites.run({"killed": ("sh", "-c", "kill -9 $$")}) == 9
    assert "no tests in" in capsys.readouterr().out


def test_the_end_tells_each_suite_and_all_together(capsys: pytest.CaptureFixture[str]) -> None:
    """The closing lines, their sum, and the slowest tests of all."""
    more = (
        "0.50s call     tests/e2e/test_b.py::test_z\n== 1 failed, 2 passed, 1 error in 1.00s ==\n"
    )
    status = suites.run({"one": ("printf", "%s", _PRINTED), "other": ("printf", "%s", more)})
    assert status == 0
    end = capsys.readouterr().out.partition("test: the 20 slowest\n")[2].splitlines()
    assert end[:5] == [
        "12.50s call     tests/unit/test_a.py::test_x",
        "0.50s call     tests/e2e/test_b.py::test_z",
        "0.25s setup    tests/unit/test_a.py::test_y",
        "test: one: 2 failed, 30 passed, 1 skipped in 129.96s (0:02:09); exit status 0",
        "test: other: 1 failed, 2 passed, 1 error in 1.00s; exit status 0",
    ]
    assert " 1 errors, 3 failed, 32 passed, 1 skipped in " in end[5]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_every_suite_and_waits(tmp_path: Path, number: signal.Signals) -> None:
    """Each is asked once, takes back what it started, and is shown to its end."""
    made = [tmp_path / name for name in ("one", "other")]
    with subprocess.Popen(
        [sys.executable, "-c", _RUNS, _TAKES_BACK, *map(str, made)],
        cwd=_ROOT,
        env=tools.environment({"PYTHONPATH": str(_ROOT)}),
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        while not all(path.exists() for path in made):
            assert running.poll() is None
        running.send_signal(number)
        shown = running.stdout.read()
    assert running.returncode == suites.INTERRUPTED
    assert not any(path.exists() for path in made)
    for name in ("one", "other"):
        assert f"taken back {name}\n" in shown
