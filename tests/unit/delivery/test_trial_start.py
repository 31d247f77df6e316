"""The trial's interpreter begins as a run's does, so what it finds is what a run would find."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flowdeps.delivery.scripts import command
from tests.unit.delivery.flow_images import KINDS, FlowImage
from tests.unit.delivery.install_pod import Pod, bake, unprivileged

# What an interpreter that imports it has, and where it finds modules of each place.
WITNESS = """
import importlib, json, os, sys
def where(name):
    try:
        return importlib.import_module(name).__file__
    except ImportError as error:
        return str(error)
places = ["brought", "inside", "of_a_user", "own", "beside", "lying", "parser", "dataclasses"]
seen = {
    "path": sys.path,
    "flags": list(sys.flags),
    "places": {name: where(name) for name in places},
    "directory": os.getcwd(),
    "env": dict(os.environ),
}
with open(os.environ["WITNESS"], "w") as file:
    json.dump(seen, file)
"""
# The trial's own, its shell's; and a home that can be written, for modules that write there.
OTHER = ("FLOWDEPS_", "PWD", "HOME", "PYTHONUSERBASE", "WITNESS")


def put(pod: Pod, image: FlowImage) -> None:
    """Put a module where each part of the path may lead."""
    site = pod.home / "site"
    bake(site, "witness", "1.0", modules={"witness.py": WITNESS})
    bake(site, "brought", "1.0", modules={"brought.py": "", "parser.py": "", "dataclasses.py": ""})
    bake(image.site_packages, "inside", "1.0", modules={"inside.py": "", "parser.py": ""})
    users = [Path(home) for home in [image.environment.get("HOME", "/nonexistent")]]
    for directory in users:
        for packages in directory.glob(".local/lib/*/site-packages"):
            (packages / "of_a_user.py").touch()
    for entry in image.environment.get("PYTHONPATH", "").split(":"):
        place = Path(entry) if entry.startswith(str(pod.home.parent)) else pod.lock / entry
        if "conda" not in place.parts:
            place.mkdir(exist_ok=True, parents=True)
            (place / "own.py").touch()
    (pod.lock / "lying.py").touch()
    (image.programs / "beside.py").touch()


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_begins_as_a_run_does(pod: Pod, tmp_path: Path, kind: str) -> None:
    """Search path, flags, what is importable and from where, working directory and variables."""
    image = KINDS[kind](tmp_path)
    put(pod.choose(image), image)
    assert pod.said("import witness", WITNESS=str(tmp_path / "run")) == ""
    done = subprocess.run(
        [*unprivileged(), *command("verify")],
        env={
            **pod.image_environment,
            "PYTHONPATH": pod.python_path,
            "FLOWDEPS_HOME": str(pod.home),
            "FLOWDEPS_IMPORTS": '["witness"]',
            "WITNESS": str(tmp_path / "trial"),
        },
        cwd=pod.lock,
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout.splitlines()[-1].partition(" ")[2])["ok"], done.stdout
    run, trial = (seen(tmp_path / name) for name in ("run", "trial"))
    assert trial == run
    assert run["places"]["brought"] == f"{pod.home}/site/brought.py"
    assert run["places"]["inside"] == f"{image.site_packages}/inside.py"


def seen(file: Path) -> Any:
    """What was written there, without what differs on purpose."""
    found = json.loads(file.read_text())
    found["env"] = {k: v for k, v in found["env"].items() if not k.startswith(OTHER)}
    return found
