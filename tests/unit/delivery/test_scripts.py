"""The scripts that run in a flow image, as the texts that containers carry."""

import ast
import os
import shutil
import subprocess
import sys
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from flowdeps.delivery.scripts import command, script
from tests.unit.delivery.install_pod import unprivileged

SCRIPTS = ("install", "probe", "verify")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_one_text_for_python_3_9(name: str) -> None:
    """The oldest interpreter that images with Prefect 3 have can read it, and it needs nothing of
    the operator."""
    tree = ast.parse(script(name), feature_version=(3, 9))
    wanted = {
        imported
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for imported in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    assert {one.partition(".")[0] for one in wanted} <= sys.stdlib_module_names


def test_the_install_script_carries_what_a_runs_interpreter_begins_with() -> None:
    """To the letter, and no other script does."""
    text = resources.files("flowdeps.delivery.in_image").joinpath("boot.py").read_text("utf-8")
    for name in SCRIPTS:
        values = [
            ast.literal_eval(node.value)
            for node in ast.parse(script(name)).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BOOT"
        ]
        assert values == ([text] if name == "install" else [])


@pytest.mark.parametrize("name", SCRIPTS)
def test_parts_of_a_script_never_share_a_name(name: str) -> None:
    """What one part defines, another does not define anew: they run in one namespace."""
    defined: Counter[str] = Counter()
    for node in ast.parse(script(name)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined[node.name] += 1
        elif isinstance(node, ast.Assign):
            defined.update(one.id for one in node.targets if isinstance(one, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            defined[node.target.id] += 1
    assert defined
    assert set(defined.values()) == {1}


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_in_a_command_is_filled_in_on_the_way(name: str) -> None:
    """No Prefect placeholder, no Kubernetes reference, and short enough for an argument."""
    for text in command(name):
        assert len(text.encode()) < 100_000
        for sign in ("{{", "$(", "$$"):
            assert sign not in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_image_without_python_is_named(name: str, tmp_path: Path) -> None:
    """The shell says it where there is no interpreter to say it."""
    done = subprocess.run(
        command(name), env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout.startswith("flowdeps: the flow's image has no python on its PATH")


@pytest.mark.parametrize("target", ["gone", "closed"])
@pytest.mark.parametrize("program", ["python3", "python"])
def test_a_python_that_the_user_cannot_run_is_named(
    tmp_path: Path, closed: Path, program: str, target: str
) -> None:
    """The flow's environment leads there, so another Python further on the path is not the flow's:
    an environment that root made with an interpreter of its own home, for runs as another user."""
    places = {"gone": tmp_path / "gone", "closed": closed / "python3"}
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / program).symlink_to(places[target])
    further = python_at(tmp_path / "further", program)
    (further / "id").symlink_to(str(shutil.which("id")))
    done = run("probe", tmp_path / "none", tmp_path / "venv", further)
    assert done.returncode == 1
    assert done.stdout == (
        f"flowdeps: {tmp_path}/venv/{program} can't be run by user {os.geteuid()}: put the Python "
        "that it links to where every user can read it\n"
    )


@pytest.mark.parametrize("program", ["python3", "python"])
def test_what_is_no_program_is_no_python(tmp_path: Path, program: str) -> None:
    """Directories and files of that name, as a shell passes over them; python3 goes first."""
    places = [tmp_path / name for name in ("directory", "linked", "file", "old")]
    for place in places:
        place.mkdir()
    (places[0] / program).mkdir()
    (places[1] / program).symlink_to(tmp_path)
    (places[2] / program).touch()
    if program == "python3":
        python_at(places[3], "python")
    done = run("probe", *places, python_at(tmp_path / "right", program))
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/right/{program} -I -X utf8 -c\n")


def python_at(directory: Path, program: str) -> Path:
    """A directory with a program that prints how it was called, but for its last argument."""
    directory.mkdir(exist_ok=True)
    (directory / program).write_text('#!/bin/sh\necho "$0 $1 $2 $3 $4"\n')
    (directory / program).chmod(0o755)
    return directory


def run(name: str, *path: Path) -> "subprocess.CompletedProcess[str]":
    """Run a script where PATH has these directories, and no Python but theirs."""
    return subprocess.run(
        [*unprivileged(), *command(name)],
        env={"PATH": ":".join(map(str, path))},
        capture_output=True,
        text=True,
        check=False,
    )
