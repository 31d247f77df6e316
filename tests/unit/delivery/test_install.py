"""The install script installs what the lock says, by real uv and real pip, and nothing else counts.

Each test has a lock directory, a volume and an environment of its own, and a local index.
"""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

from tests.cluster import tools
from tests.cluster.index import Index
from tests.unit.delivery.install_pod import COMMAND, PYTHON, WRONG, Pod, at, pin


def test_the_script_is_python_3_9() -> None:
    """The oldest interpreter that images with Prefect 3 have can read it."""
    ast.parse(COMMAND[-1], feature_version=(3, 9))


def test_the_lock_is_installed_and_reported(either: Pod, index: Index) -> None:
    """The pinned packages are in site, lock.json is beside it, and one line says so."""
    lines = [pin(index, "alpha", "1.0"), pin(index, "beta", "2.0", requires=["gamma"])]
    either.write(*lines, index=at(index))
    outcome = either.run()
    assert outcome.code == 0, outcome.lines
    digest = json.loads((either.home / "lock.json").read_text())["digest"]
    assert {"alpha", "beta"} <= set(outcome.installed)
    tool = either.programs.parent.name
    assert len(outcome.lines) == 1
    assert re.fullmatch(
        rf"flowdeps: installed 2 packages of ml \({digest[:19]}\) with {tool} in \d+\.\d s",
        outcome.last,
    )
    assert json.loads((either.home / "lock.json").read_text())["key"] == "ml"
    assert not list(outcome.site.rglob("*.pyc"))


def test_a_second_start_begins_again(either: Pod, index: Index) -> None:
    """A pod whose init container runs twice ends with one complete site."""
    either.write(pin(index, "alpha", "1.0"), index=at(index))
    either.run()
    (either.home / "site" / "left-over").mkdir()
    outcome = either.run()
    assert outcome.code == 0, outcome.lines
    assert "left-over" not in outcome.installed


def test_a_failed_second_start_leaves_nothing_behind(either: Pod, index: Index) -> None:
    """After a failure neither the packages nor the lock of an earlier start are there."""
    line = pin(index, "alpha", "1.0")
    either.write(line, index=at(index))
    either.run()
    either.write(re.sub(r"sha256:\w+", f"sha256:{WRONG}", line), index=at(index))
    assert either.run().code == 1
    assert not (either.home / "lock.json").exists()


def test_markers_choose_the_pins_of_this_machine(either: Pod, index: Index) -> None:
    """A pin for another machine is not installed."""
    there = pin(index, "there", "1.0").replace(" ", ' ; platform_machine == "riscv64" ', 1)
    either.write(pin(index, "alpha", "1.0"), there, index=at(index))
    outcome = either.run()
    assert outcome.code == 0, outcome.lines
    assert "there" not in outcome.installed


def test_the_first_index_that_has_a_package_answers(pod: Pod, index: Index) -> None:
    """The order of the lock decides: the URL, then the extra ones."""
    with Index() as second:
        second.add("alpha", "1.0", modules={"alpha.py": "other = True\n"})
        lines = [pin(index, "alpha", "1.0"), pin(second, "beta", "1.0")]
        pod.write(*lines, index=at(index, second))
        assert pod.run().code == 0
        pod.write(*lines, index=at(second, index))
        assert "hash for alpha 1.0 does not match" in pod.run().last


def test_pip_finds_packages_in_extra_indexes(
    pod: Pod, index: Index, images: dict[str, Path]
) -> None:
    """pip has no order; the hashes say which of two files is right."""
    pod.programs = images["pip"]
    with Index() as second:
        second.add("alpha", "1.0", modules={"alpha.py": "other = True\n"})
        lines = [pin(index, "alpha", "1.0"), pin(second, "beta", "1.0")]
        pod.write(*lines, index=at(index, second))
        assert pod.run().code == 0


def test_packages_come_from_the_index_of_their_own(either: Pod, index: Index) -> None:
    """That index is asked for nothing else, and the others not for these; what two packages share,
    a directory of programs or a namespace, has what is of both."""
    with Index() as own:
        wheels = (index, "alpha", "1.0"), (own, "torch", "2.9+cpu"), (index, "omega", "1.0")
        lines = [
            pin(one, name, version, modules={f"shared/{name}.py": "", f"{name}.py": ""})
            for one, name, version in wheels
        ]
        index.add("torch", "2.9+cpu", modules={"torch.py": "other = True\n"})
        both = at(index) | {"packages": [{"names": ["torch"], "url": own.url}]}
        either.write("# made for tests", *lines, index=both, packages=3)
        index.forget()
        own.forget()
        outcome = either.run()
        assert outcome.code == 0, outcome.lines
        assert {"alpha.py", "omega.py", "torch.py", "shared"} <= set(outcome.installed)
        shared = {path.name for path in (outcome.site / "shared").iterdir()}
        assert shared == {"alpha.py", "omega.py", "torch.py"}
        assert not [path for path in index.requests if "torch" in path]
        assert not [path for path in own.requests if "torch" not in path]


def test_a_wrong_hash_names_the_index_of_the_package(either: Pod, index: Index) -> None:
    """Nothing is installed, also of the packages that were right."""
    with Index() as own:
        line = re.sub(r"sha256:\w+", f"sha256:{WRONG}", pin(own, "torch", "2.9"))
        both = at(index) | {"packages": [{"names": ["torch"], "url": own.url}]}
        either.write(pin(index, "alpha", "1.0"), line, index=both)
        outcome = either.run()
        assert outcome.code == 1
        assert "torch 2.9" in outcome.last
        assert own.url in outcome.last


def test_the_images_own_settings_do_not_count(either: Pod, index: Index, tmp_path: Path) -> None:
    """Neither variables nor files of the image change where packages come from."""
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = http://127.0.0.1:9/\nno-index = 1\n")
    (either.lock / "uv.toml").write_text("no-index = true\n")
    either.environment = {
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "PIP_NO_INDEX": "1",
        "PIP_USER": "1",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "UV_NO_INDEX": "1",
        "UV_OFFLINE": "1",
        "UV_CONFIG_FILE": str(either.lock / "uv.toml"),
        "UV_REQUIRE_HASHES": "0",
        "UV_NO_VERIFY_HASHES": "1",
        "VIRTUAL_ENV": "/nonexistent",
        "PYTHONPATH": str(tmp_path),
    }
    (tmp_path / "json.py").write_text("raise RuntimeError('the image shadows the library')\n")
    line = pin(index, "alpha", "1.0")
    either.write(line, index=at(index))
    outcome = either.run()
    assert outcome.code == 0, outcome.lines
    either.write(re.sub(r"sha256:\w+", f"sha256:{WRONG}", line), index=at(index))
    assert either.run().code == 1


def test_nothing_but_the_volume_is_written(either: Pod, index: Index, tmp_path: Path) -> None:
    """A home directory and temporary files that cannot be written do not matter."""
    closed = tmp_path / "closed"
    closed.touch()  # no directory: not even root can write into it
    either.environment = {
        name: str(closed / "x")
        for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "UV_CACHE_DIR", "PIP_CACHE_DIR")
    }
    either.write(pin(index, "alpha", "1.0"), index=at(index))
    outcome = either.run()
    assert outcome.code == 0, outcome.lines


def test_modules_that_python_has_itself_are_left_out(either: Pod, index: Index) -> None:
    """They would hide Python's own from the flow, which a package in the image never does; the
    package counts as installed, and one line says what is missing of it."""
    both = {"dataclasses.py": "1 / 0\n", "asyncio/__init__.py": "1 / 0\n"}
    line = pin(index, "dataclasses", "0.8", modules=both)
    either.write(line, pin(index, "alpha", "1.0"), index=at(index))
    index.add("typing", "3.7")
    either.environment["FLOWDEPS_EXTRAS"] = "typing"
    outcome = either.run()
    assert outcome.code == 0, outcome.lines
    assert {"alpha", "dataclasses-0.8.dist-info"} <= set(outcome.installed)
    assert not {"dataclasses.py", "asyncio", "typing"} & set(outcome.installed)
    assert outcome.lines[-2] == (
        "flowdeps: warning: left out asyncio, dataclasses, typing: Python has modules of these "
        "names itself, which they would hide"
    )


@pytest.mark.parametrize(
    "file",
    [
        "sitecustomize.py",
        "usercustomize.py",
        "sitecustomize.pyc",
        "usercustomize/__init__.py",
        "sitecustomize/__init__.pyc",
        "sitecustomize.abi3.so",
        "alpha-1.0.data/purelib/sitecustomize.py",
        "alpha-1.0.data/platlib/usercustomize/__init__.py",
        "alpha-1.0.data/data/sitecustomize.py",
        "more/sitecustomize.py",
    ],
)
def test_what_python_would_run_as_it_starts_is_left_out(
    file: str, either: Pod, index: Index
) -> None:
    """In site-packages it would come behind one of the image; in front it would take its place.
    Whatever kind of module it is, and whichever directory of the wheel it came from, or a .pth file
    names; a package that has one inside keeps it."""
    odd = f"../more\n\0\n{'x' * 5000}\nmore/sitecustomize.py\nimport os\n.\nmore\njson\nmore\n"
    kept = {"alpha/sitecustomize.py": "", "sitecustomized.py": "", "alpha.pth": odd}
    kept |= {"directory.pth/file": "", "json/file": ""}
    line = pin(index, "alpha", "1.0", modules={file: "1 / 0\n", **kept})
    either.write(line, index=at(index))
    outcome = either.run()
    assert outcome.code == 0, outcome.lines
    left = {str(one.relative_to(outcome.site)) for one in outcome.site.rglob("*customize*")}
    assert left == {"alpha/sitecustomize.py", "sitecustomized.py"}
    name = "usercustomize" if "user" in file else "sitecustomize"
    assert outcome.lines[-2] == (
        f"flowdeps: warning: left out {name}: they would run at each start of Python, in place of "
        "the image's own"
    )


def test_a_home_that_cannot_be_looked_at_does_not_matter(
    pod: Pod, index: Index, closed: Path, tmp_path: Path
) -> None:
    """HOME=/root of an image whose runs have another user, for an interpreter that looks there."""
    pod.programs = tmp_path / "programs"
    pod.programs.mkdir()
    (pod.programs / "python3").symlink_to(Path(sys.base_prefix, "bin", f"python{PYTHON}"))
    (pod.programs / "uv").symlink_to(tools.uv())
    pod.environment["HOME"] = str(closed / "home")
    pod.write(pin(index, "alpha", "1.0"), index=at(index))
    outcome = pod.run()
    assert outcome.code == 0, outcome.lines


@pytest.mark.parametrize("written", [True, False])
def test_none_needs_nothing(pod: Pod, images: dict[str, Path], written: bool) -> None:
    """Without a choice the run goes on at once, with or without an empty lock."""
    pod.programs = images["bare"]
    if written:
        pod.write(key="none", python=None, platforms=[])
    outcome = pod.run("none")
    assert outcome.code == 0
    assert outcome.lines == [
        "flowdeps: no dependency set chosen: the flow sees the packages of its image"
    ]
    assert outcome.installed == []


def test_a_lock_without_packages_needs_no_installer(pod: Pod, images: dict[str, Path]) -> None:
    """Where the image has everything already, nothing is checked and nothing is run."""
    pod.programs = images["bare"]
    pod.write(python="2.7", platforms=[])
    outcome = pod.run()
    assert outcome.code == 0
    assert "adds no packages to those of the image" in outcome.last


def test_the_images_own_search_path_is_linked(pod: Pod, tmp_path: Path) -> None:
    """Entries of the image's PYTHONPATH are links in their order; an empty one is the working
    directory, and what is beyond the last link is left to what a run's interpreter begins with."""
    (tmp_path / "one").mkdir()
    pod.environment = {"PYTHONPATH": f"{tmp_path}/one::/later/mounted:relative:/5"}
    assert pod.run("none").code == 0
    links = {path.name: str(path.readlink()) for path in (pod.home / "image").iterdir()}
    assert links == {
        "0": f"{tmp_path}/one",
        "1": str(pod.lock),
        "2": "/later/mounted",
        "3": str(pod.lock / "relative"),
    }
