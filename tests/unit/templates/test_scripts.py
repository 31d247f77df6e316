"""The scripts that run in a flow image, as the texts that containers carry."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from flowdeps.templates.scripts import command, script

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
