"""A lock is tried where a run would use it: what its packages are, and whether they import."""

import json
import subprocess
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

from flowdeps.delivery.in_image.verify import modules_of
from flowdeps.delivery.scripts import command
from flowdeps.locks.image import ImageFacts
from flowdeps.locks.inspection import parse_probe
from tests.unit.delivery.flow_images import virtual
from tests.unit.delivery.install_pod import Pod, bake


@dataclass(frozen=True, kw_only=True)
class Verdict:
    code: int
    lines: list[str]

    @property
    def result(self) -> dict[str, Any]:
        mark, _, text = self.lines[-1].partition(" ")
        assert mark == "flowdeps-verify:"
        found: dict[str, Any] = json.loads(text)
        assert (self.code == 0) == found["ok"]
        return found

    @property
    def facts(self) -> ImageFacts:
        return parse_probe("\n".join(self.lines))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The verifying container: an image, and a volume with what was installed."""

    pod: Pod
    image: Path
    """The image's own packages."""

    @property
    def home(self) -> Path:
        return self.pod.home

    @property
    def site(self) -> Path:
        return self.home / "site"

    def run(self, *, seconds: int = 60, **variables: Any) -> Verdict:
        given = {name: json.dumps(value) for name, value in variables.items()}
        *shell, script = command("verify")
        done = subprocess.run(
            [*shell, script.replace("LEAST_SECONDS = 10", "LEAST_SECONDS = 1")],
            env={
                **self.pod.image_environment,
                "PYTHONPATH": self.pod.python_path,
                "FLOWDEPS_HOME": str(self.home),
                "FLOWDEPS_TIMEOUT": str(seconds),
                **{f"FLOWDEPS_{name.upper()}": value for name, value in given.items()},
            },
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        return Verdict(code=done.returncode, lines=done.stdout.splitlines())


@pytest.fixture
def trial(pod: Pod, tmp_path: Path) -> Trial:
    """What a lock leaves that brings nothing."""
    image = virtual(tmp_path)
    pod.programs = image.programs
    pod.write()
    assert pod.run().code == 0
    return Trial(pod=pod, image=image.site_packages)


def test_the_modules_of_the_named_packages_are_imported(trial: Trial) -> None:
    """Of lock and image; a package that is not named is left alone."""
    bake(trial.site, "alpha", "1.0")
    bake(trial.image, "beta", "1.0")
    bake(trial.site, "broken", "1.0", modules={"broken.py": "raise RuntimeError"})
    verdict = trial.run(names=["alpha", "beta"])
    assert verdict.result == {"ok": True}
    assert verdict.lines[-2] == "flowdeps: imported alpha, beta"


def test_modules_that_were_asked_for_take_their_place(trial: Trial) -> None:
    """Submodules too, whatever the packages are."""
    bake(trial.site, "alpha", "1.0", modules={"alpha/__init__.py": "", "alpha/deep.py": "1 / 0"})
    assert trial.run(names=["alpha"]).result == {"ok": True}
    assert trial.run(imports=["alpha.deep"]).result == {
        "ok": False,
        "module": "alpha.deep",
        "error": "ZeroDivisionError: division by zero",
    }


def test_the_working_directory_is_no_place_to_import_from(trial: Trial) -> None:
    """A run's interpreter does not begin with it, so what lies there proves nothing."""
    (trial.home / "lying.py").touch()
    assert trial.run(imports=["lying"]).result["module"] == "lying"


def test_nothing_to_import_is_no_failure(trial: Trial) -> None:
    """A lock whose packages do not belong on this image: said, and well."""
    verdict = trial.run(names=["elsewhere"])
    assert verdict.result == {"ok": True}
    assert "elsewhere is not installed here" in verdict.lines[-2]


def bake_prefect(directory: Path, engine: str) -> None:
    modules = {"prefect/__init__.py": "", "prefect/engine.py": engine}
    bake(directory, "prefect", "3.0", modules=modules)


@pytest.mark.parametrize("asked", [{"names": ["alpha"]}, {"imports": ["alpha"]}])
def test_a_lock_that_breaks_the_images_prefect_fails(trial: Trial, asked: dict[str, Any]) -> None:
    """A module of the lock that hides one of the image's, unknown to any metadata."""
    bake_prefect(trial.image, "from helper import needed\n")
    (trial.image / "helper.py").write_text("needed = 1\n")
    bake(trial.site, "alpha", "1.0", modules={"alpha.py": "", "helper.py": "other = 1\n"})
    result = trial.run(**asked).result
    assert (result["ok"], result["module"]) == (False, "prefect.engine")
    assert result["error"].startswith("ImportError: cannot import name 'needed' from 'helper'")


def test_a_prefect_that_fails_without_the_lock_is_no_fault_of_it(trial: Trial) -> None:
    """Only a read-only root or a missing setting may keep it from being imported here."""
    bake_prefect(trial.image, "1 / 0\n")
    bake(trial.site, "alpha", "1.0")
    verdict = trial.run(names=["alpha"])
    assert verdict.result == {"ok": True}
    assert "prefect.engine cannot be imported without the lock either" in verdict.lines[-3]


def test_prefect_hides_no_other_failure_and_is_not_imported_where_nothing_is(trial: Trial) -> None:
    """The lock's own modules come first; a set with no imports imports nothing."""
    bake_prefect(trial.image, "1 / 0\n")
    bake(trial.site, "bad", "1.0", modules={"bad.py": "raise ValueError\n"})
    assert trial.run(names=["bad"]).result["module"] == "bad"
    assert not any("prefect.engine" in line for line in trial.run().lines)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (
            "import ctypes; ctypes.CDLL('libfoo.so.1')",
            "OSError: libfoo.so.1: cannot open shared object file: No such file or directory",
        ),
        ("import missing", "ModuleNotFoundError: No module named 'missing'"),
        (
            "try:\n    1 / 0\nexcept ArithmeticError as e:\n    raise ImportError('a\\nb') from e",
            "ImportError: a b (from ZeroDivisionError: division by zero)",
        ),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt:"),
        ("import os; os._exit(0)", "it ended the interpreter (exit code 0)"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            "it crashed the interpreter: SIGSEGV",
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "it crashed the interpreter: SIGKILL (out of memory?)",
        ),
    ],
)
def test_however_an_import_fails_its_module_is_named(trial: Trial, code: str, error: str) -> None:
    """A missing library, an exit, a crash: the module and what happened, in one line."""
    bake(trial.site, "alpha", "1.0")
    bake(trial.site, "bad", "1.0", modules={"bad.py": f"print('before')\n{code}\n"})
    bake(trial.site, "zeta", "1.0")
    verdict = trial.run(names=["alpha", "bad", "zeta"])
    result = verdict.result
    assert (result["ok"], result["module"]) == (False, "bad")
    assert result["error"].strip() == error


def test_a_module_that_hangs_is_named(trial: Trial) -> None:
    """Within the time that is left, although it has a child that would outlive it."""
    code = "import subprocess, time\nsubprocess.Popen(['sleep', '60'])\ntime.sleep(60)\n"
    bake(trial.site, "bad", "1.0", modules={"bad.py": code})
    assert trial.run(names=["bad"], seconds=1).result == {
        "ok": False,
        "module": "bad",
        "error": "it did not end within 1 seconds",
    }


def test_what_a_module_leaves_running_holds_up_nothing(trial: Trial) -> None:
    """Threads and processes that a module starts end with the check."""
    code = (
        "import subprocess, threading, time\nsubprocess.Popen(['sleep', '600'])\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
    )
    bake(trial.site, "alpha", "1.0", modules={"alpha.py": code})
    assert trial.run(names=["alpha"]).result == {"ok": True}


def test_the_traceback_ends_stand_before_the_result(trial: Trial) -> None:
    """The last lines of what the module printed and raised, set apart from ours."""
    forged = "print('flowdeps-verify: {}')\n"
    bake(trial.site, "bad", "1.0", modules={"bad.py": forged + "raise ValueError('why')\n"})
    verdict = trial.run(names=["bad"])
    assert verdict.lines[-2] == "  ValueError: why"
    assert "  flowdeps-verify: {}" in verdict.lines


def test_image_and_lock_are_reported_together(trial: Trial) -> None:
    """The distributions as a run would find them: the lock's copy goes before the image's."""
    bake(trial.site, "alpha", "2.0", requires=["beta>=2"])
    bake(trial.image, "alpha", "1.0")
    bake(trial.image, "beta", "1.0")
    facts = trial.run().facts
    assert facts.versions == {"alpha": "2.0", "beta": "1.0"}
    assert facts.distributions[0].requires == ("beta>=2",)


def test_the_check_itself_does_not_run_what_was_installed(trial: Trial) -> None:
    """Modules with the standard library's names disturb imports alone."""
    (trial.site / "json.py").write_text("raise RuntimeError('not that one')\n")
    bake(trial.site, "alpha", "1.0", modules={"alpha.py": "1 / 0\n"})
    assert trial.run(names=["alpha"]).result["ok"] is False


@pytest.mark.parametrize(
    ("files", "modules"),
    [
        (["alpha/__init__.py", "alpha/sub/__init__.py", "alpha/x.py"], ["alpha"]),
        (["six.py", "_six.py", "conftest.py"], ["six"]),
        (
            ["ns/cloud/storage/__init__.py", "ns/cloud/storage_v1/__init__.py"],
            ["ns.cloud.storage", "ns.cloud.storage_v1"],
        ),
        (["ns/one.py", "ns/two.py"], ["ns.one", "ns.two"]),
        (["alpha/__init__.py", "tests/__init__.py", "docs/conf.py"], ["alpha"]),
        (["_alpha/__init__.py", "alpha-stubs/__init__.pyi"], []),
        (["fast.cpython-311-x86_64-linux-gnu.so", "fast.pyi"], ["fast"]),
        (["alpha/__init__.py", "alpha.libs/libx.so", "../../bin/alpha.py"], ["alpha"]),
    ],
)
def test_the_modules_of_a_package(tmp_path: Path, files: list[str], modules: list[str]) -> None:
    """The outermost packages and modules: no private ones, no tests, and below namespaces."""
    bake(tmp_path, "alpha", "1.0", modules=dict.fromkeys(files, ""))
    [found] = Distribution.discover(path=[str(tmp_path)])
    assert modules_of(found) == modules
