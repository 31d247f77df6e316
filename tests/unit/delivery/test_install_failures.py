"""Where there is nothing to install, the script says why in one clear last line."""

import subprocess
import sys
from pathlib import Path

import pytest

from flowdeps.delivery.in_image import installer
from tests.cluster.index import Index
from tests.unit.delivery.install_pod import COMMAND, MACHINE, PYTHON, WRONG, Pod, at, pin


def test_a_tampered_lock_stops_the_run(either: Pod, index: Index) -> None:
    """A hash that is not the package's: nothing is installed, and the line names the package."""
    index.add("beta", "2.0")
    either.write(pin(index, "alpha", "1.0"), f"beta==2.0 --hash=sha256:{WRONG}", index=at(index))
    outcome = either.run()
    assert outcome.code == 1
    assert outcome.last == (
        f"flowdeps: team-a/ml: the lock's hash for beta 2.0 does not match what {index.url} "
        "serves; nothing was installed"
    )


@pytest.mark.parametrize("key", ["none", "ml"])
def test_a_run_whose_pod_lacks_a_part_of_its_lists_ends(pod: Pod, index: Index, key: str) -> None:
    """Also one that chooses nothing. A run with all of its lists is told so by the first letter of
    its choice, an item that each has: without it, its worker fills in no items."""
    pod.write(pin(index, "alpha", "1.0"), index=at(index))
    pod.environment["FLOWDEPS_BEYOND"] = "m "
    assert pod.run(key).code == 0
    for told, says in (
        ("m {'name': 'A', 'value': 'secret'}", "has more than 100 items"),
        (" ", "the worker fills in no single items of lists"),
        ("", "the worker fills in no single items of lists"),
    ):
        pod.environment["FLOWDEPS_BEYOND"] = told
        outcome = pod.run(key)
        assert outcome.code == 1
        assert says in outcome.last
        assert "secret" not in "\n".join(outcome.lines)


def test_other_bytes_under_a_known_name_stop_the_run(either: Pod, index: Index) -> None:
    """An index that serves something else than it lists is caught by the lock's hash."""
    either.write(pin(index, "alpha", "1.0"), index=at(index))
    index.corrupt("alpha", "1.0")
    outcome = either.run()
    assert outcome.code == 1
    assert "hash for alpha 1.0 does not match" in outcome.last


def test_an_unreachable_index_is_named_without_credentials(either: Pod, index: Index) -> None:
    """A closed port ends in seconds with the index's URL, and the password appears nowhere."""
    either.write(pin(index, "alpha", "1.0"), index=at(index))
    index.down()
    url = index.url.replace("//", "//somebody:secret@")
    either.write("alpha==1.0 --hash=sha256:" + WRONG, index={"url": url, "extraUrls": []})
    outcome = either.run()
    assert outcome.code == 1
    assert f"{index.url} cannot be reached or does not answer" in outcome.last
    assert "secret" not in "\n".join(outcome.lines)


@pytest.mark.parametrize(
    ("status", "said"), [(503, "cannot be reached or does not answer"), (403, "refuses access")]
)
def test_an_index_that_does_not_serve_is_named(
    either: Pod, index: Index, status: int, said: str
) -> None:
    """An index that is broken, or that wants other credentials, is not called a missing wheel."""
    either.write(pin(index, "alpha", "1.0"), index=at(index))
    index.fail(status)
    outcome = either.run()
    assert outcome.code == 1
    assert f"{index.url} {said}" in outcome.last


@pytest.mark.parametrize("missing", ["version", "project", "wheel"])
def test_a_pin_that_the_index_does_not_have_is_named(
    either: Pod, index: Index, missing: str
) -> None:
    """No such version, no such project, no wheel for this machine: the line names the package."""
    tags = ["py3-none-win32"] if missing == "wheel" else ["py3-none-any"]
    line = pin(index, "alpha", "1.0", tags=tags)
    if missing == "version":
        line = line.replace("1.0", "3.0")
    elif missing == "project":
        line = line.replace("alpha", "gamma")
    either.write(line, index=at(index))
    outcome = either.run()
    assert outcome.code == 1
    name, version = line.split(" ")[0].split("==")
    assert f"{index.url} has no wheel of {name} {version} for this image" in outcome.last


def test_another_interpreter_is_refused_before_anything_is_fetched(pod: Pod, index: Index) -> None:
    """The line names both versions of Python, and the index is not asked."""
    pod.write(pin(index, "alpha", "1.0"), python="2.7", index=at(index))
    outcome = pod.run()
    assert outcome.code == 1
    assert "is for Python 2.7, the flow's image has Python " + PYTHON in outcome.last
    assert index.requests == []


def test_another_machine_is_refused(pod: Pod) -> None:
    """The line names the lock's platforms and the node's."""
    pod.write("alpha==1.0", platforms=["linux/s390x"])
    outcome = pod.run()
    assert outcome.code == 1
    assert f"is for linux/s390x, this node is linux/{MACHINE}" in outcome.last


def test_another_libc_is_refused(pod: Pod, tmp_path: Path) -> None:
    """Wheels for glibc are not installed where the interpreter runs on another C library."""
    pod.write("alpha==1.0")
    replaced = COMMAND[-1].replace("platform.libc_ver()", '("", "")')
    assert replaced != COMMAND[-1]
    done = subprocess.run(
        [sys.executable, "-I", "-c", replaced],
        env={"FLOWDEPS_SOURCE": str(pod.lock), "FLOWDEPS_HOME": str(pod.home)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "is for images with glibc" in done.stdout


def test_an_empty_choice_is_told_apart_from_a_missing_set(pod: Pod) -> None:
    """A Prefect variable that is missing arrives as an empty text."""
    outcome = pod.run("")
    assert outcome.code == 1
    assert outcome.lines == [
        'flowdeps: the job variable "dependency_set" is empty: write the key of a set, or none; if '
        "a Prefect variable gives it, that one is missing or empty"
    ]


def test_a_missing_set_is_named_with_the_way_out(pod: Pod) -> None:
    """An empty lock directory: set, namespace and job variable are in the one line."""
    outcome = pod.run("nope")
    assert outcome.lines == [
        'flowdeps: dependency set "nope" does not exist for namespace "jobs" or has no lock yet: '
        'choose another with the job variable "dependency_set", or see kubectl get fds -A'
    ]


def test_an_image_without_an_installer_is_named(pod: Pod, images: dict[str, Path]) -> None:
    """The line says what to add to the image."""
    pod.programs = images["bare"]
    pod.write("alpha==1.0")
    outcome = pod.run()
    assert outcome.code == 1
    assert "neither uv nor pip" in outcome.last


def test_an_image_without_python_is_named(tmp_path: Path) -> None:
    """The shell says it where there is no interpreter to say it."""
    done = subprocess.run(
        COMMAND, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout.startswith("flowdeps: the flow's image has no python on its PATH")


@pytest.mark.parametrize(
    "output",
    [
        "cause: failed to write to file `x.py`: No space left on device (os error 28)",
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    ],
)
def test_a_full_node_is_named(output: str) -> None:
    """What uv and pip say on a full volume is no fault of the lock or the index."""
    meaning = installer.cause(output, "https://index.example.com/simple/")
    assert meaning == "the node has no space left for the packages"


def test_an_unknown_failure_points_at_the_output() -> None:
    """Where the cause is not recognised, nothing is guessed."""
    assert (
        installer.cause("segmentation fault", "x") == "the installer failed, see its output above"
    )


@pytest.mark.parametrize("content", ["", "{}", "[]"])
def test_a_broken_lock_is_one_line(pod: Pod, content: str) -> None:
    """What should never happen is a line too, not a traceback."""
    (pod.lock / "lock.json").write_text(content)
    outcome = pod.run()
    assert outcome.code == 1
    assert outcome.last.startswith('flowdeps: the lock of "ml" is damaged: ')


def test_a_volume_that_cannot_be_written_is_one_line(pod: Pod, tmp_path: Path) -> None:
    """A missing volume is named as the system names it."""
    pod.home = tmp_path / "missing"
    pod.write("alpha==1.0")
    outcome = pod.run()
    assert outcome.code == 1
    assert "FileNotFoundError" in outcome.last
