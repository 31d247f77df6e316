"""Runs and their processes: nothing is lost, and nothing of others is touched."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import cache, procfs, runs, signals, tools
from tests.cluster.processes import Process, ProcessError
from tests.cluster.runs import Run
from tests.cluster.undo import Undo

_ROOT = Path(__file__).parents[3]
_DIES = """
import os
from tests.cluster.processes import Process
from tests.cluster.runs import Run

run = Run()
Process(run, "sleeper", ["sleep", "600"]).start()
os._exit(1)
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWDEPS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def run() -> Iterator[Run]:
    one = Run()
    yield one
    one.clean_up()


def test_a_run_that_was_killed_is_cleaned_up_by_the_next() -> None:
    environment = tools.environment({"PYTHONPATH": str(_ROOT)})
    subprocess.run([sys.executable, "-c", _DIES], env=environment, check=False)
    [stale] = runs.all_runs()
    [sleeper] = stale.processes
    assert procfs.start_time(sleeper.pid) == sleeper.started
    Run().clean_up()
    assert procfs.start_time(sleeper.pid) is None
    assert not stale.directory.exists()
    assert runs.all_runs() == []


def test_a_record_that_goes_while_others_look_is_passed_by(run: Run) -> None:
    """Another process ends its run between the list of records and the look at one."""
    gone = cache.root() / "runs" / "0.json"
    gone.symlink_to("nowhere")
    assert [one.name for one in runs.all_runs()] == [run.name]


def test_a_process_that_has_our_process_id_by_now_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as other:
        started = procfs.start_time(other.pid)
        assert started is not None
        procfs.end_session(other.pid, started=started - 1)
        assert other.poll() is None
        procfs.end_session(other.pid, started=started)
        assert other.wait() == -signal.SIGKILL


def test_a_process_takes_its_children_with_it(run: Run) -> None:
    process = Process(run, "parent", ["sh", "-c", "sleep 600 & sleep 600 & wait"])
    process.start()
    leader = process.pid
    process.wait_until(lambda: len(procfs.in_session(leader)) == 3, what="children", seconds=5)
    process.stop()
    assert procfs.in_session(leader) == []
    assert run.processes == []


def test_a_process_that_ends_says_why(run: Run) -> None:
    process = Process(run, "failing", ["sh", "-c", "echo the reason; exit 3"])
    process.start()
    with pytest.raises(ProcessError, match=r"(?s)failing ended \(exit 3\).*the reason"):
        process.wait_until(lambda: False, what="nothing", seconds=5)
    process.stop()


def test_a_paused_process_can_be_resumed_and_stopped(run: Run) -> None:
    process = Process(run, "sleeper", ["sleep", "600"])
    process.start()
    process.pause()
    stat = Path(f"/proc/{process.pid}/stat")
    process.wait_until(lambda: ") T " in stat.read_text(), what="the stop", seconds=5)
    process.resume()
    process.wait_until(lambda: ") S " in stat.read_text(), what="the sleep", seconds=5)
    process.pause()
    process.stop()
    assert not process.alive


def test_shared_changes_are_taken_back_by_the_last(run: Run, tmp_path: Path) -> None:
    setting = tmp_path / "setting"
    setting.write_text("1")
    undo = Undo("file", [str(setting), "0"])
    other = Run()
    run.will_change(undo)
    other.will_change(undo)
    other.clean_up()
    assert setting.read_text() == "1"
    run.clean_up()
    assert setting.read_text() == "0"


def test_a_signal_waits_for_the_end_of_what_must_not_be_torn() -> None:
    steps = []

    def critical() -> None:
        with signals.deferred():
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("finished")

    with pytest.raises(KeyboardInterrupt):
        critical()
    assert steps == ["finished"]


def test_sigterm_unwinds_like_an_interrupt() -> None:
    def work() -> None:
        with signals.terminable():
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()

    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        work()
