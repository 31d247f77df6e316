"""The rules on who may import what hold for modules that are not there yet.

A copy of the package gets such modules, and the linters are run on it.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import tools

_ROOT = Path(__file__).parents[3]
_BIN = Path(sys.executable).parent

# The folders of the package that may import an outside module.
DOORS: dict[str, set[str]] = {
    "kopf": set(),
    "kubernetes": {"clients.kubernetes"},
    "prefect": {"clients.prefect"},
    "subprocess": {"delivery.in_image"},
    "uv": {"resolver"},
    "httpx": {"clients.prefect", "vulnerabilities"},
    "aiohttp": {"clients.kubernetes", "telemetry"},
    "prometheus_client": {"telemetry"},
    "yaml": {"cli"},
}
_PLANT = """
import asyncio


async def start() -> None:
    await asyncio.create_subprocess_exec("true")
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The checkout, as far as the linters read it."""
    shutil.copytree(
        _ROOT / "operator", tmp_path / "operator", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(_ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def folders(copy: Path) -> dict[str, Path]:
    """The folders of the package by their dotted names, without the package's own."""
    package = copy / "operator" / "flowdeps"
    found = {str(path.parent.relative_to(package)): path for path in package.rglob("__init__.py")}
    return {name.replace("/", "."): path.parent for name, path in found.items() if name != "."}


def lint_imports(copy: Path) -> tuple[int, str]:
    """Exit status of import-linter on a copy, and what it reports."""
    done = subprocess.run(
        [_BIN / "lint-imports", "--no-cache", "--config", copy / "pyproject.toml"],
        cwd=copy,
        env=tools.environment({"PYTHONPATH": str(copy / "operator"), "COLUMNS": "1000"}),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_module_that_goes_past_a_door_breaks_a_contract(copy: Path) -> None:
    """In every folder, for all that has a door: kopf, the clients, processes, and so on."""
    there = folders(copy)
    assert {"app", "clients.kubernetes", "reconcile.dependency_set"} <= set(there)
    for module in DOORS:
        for folder in there.values():
            (folder / f"planted_{module}.py").write_text(f"import {module}\n")
        (copy / "operator/flowdeps" / f"planted_{module}.py").write_text(f"import {module}\n")
    status, report = lint_imports(copy)
    assert status == 1, report
    named = re.findall(r"flowdeps\.(?:([\w.]+)\.)?planted_(\w+) -> (\w+) \(l\.1\)", report)
    for module, doors in DOORS.items():
        assert {folder for folder, planted, found in named if planted == found == module} == (
            {"", *there} - doors
        ), module


def test_a_folder_that_is_in_no_layer_breaks_the_layers(copy: Path) -> None:
    """And so does a module beside the folders: each new one gets its place."""
    package = copy / "operator" / "flowdeps"
    (package / "planted").mkdir()
    (package / "planted" / "__init__.py").touch()
    (package / "loose.py").touch()
    status, report = lint_imports(copy)
    assert status == 1, report
    assert re.search(r"(?s)Layers.*BROKEN", report)
    for name in ("planted", "loose"):
        assert re.search(rf"(?m)^- flowdeps\.{name}$", report), report


def test_only_the_resolver_and_environments_start_processes(copy: Path) -> None:
    """Imports don't show it where it is asyncio that starts them."""
    there = folders(copy)
    for folder in there.values():
        (folder / "planted.py").write_text(_PLANT)
    done = subprocess.run(
        [_BIN / "ruff", "check", "--no-cache", "--select", "TID251", "--output-format", "concise"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    named = re.findall(r"operator/flowdeps/(\S+)/planted\.py:\d+:\d+: TID251", done.stdout)
    assert {name.replace("/", ".") for name in named} == (
        set(there) - {"resolver", "environments", "delivery.in_image"}
    ), done.stdout
