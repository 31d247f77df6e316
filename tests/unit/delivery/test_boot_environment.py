"""A run whose packages were made ready before, by a build: nothing of it was looked at since.

Its first interpreter compares what the environment was made for with what is there: where no other
way is named, by a changed `manifest.json`, as if it had been made elsewhere.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.delivery.flow_images import KINDS, FlowImage, virtual
from tests.unit.delivery.install_pod import PYTHON, Pod, bake, child, look_at_lock
from tests.unit.delivery.test_boot_image import SIX

MOVED = (
    "if its tag has moved, start the run again once flowdeps has looked at it anew "
    "(images.recheck), or name it by its digest"
)
MADE = "flowdeps: the packages of team-a/ml were made ready for flows:1"


@pytest.fixture
def environment(pod: Pod, image: FlowImage) -> Pod:
    """A run that has an environment of a set that brings nothing."""
    return made(pod, image)


def made(pod: Pod, image: FlowImage, *base: str) -> Pod:
    """Build an environment in an image, as the install container does."""
    before = dict(pod.environment)
    pod.programs = image.programs
    pod.environment |= {**image.environment, "FLOWDEPS_BUILD": "1"}
    pod.write(*base, packages=0, image="flows:1")
    outcome = pod.run()
    assert outcome.code == 0, outcome.lines
    pod.environment = {**before, **image.environment}
    return pod


def elsewhere(pod: Pod, **changes: Any) -> None:
    """Have the environment made elsewhere."""
    file = pod.home / "manifest.json"
    about = json.loads(file.read_text())
    assert about.keys() >= changes.keys()
    file.write_text(json.dumps(about | changes))


def ended(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line with which a run ended before anything of it ran."""
    assert (done.returncode, done.stdout) == (1, ""), done
    [line] = done.stderr.splitlines()
    return line


def digest(pod: Pod) -> str:
    found: str = json.loads((pod.home / "lock.json").read_text())["digest"]
    return found


@pytest.mark.parametrize("kind", ["venv", "whole", "venv over the system", "path", "flags"])
def test_an_environment_is_as_an_installation(pod: Pod, tmp_path: Path, kind: str) -> None:
    """The same path, variables and modules: nothing more is imported to compare."""
    image = KINDS[kind](tmp_path)
    installed = pod.choose(image).saw()
    seen = made(pod, image).saw(FLOWDEPS_LOCK=digest(pod))
    assert seen["path"] == installed["path"]
    assert seen["modules"] == installed["modules"]
    changed = ("FLOWDEPS_BOOT", "FLOWDEPS_LOCK")
    assert without(seen["env"], changed) == without(installed["env"], changed)


def test_a_run_holds_its_environment_on_a_claim(environment: Pod) -> None:
    """Whoever removes unused ones from there finds the note locked, also by its children."""
    note = environment.home / "populated.json"
    note.touch()
    look = look_at_lock(note)
    unheld = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, check=True
    )
    assert unheld.stdout == "free\n"
    environment.environment["FLOWDEPS_LOCK"] = digest(environment)
    assert environment.said(child(look)) == "held"


def without(env: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in names}


def test_a_run_that_chose_nothing_sees_no_environment(environment: Pod) -> None:
    """Were one mounted by mistake, the run would still be as if we were not there."""
    chosen = {"FLOWDEPS_SET": "none"}
    assert environment.saw(**chosen) == environment.saw(ours=False, **chosen)


def test_an_image_without_the_interpreter_ends_the_run(environment: Pod, tmp_path: Path) -> None:
    """The tag has moved to one with its Python elsewhere."""
    programs = environment.programs
    environment.programs = virtual(tmp_path / "other").programs
    programs.parent.rename(tmp_path / "gone")
    assert ended(environment.flow("print('runs')")) == (
        f"{MADE}, with the Python {PYTHON} of {programs.parent}, which this image lacks: {MOVED}"
    )


def test_another_version_in_the_same_place_ends_the_run(environment: Pod) -> None:
    """Its directory of packages is not that of the version."""
    about = json.loads((environment.home / "manifest.json").read_text())
    prefix = about["python"]["prefix"]
    places = [prefix, f"{prefix}/lib/python3.8/site-packages"]
    python = {**about["python"], "tag": "cpython-38", "version": "3.8"}
    elsewhere(environment, python=python, places=places)
    said = ended(environment.flow("print('runs')"))
    assert said.startswith(f"{MADE}, with the Python 3.8 of {prefix}, which this image lacks: ")


def test_another_interpreter_of_the_same_image_goes_without(
    environment: Pod, tmp_path: Path
) -> None:
    """An entrypoint by the system's Python, or uv run: it ends nothing, and the right one has the
    packages afterwards."""
    bake(environment.home / "site", "alpha", "1.0")
    right = environment.programs
    environment.programs = virtual(tmp_path / "system").programs
    code = (
        "import importlib.util, subprocess\n"
        "print(importlib.util.find_spec('alpha') is None, flush=True)\n"
        f"subprocess.run(['{right}/python3', '-c', 'import alpha; print(1)'], check=True)\n"
    )
    done = environment.flow(code)
    assert (done.returncode, done.stdout) == (0, "True\n1\n"), done
    [line] = done.stderr.splitlines()
    assert "goes without the packages of team-a/ml" in line


def test_a_node_of_another_machine_ends_the_run(environment: Pod) -> None:
    """An image for several platforms runs there, and what was compiled for one does not."""
    elsewhere(environment, machine="riscv64")
    assert ended(environment.flow("print('runs')")) == (
        f"{MADE} on riscv64, this node is {os.uname().machine}: run the flow on another node"
    )


def test_an_older_c_library_ends_the_run(environment: Pod) -> None:
    """Or another one, such as musl: packages may need what it lacks. A newer one has all of it."""
    has = os.confstr("CS_GNU_LIBC_VERSION") or ""
    elsewhere(environment, libc="glibc 2.3")
    assert environment.said("print('runs')") == "runs"
    elsewhere(environment, libc="glibc 2.1000")
    assert ended(environment.flow("print('runs')")) == (
        f"{MADE}, with glibc 2.1000; this image has {has}: {MOVED}"
    )


def test_an_image_with_other_packages_ends_the_run(pod: Pod, image: FlowImage) -> None:
    """It may have moved, beside all that may have changed it where an installation looked first."""
    bake(image.site_packages, "six", "1.17.0")
    made(pod, image, SIX)
    for one in image.site_packages.glob("six*"):
        one.rename(one.with_name(f"gone-{one.name.replace('-info', '')}"))
    said = ended(pod.flow("print('runs')"))
    assert "was made for an image that has six 1.17.0; this one has no six" in said
    assert said.endswith(f"; {MOVED}")


def test_packages_of_another_lock_end_the_run(environment: Pod) -> None:
    """What is mounted and what the run is to have come from one line of one ConfigMap."""
    mounted, wanted = digest(environment), f"sha256:{'0' * 64}"
    assert environment.said("print(1)", FLOWDEPS_LOCK=mounted) == "1"
    assert environment.said("print(1)", FLOWDEPS_LOCK="") == "1"
    said = ended(environment.flow("print(1)", FLOWDEPS_LOCK=wanted))
    assert mounted[:19] in said
    assert wanted[:19] in said
    assert said.endswith("see who else writes the RunEnvironments flowdeps-runs")


def test_only_the_first_interpreter_compares(environment: Pod) -> None:
    """What the flow sets for its children is its own affair."""
    elsewhere(environment, machine="riscv64")
    file = environment.home / "manifest.json"
    wrong = file.read_text()
    elsewhere(environment, machine=os.uname().machine)
    code = f"open({str(file)!r}, 'w').write({wrong!r})\n{child('print(1)')}"
    assert environment.said(code) == "1"
    ended(environment.flow("print(1)"))


def test_what_a_run_has_installed_itself_is_not_compared(served: Pod) -> None:
    """Its install container has just looked at all of it, and the lock may have changed since."""
    assert "built" not in json.loads((served.home / "manifest.json").read_text())
    assert served.said("print(1)", FLOWDEPS_LOCK=f"sha256:{'0' * 64}") == "1"
    assert served.said("print(1)", FLOWDEPS_SET="none") == "1"
