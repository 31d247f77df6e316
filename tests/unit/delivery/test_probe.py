"""What the probe reports of an image is what an interpreter in it would find."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.markers import default_environment

from flowdeps.delivery.scripts import command
from flowdeps.locks.image import ImageFacts
from flowdeps.locks.inspection import parse_probe
from tests.unit.delivery.install_pod import MACHINE, PYTHON, bake


def run(programs: Path, *, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command("probe"),
        env={"PATH": f"{programs}:/usr/bin:/bin", **variables},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def probe(programs: Path, *, cwd: Path, **variables: str) -> ImageFacts:
    done = run(programs, cwd=cwd, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    return parse_probe(done.stdout)


@pytest.mark.parametrize(("image", "tools"), [("bare", ()), ("uv", ("uv",)), ("pip", ("pip",))])
def test_the_interpreter_is_reported(
    images: dict[str, Path], tmp_path: Path, image: str, tools: tuple[str, ...]
) -> None:
    """Version, platform, libc, installers and every marker of PEP 508."""
    facts = probe(images[image], cwd=tmp_path)
    assert facts.python == PYTHON
    assert facts.full_version == ".".join(map(str, sys.version_info[:3]))
    assert facts.platform == f"linux/{MACHINE}"
    assert (facts.libc, facts.libc_version) == platform.libc_ver()
    assert facts.tools == tools
    expected = {name: str(value) for name, value in default_environment().items()}
    # The node's, not the image's: facts must not depend on where the pod runs.
    expected |= {"platform_release": "", "platform_version": ""}
    assert facts.markers == expected


def test_distributions_are_reported_as_their_metadata_have_them(
    images: dict[str, Path], tmp_path: Path
) -> None:
    """Names, versions, requirements and extras, from PYTHONPATH and from the environment."""
    bake(tmp_path, "Own_Tool", "1.0+local", requires=["six>=1", 'toml; extra == "toml"'])
    metadata = tmp_path / "own_tool-1.0+local.dist-info/METADATA"
    metadata.write_text(metadata.read_text() + "Provides-Extra: toml\n")
    facts = probe(images["pip"], cwd=tmp_path, PYTHONPATH=str(tmp_path))
    found = {one.name: one for one in facts.distributions}
    assert "pip" in found
    assert found["own-tool"].version == "1.0+local"
    assert found["own-tool"].requires == ("six>=1", 'toml; extra == "toml"')
    assert found["own-tool"].extras == ("toml",)
    assert facts.python_path == (str(tmp_path),)


def test_of_two_copies_the_first_on_the_path_is_reported(
    images: dict[str, Path], tmp_path: Path
) -> None:
    """PYTHONPATH goes before what is installed, its entries in their order, relative ones too, and
    the working directory in place of an empty one."""
    bake(tmp_path / "one", "six", "1.0")
    bake(tmp_path / "two", "six", "2.0")
    bake(tmp_path / "two", "pip", "0.1")
    bake(tmp_path, "here", "1.0")
    facts = probe(images["pip"], cwd=tmp_path, PYTHONPATH=f"one::{tmp_path}/two:/nowhere")
    assert (facts.versions["six"], facts.versions["pip"]) == ("1.0", "0.1")
    assert facts.versions["here"] == "1.0"
    entries = (f"{tmp_path}/one", str(tmp_path), f"{tmp_path}/two", "/nowhere")
    assert facts.python_path == entries


def test_what_was_installed_for_the_user_alone_is_reported(
    tmp_path: Path, images: dict[str, Path]
) -> None:
    """An interpreter that is no virtual environment sees it, behind PYTHONPATH and before what is
    installed for all."""
    site = tmp_path / f"home/.local/lib/python{PYTHON}/site-packages"
    bake(site, "pip", "0.1")
    bake(site, "mine", "1.0")
    bake(tmp_path / "path", "mine", "2.0")
    base = tmp_path / "base"
    base.mkdir()
    (base / "python3").symlink_to(Path(sys.base_prefix, "bin", f"python{PYTHON}"))
    home = {"HOME": str(tmp_path / "home")}
    versions = probe(base, cwd=tmp_path, **home).versions
    assert (versions["mine"], versions["pip"]) == ("1.0", "0.1")
    path = {"PYTHONPATH": str(tmp_path / "path")}
    assert probe(base, cwd=tmp_path, **home, **path).versions["mine"] == "2.0"
    assert "mine" not in probe(base, cwd=tmp_path, **home, PYTHONNOUSERSITE="1").versions
    assert "mine" not in probe(images["bare"], cwd=tmp_path, **home).versions


def test_broken_installations_are_passed_over(images: dict[str, Path], tmp_path: Path) -> None:
    """What has no name or version, cannot be read, or is left over from pip, hides nothing."""
    for name in ("alpha", "beta", "gamma", "delta"):
        bake(tmp_path, name, "1.0")
    (tmp_path / "alpha-1.0.dist-info/METADATA").unlink()
    (tmp_path / "beta-1.0.dist-info/METADATA").write_bytes(b"Name: beta\nSummary: \xff\xfe\n")
    (tmp_path / "gamma-1.0.dist-info").rename(tmp_path / "~amma-1.0.dist-info")
    (tmp_path / "empty.egg-info").touch()
    facts = probe(images["bare"], cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert facts.versions == {"delta": "1.0"}


def test_letters_of_another_encoding_hide_no_package(
    images: dict[str, Path], tmp_path: Path
) -> None:
    """In metadata of wheels and of eggs: what is required stays known."""
    bake(tmp_path, "alpha", "1.0", requires=["six"])
    with (tmp_path / "alpha-1.0.dist-info/METADATA").open("ab") as metadata:
        metadata.write(b"Author: Jos\xe9\n")
    (tmp_path / "odd.egg-info").mkdir()
    (tmp_path / "odd.egg-info/PKG-INFO").write_text("Name: odd\nVersion: 1.0\n")
    (tmp_path / "odd.egg-info/requires.txt").write_bytes(b"six\n# caf\xe9\n")
    (tmp_path / "flat.egg-info").write_bytes(b"Name: flat\nVersion: 1.0\nAuthor: Jos\xe9\n")
    facts = probe(images["bare"], cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert {one.name: one.requires[:1] for one in facts.distributions} == {
        "alpha": ("six",),
        "flat": (),
        "odd": ("six",),
    }


def test_requirements_that_cannot_be_read_hide_no_package(
    images: dict[str, Path], tmp_path: Path
) -> None:
    """The package is known, and a line says what is not."""
    bake(tmp_path, "alpha", "1.0")
    (tmp_path / "odd.egg-info").mkdir()
    (tmp_path / "odd.egg-info/PKG-INFO").write_text("Name: odd\nVersion: 1.0\n")
    (tmp_path / "odd.egg-info/requires.txt").symlink_to("requires.txt")
    done = run(images["bare"], cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert parse_probe(done.stdout).versions == {"alpha": "1.0", "odd": "1.0"}
    [told] = [line for line in done.stdout.splitlines() if line.startswith("flowdeps: ")]
    assert told.startswith("flowdeps: warning: what odd requires cannot be read: ")


def test_nothing_of_the_image_is_imported(images: dict[str, Path], tmp_path: Path) -> None:
    """Modules on PYTHONPATH, even those that have the standard library's names, never run."""
    for name in ("json", "uv", "site", "sitecustomize", "usercustomize", "alpha"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)\n")
    bake(tmp_path, "alpha", "1.0", modules={"alpha.py": "raise SystemExit(7)\n"})
    facts = probe(images["bare"], cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert facts.versions == {"alpha": "1.0"}
    assert facts.tools == ()


def test_each_line_is_marked_and_counted(images: dict[str, Path], tmp_path: Path) -> None:
    """Lines are JSON behind a mark, and the last one says how many distributions there were."""
    bake(tmp_path, "alpha", "1.0")
    lines = run(images["bare"], cwd=tmp_path, PYTHONPATH=str(tmp_path)).stdout.splitlines()
    assert all(line.startswith("flowdeps-probe: ") for line in lines)
    records = [json.loads(line.partition(" ")[2]) for line in lines]
    assert records[0]["implementation"] == "cpython"
    assert records[1:] == [
        {"name": "alpha", "version": "1.0", "requires": [], "extras": []},
        {"distributions": 1},
    ]


def test_nothing_is_written(images: dict[str, Path], tmp_path: Path) -> None:
    """Neither byte code nor anything else appears where the image's packages are."""
    bake(tmp_path, "alpha", "1.0")
    before = sorted(os.walk(tmp_path))
    probe(images["bare"], cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert sorted(os.walk(tmp_path)) == before
