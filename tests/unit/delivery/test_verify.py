"""A lock is tried where a run would use it: what its packages are, and whether they import."""

import os
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

from flowdeps.delivery.in_image import verify
from flowdeps.delivery.in_image.modules import modules_of
from tests.unit.delivery.install_pod import bake
from tests.unit.delivery.trial_pod import Trial


def test_the_modules_of_the_named_packages_are_imported(trial: Trial) -> None:
    """Of lock and image; a package that is not named is left alone."""
    bake(trial.site, "alpha", "1.0")
    bake(trial.image, "beta", "1.0")
    bake(trial.site, "broken", "1.0", modules={"broken.py": "raise RuntimeError"})
    verdict = trial.run(names=["alpha", "beta"])
    assert verdict.result == {"ok": True}
    assert verdict.lines[-2] == "flowdeps: imported alpha, beta"


def test_what_was_installed_is_measured(trial: Trial) -> None:
    """The bytes of its files, and of nothing that is the image's."""
    before = trial.run().installed
    bake(trial.site, "alpha", "1.0", modules={"alpha.py": "#" * 5000})
    bake(trial.image, "beta", "1.0", modules={"beta.py": "#" * 50_000})
    assert 5000 <= trial.run().installed - before < 10_000


def test_what_imports_take_is_measured(trial: Trial) -> None:
    """Also where something of the image cannot be imported in any case; nothing takes no time."""
    assert trial.run().seconds == 0
    bake(trial.site, "alpha", "1.0", modules={"alpha.py": "import time; time.sleep(0.1)\n"})
    assert trial.run(names=["alpha"]).seconds >= 0.1
    bake_prefect(trial.image, "1 / 0\n")
    assert trial.run(names=["alpha"]).seconds >= 0.1


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
    """A module of the lock that may hide one of the image's, and does not get along with it."""
    bake_prefect(trial.image, "from helper import needed\n")
    (trial.image / "helper.py").write_text("needed = 1\n")
    trial.allow("alpha")
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


def test_what_a_package_brings_besides_may_need_what_it_does_not_require(trial: Trial) -> None:
    """As a database's driver for another library: people are told, and the lock serves."""
    modules = {"duck.py": "", "driver_duck.py": "import driver_manager\n"}
    bake(trial.site, "duck", "1.0", modules=modules)
    note = "driver_duck of duck was not imported: it needs driver_manager, which duck does not"
    assert trial.run(names=["duck"]).result == {"ok": True, "notes": [f"{note} require"]}
    asked = trial.run(imports=["driver_duck"]).result
    assert asked["error"] == "ModuleNotFoundError: No module named 'driver_manager'"


@pytest.mark.parametrize(
    "modules",
    [
        {"duck.py": "import gone\n", "other.py": ""},  # the one that is meant
        {"duck.py": "", "other.py": "import duck.gone\n"},  # of what is there
        {"duck.py": "", "other.py": "1 / 0\n"},
        {"one.py": "import gone\n", "other.py": "import gone\n"},  # nothing is left
    ],
)
def test_a_package_that_does_not_work_is_refused_for_each_of_its_modules(
    trial: Trial, modules: dict[str, str]
) -> None:
    """What is missing must be another package's, and the package's own module has to work."""
    bake(trial.site, "duck", "1.0", modules=modules)
    assert not trial.run(names=["duck"]).result["ok"]


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


@pytest.mark.parametrize(("says", "told"), [("", ""), ("no licence\\n", ": no licence")])
def test_what_keeps_python_from_starting_is_told(trial: Trial, says: str, told: str) -> None:
    """Code in a .pth file of the lock, before anything is imported."""
    (trial.site / "a.pth").write_text(f"import os; os.write(1, b'{says}'); os._exit(3)\n")
    ended = "Python does not start: it ended the interpreter (exit code 3)"
    assert trial.run().result == {"ok": False, "module": "", "error": ended + told}


def test_a_path_that_is_no_text_is_no_failure(trial: Trial) -> None:
    """Python passes over it, as over any that leads nowhere."""
    (trial.image / "a.pth").write_text("import pathlib, sys; sys.path.append(pathlib.Path('/x'))\n")
    bake(trial.site, "alpha", "1.0")
    assert trial.run(names=["alpha"]).result == {"ok": True}


def test_a_list_of_files_with_lines_that_name_none_is_read(trial: Trial) -> None:
    """As old tools wrote them."""
    bake(trial.site, "alpha", "1.0")
    bake(trial.image, "beta", "1.0", modules={"alpha.py": ""})
    for directory, name in ((trial.site, "alpha"), (trial.image, "beta")):
        with (directory / f"{name}-1.0.dist-info/RECORD").open("a") as record:
            record.write("./,,\n../..,,\n")
    trial.allow("beta")
    assert trial.run(names=["alpha"]).result == {"ok": True}


def test_a_module_that_hangs_is_named(trial: Trial) -> None:
    """Within the time that is left, although it has a child that would outlive it."""
    code = "import subprocess, time\nsubprocess.Popen(['sleep', '60'])\ntime.sleep(60)\n"
    bake(trial.site, "bad", "1.0", modules={"bad.py": code})
    assert trial.run(names=["bad"], seconds=1).result == {
        "ok": False,
        "module": "bad",
        "error": "the imports did not end within 1 seconds",
        "late": True,
    }


def test_an_installation_uses_up_no_time_of_the_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began an hour ago, and the imports have all of their minutes from their own start."""
    (tmp_path / "image").mkdir()
    os.utime(tmp_path / "image", (0, 0))
    monkeypatch.setenv("FLOWDEPS_TIMEOUT", "300")
    monkeypatch.setattr(verify, "INSTALLED", tmp_path)
    monkeypatch.setattr(verify, "STARTED", 1000.0)
    monkeypatch.setattr("time.monotonic", lambda: 1120.0)
    assert verify.seconds_left() == 180


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
        (["alpha-stubs/__init__.pyi"], []),
        (["_alpha/__init__.py", "_alpha/x.py", "alpha-stubs/__init__.pyi"], ["_alpha"]),
        ([f"fast{EXTENSION_SUFFIXES[0]}", "fast.pyi"], ["fast"]),
        (["fast.abi3.so", "quick.so", "other.cpython-27m.so", "slow.pyd"], ["fast", "quick"]),
        ([f"_fast_backend{EXTENSION_SUFFIXES[0]}"], ["_fast_backend"]),
        (["fast/__init__.py", "libfast.so"], ["fast"]),
        (["bin/alpha.py", "share/alpha/run.py", "etc/alpha/conf.py"], []),
        (["alpha.pth", "alpha/data.json", "alpha.libs/liba.py"], []),
        (["__editable___alpha_finder.py", "__editable__.alpha.pth"], []),
        (["tests/__init__.py", "scripts/x.py", "__main__.py"], []),
        (["alpha/__init__.py", "alpha.libs/libx.so", "../../bin/alpha.py"], ["alpha"]),
    ],
)
def test_the_modules_of_a_package(tmp_path: Path, files: list[str], modules: list[str]) -> None:
    """The outermost packages and modules: no private ones, no tests, and below namespaces."""
    bake(tmp_path, "alpha", "1.0", modules=dict.fromkeys(files, ""))
    [found] = Distribution.discover(path=[str(tmp_path)])
    assert modules_of(found, [str(tmp_path)]) == modules


@pytest.mark.parametrize(
    ("top_level", "record", "modules"),
    [
        ("gone\n", "keep", ["alpha"]),
        ("alpha\ngone\ndocs\n", "remove", ["alpha"]),
        (None, "remove", []),
        ("alpha\n", "odd,columns,3,4,5\n", ["alpha"]),
        ("alpha\n", "gone.py,,\n", ["alpha"]),
    ],
)
def test_only_modules_that_are_there_count(
    tmp_path: Path, top_level: str | None, record: str, modules: list[str]
) -> None:
    """Whatever top_level.txt and RECORD say, or do not say."""
    bake(tmp_path, "alpha", "1.0")
    info = tmp_path / "alpha-1.0.dist-info"
    if top_level:
        (info / "top_level.txt").write_text(top_level)
    if record == "remove":
        (info / "RECORD").unlink()
    elif record != "keep":
        (info / "RECORD").write_text(record)
    [found] = Distribution.discover(path=[str(tmp_path)])
    assert modules_of(found, [str(tmp_path)]) == modules


def test_what_an_old_egg_says_of_its_sources_is_not_imported(tmp_path: Path) -> None:
    """Its list of files is of where it was built: what is not there, is not tried."""
    (tmp_path / "old.egg-info").mkdir()
    (tmp_path / "old.egg-info/PKG-INFO").write_text("Name: old\nVersion: 1.0\n")
    (tmp_path / "old.egg-info/SOURCES.txt").write_text("src/old/__init__.py\nrun.py\nold.py\n")
    (tmp_path / "old.py").touch()
    [found] = Distribution.discover(path=[str(tmp_path)])
    assert modules_of(found, [str(tmp_path)]) == ["old"]


def test_what_has_nothing_to_import_is_named_and_holds_up_nothing(trial: Trial) -> None:
    """Stubs whose top_level.txt names what is not there, a script, a .pth file: the rest is
    tried."""
    bake(trial.site, "cloud-stubs", "1.0", modules={"cloud-stubs/__init__.pyi": ""})
    top_level = trial.site / "cloud_stubs-1.0.dist-info/top_level.txt"
    top_level.write_text("cloud-stubs\ndist\n")
    bake(trial.site, "tool", "1.0", modules={"bin/tool.py": "raise SystemExit('usage')\n"})
    bake(trial.site, "start", "1.0", modules={"start.pth": ""})
    bake(trial.site, "helper", "1.0")
    verdict = trial.run(names=["cloud-stubs", "tool", "start", "helper"])
    told = "not imported, as no module is among their files: cloud-stubs, tool, start"
    assert verdict.result == {"ok": True, "notes": [told]}
    assert "flowdeps: imported helper" in verdict.lines
    bake(trial.site, "bad", "1.0", modules={"bad.py": "1 / 0\n"})
    assert trial.run(names=["tool", "bad"]).result["module"] == "bad"


@pytest.mark.parametrize("up", ["", "../../"])
def test_data_files_that_a_run_will_not_find_are_told(trial: Trial, up: str) -> None:
    """Those outside of packages, as either installer lists them; not those inside, nor what is for
    people, such as manual pages."""
    files = {"nbconvert/__init__.py": "", "nbconvert/data/x": "", "share/jupyter/x": "x"}
    bake(trial.site, "nbconvert", "1.0", modules=files)
    bake(trial.site, "alpha", "1.0", modules={"alpha.py": "", "share/man/man1/alpha.1": ""})
    [record] = trial.site.glob("nbconvert-*/RECORD")
    record.write_text(record.read_text().replace("share/", f"{up}share/"))
    [note] = trial.run(names=["alpha", "nbconvert"]).result["notes"]
    assert note == (
        f"data files are below {trial.site}, where programs that look beside Python do not find "
        "them: nbconvert (share/jupyter); set the program's own variable, such as JUPYTER_PATH, or "
        "install it in the image"
    )
