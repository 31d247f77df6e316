"""`flowdeps new`: sets from what projects list."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowdeps.cli.main import main
from tests.unit.locks.builders import pylock_text

New = Callable[..., tuple[Any, list[str]]]
URL = "https://packages.example.com/simple"
TORCH = "https://torch.example.com/cpu"

PROJECT = f"""\
[project]
name = "Flow_Reports"
version = "1.0"
requires-python = ">=3.11,<3.14"
dependencies = ["pandas>=2.2,<3", "torch", "house", "shared"]
[project.optional-dependencies]
s3 = ["boto3"]
all = ["flow-reports[s3]", "openpyxl"]
[dependency-groups]
base = ["httpx"]
flows = [{{include-group = "base"}}, "Prefect_Email>=1"]
dev = ["pytest"]
[tool.uv]
override-dependencies = ["secret @ https://me:hunter2@example.com/x.whl"]
constraint-dependencies = ["numpy<2.3"]
[[tool.uv.index]]
name = "torch"
url = "{TORCH}"
explicit = true
[[tool.uv.index]]
url = "{URL}"
default = true
[tool.uv.sources]
torch = [
    {{index = "torch", marker = "sys_platform == 'linux'"}},
    {{path = "wheels", marker = "sys_platform == 'darwin'"}},
]
house = {{git = "https://git.example.com/house"}}
shared = {{workspace = true}}
"""
UV_LOCK = """\
version = 1
requires-python = ">=3.12"
[[package]]
name = "reports"
version = "0.1.0"
source = { virtual = "." }
dependencies = [{ name = "alpha" }]
[package.metadata]
requires-dist = [
    { name = "alpha", extras = ["fast"], specifier = ">=1" },
    { name = "own", git = "https://git.example.com/own" },
    { name = "boto3", marker = "extra == 's3'", specifier = ">=1.30" },
]
[package.metadata.requires-dev]
dev = [{ name = "pytest" }]
[[package]]
name = "alpha"
version = "1.5"
source = { registry = "https://packages.example.com/simple" }
dependencies = [{ name = "beta" }]
[[package]]
name = "beta"
version = "1.0"
source = { registry = "https://packages.example.com/simple" }
resolution-markers = ["python_full_version < '3.13'"]
[[package]]
name = "beta"
version = "2.0"
source = { registry = "https://packages.example.com/simple" }
resolution-markers = ["python_full_version >= '3.13'"]
[[package]]
name = "pytest"
version = "9.0"
source = { registry = "https://packages.example.com/simple" }
"""


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> New:
    """Runs `flowdeps new`, and `flowdeps validate` on what it prints; gives spec and warnings."""
    directory = tmp_path / "nightly-reports"
    directory.mkdir()
    monkeypatch.chdir(directory)

    def run(file: str, text: str, *flags: str, **others: str) -> tuple[Any, list[str]]:
        for name, content in {file: text, **others}.items():
            Path(name.replace("__", ".")).write_text(content)
        assert main(["new", file, *flags]) == 0
        captured = capsys.readouterr()
        Path("set.out").write_text(captured.out)
        assert main(["validate", "set.out"]) == 0, capsys.readouterr().out
        capsys.readouterr()
        documents = list(yaml.safe_load_all(captured.out))
        warnings = [one for one in captured.err.splitlines() if one.startswith("warning: ")]
        return (documents[0] if len(documents) == 1 else documents), warnings

    return run


def test_a_requirements_file_becomes_a_set(new: New) -> None:
    """With the files that it names, its indexes and its options; named after its directory."""
    text = f"""\
# what reports need
--index-url {URL}
--extra-index-url=https://more.example.com/simple
--pre
-r more.txt
-c limits.txt
Pandas >= 2.2  # the frame
httpx[http2]==0.28.1 \\
    --hash=sha256:{"a" * 64}
"""
    found, warnings = new(
        "requirements.txt", text, **{"more.txt": "openpyxl\n", "limits.txt": "numpy<2"}
    )
    assert found["metadata"] == {"name": "nightly-reports"}
    spec = found["spec"]
    assert spec["requirements"] == ["openpyxl", "pandas>=2.2", "httpx[http2]==0.28.1"]
    assert spec["constraints"] == ["numpy<2"]
    assert spec["index"] == {
        "url": URL,
        "extraUrls": ["https://more.example.com/simple"],
        "prereleases": "Allow",
    }
    assert [one for one in warnings if "hashes" not in one] == []


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("own @ git+https://me:hunter2@git.example.com/own@v1", "own @"),
        ("git+https://me:hunter2@git.example.com/own#egg=own", "own"),
        ("-e ./lib", "-e ./lib"),
        ("-e git+https://me:hunter2@git.example.com/own#egg=own", "(own)"),
        ("./wheels/own-1.0-py3-none-any.whl", "own-1.0-py3-none-any.whl"),
        ("--find-links https://me:hunter2@example.com/wheels", "--find-links"),
        ("--trusted-host packages.example.com", "--trusted-host packages.example.com"),
        ("--no-binary :all:", "--no-binary :all:"),
        ("-r https://me:hunter2@example.com/more.txt", "https://…"),
        ("-r lacking.txt", "lacking.txt"),
        ("--some-option", "--some-option"),
        ("--index-url https://me:hunter2@packages.example.com/simple", "packages.example.com"),
        ("--extra-index-url https://more.example.com/simple", "https://more.example.com/simple"),
        ("--index-url https://${TOKEN}@packages.example.com/simple", "packages.example.com"),
        ("pandas==${VERSION}", "pandas==${VERSION}"),
    ],
)
def test_what_a_set_cannot_express_is_named(new: New, line: str, names: str) -> None:
    """One warning with the file and the line, without a password; the rest is written."""
    found, warnings = new("requirements.txt", f"alpha\n{line}\n")
    assert found["spec"]["requirements"] == ["alpha"]
    [warning] = warnings
    assert warning.startswith("warning: requirements.txt line 2: left out: ")
    assert names in warning
    assert "hunter2" not in warning + str(found)
    assert "TOKEN" not in warning + str(found) or "${" in names or "VERSION" in names


def test_a_requirements_file_is_for_the_python_of_its_project(new: New) -> None:
    """And has its name; a file for one purpose has its own."""
    project = '[project]\nname = "reports"\nrequires-python = ">=3.12"\n'
    for file, name in {"requirements.txt": "reports", "requirements-ml.txt": "ml"}.items():
        found, _ = new(file, "alpha\n", **{"pyproject.toml": project})
        assert found["metadata"]["name"] == name
        assert found["spec"]["python"] == {"version": "3.12"}


def test_texts_of_several_lines_can_be_read(new: New, capsys: pytest.CaptureFixture[str]) -> None:
    """As the file has them."""
    text = pylock_text("alpha==1.0")
    new("pylock.toml", text, "--pool", "kubernetes")
    assert main(["new", "pylock.toml", "--pool", "kubernetes"]) == 0
    lines = [line.removeprefix("    ") for line in capsys.readouterr().out.splitlines()]
    assert set(text.splitlines()) <= set(lines)


def test_files_that_include_each_other_are_read_once(new: New) -> None:
    """A circle ends."""
    found, _ = new(
        "requirements.txt", "-r other.txt\nalpha\n", **{"other.txt": "-r requirements.txt\nbeta\n"}
    )
    assert set(found["spec"]["requirements"]) == {"alpha", "beta"}


def test_a_project_becomes_a_set(new: New) -> None:
    """Name, oldest Python and indexes are the project's; packages from elsewhere are named."""
    found, warnings = new("pyproject.toml", PROJECT)
    assert found["metadata"] == {"name": "flow-reports"}
    assert found["spec"] == {
        "requirements": ["pandas<3,>=2.2", "torch"],
        "constraints": ["numpy<2.3"],
        "index": {"url": URL, "packages": [{"names": ["torch"], "url": TORCH}]},
        "python": {"version": "3.11"},
    }
    assert "hunter2" not in str(warnings)
    assert [one.partition("left out: ")[2].partition(" (")[0] for one in warnings] == [
        "the override of secret; write it as a requirement",
        "house: it comes from a git",
        "shared: it comes from the workspace",
    ]


def test_groups_and_extras_are_added(new: New) -> None:
    """With the groups that they include, and the extras that they ask for."""
    found, _ = new("pyproject.toml", PROJECT, "--group", "flows", "--extra", "all")
    names = {one.partition(">")[0].partition("<")[0] for one in found["spec"]["requirements"]}
    assert names == {"pandas", "torch", "openpyxl", "boto3", "httpx", "prefect-email"}


@pytest.mark.usefixtures("new")
def test_an_unknown_group_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With those that there are."""
    Path("pyproject.toml").write_text(PROJECT)
    assert main(["new", "pyproject.toml", "--group", "prod"]) == 1
    assert "no group 'prod'; there are: base, flows, dev" in capsys.readouterr().err
    Path("requirements.txt").write_text("alpha")
    assert main(["new", "requirements.txt", "--group", "prod"]) == 1
    assert "leave prod out" in capsys.readouterr().err


def test_flags_say_where_the_set_goes(new: New) -> None:
    """With an image or a pool, that has the Python."""
    flags = ("--name", "ml", "-n", "flows", "--pool", "kubernetes")
    found, _ = new("pyproject.toml", PROJECT, *flags)
    assert found["metadata"] == {"name": "ml", "namespace": "flows"}
    assert found["spec"]["workPools"] == [{"name": "kubernetes"}]
    assert "python" not in found["spec"]
    found, _ = new("pyproject.toml", PROJECT, "--image", "registry.example.com/flows:1")
    assert found["spec"]["python"] == {"image": "registry.example.com/flows:1"}


def test_a_pinned_python_counts_more_than_the_oldest(new: New) -> None:
    """The file that chooses the project's interpreter."""
    found, _ = new("pyproject.toml", PROJECT, **{".python-version": "3.13.1\n"})
    assert found["spec"]["python"] == {"version": "3.13"}


def test_versions_of_a_lock_of_uv_become_constraints(new: New) -> None:
    """Of what the set needs; without pyproject.toml, the lock has the requirements."""
    found, warnings = new("uv.lock", UV_LOCK)
    assert found["metadata"]["name"] == "reports"
    assert found["spec"] == {
        "requirements": ["alpha[fast]>=1"],
        "constraints": [
            "alpha==1.5",
            'beta==1 ; python_full_version < "3.13"',
            'beta==2 ; python_full_version >= "3.13"',
        ],
        "python": {"version": "3.12"},
    }
    assert len(warnings) == 1
    assert "own @" in warnings[0]
    found, _ = new("uv.lock", UV_LOCK, "--extra", "s3", "--group", "dev")
    assert found["spec"]["requirements"] == ["alpha[fast]>=1", "boto3>=1.30", "pytest"]
    assert "pytest==9" in found["spec"]["constraints"]


def test_a_lock_of_uv_beside_its_project_has_that_ones_requirements(new: New) -> None:
    """And its indexes."""
    project = '[project]\nname = "x"\ndependencies = ["alpha"]\n'
    project += f'[[tool.uv.index]]\nurl = "{URL}"\ndefault = true\n'
    found, _ = new("uv.lock", UV_LOCK, **{"pyproject.toml": project})
    assert found["spec"]["requirements"] == ["alpha"]
    assert found["spec"]["index"] == {"url": URL}
    assert "alpha==1.5" in found["spec"]["constraints"]


def test_a_pylock_becomes_the_lock(new: New) -> None:
    """As it is, in a ConfigMap; without an image, with the Python that it is for."""
    text = pylock_text("alpha==1.0")
    (found, files), _ = new("pylock.toml", text, "--pool", "kubernetes")
    ref = {"name": "nightly-reports-files", "key": "pylock.toml"}
    assert found["spec"]["lockFrom"] == {"configMapKeyRef": ref}
    assert "requirements" not in found["spec"]
    assert files["data"] == {"pylock.toml": text}
    (found, files), _ = new(
        "pylock.toml", text.replace("created", 'requires-python = ">=3.12"\ncreated')
    )
    assert files["data"]["pylock.toml"].startswith("# python: 3.12\n# platforms: linux/amd64\nlock")
    assert "python" not in found["spec"]


def test_a_pylock_that_is_no_lock_becomes_requirements(new: New) -> None:
    """A package without wheels can't be locked; its others are pinned, and it is named."""
    text = (
        pylock_text("alpha==1.0") + '[[packages]]\nname = "own"\n[packages.directory]\npath = "."\n'
    )
    found, warnings = new("pylock.toml", text)
    assert found["spec"]["requirements"] == ["alpha==1"]
    assert ["own: no wheel" in warnings[0], "left out: own" in warnings[1]] == [True, True]


def test_a_script_becomes_a_set(new: New) -> None:
    """By its header, and named after its file."""
    text = f"""\
#!/usr/bin/env -S uv run
# /// script
# requires-python = ">=3.12"
# dependencies = [
#     "pandas<3",
#     "own",
# ]
# [tool.uv.sources]
# own = {{ path = "../own" }}
# [[tool.uv.index]]
# url = "{URL}"
# default = true
# ///
import pandas
"""
    found, warnings = new("daily_report.py", text)
    assert found["metadata"]["name"] == "daily-report"
    assert found["spec"] == {
        "requirements": ["pandas<3"],
        "index": {"url": URL},
        "python": {"version": "3.12"},
    }
    assert ["own: it comes from a path" in one for one in warnings] == [True]


def test_long_lists_go_into_a_config_map(new: New) -> None:
    """A set has at most 256 items of its own."""
    text = "".join(f"package-{number}\n" for number in range(300))
    (found, files), _ = new("requirements.txt", text)
    assert "requirements" not in found["spec"]
    assert found["spec"]["requirementsFrom"][0]["configMapKeyRef"]["key"] == "requirements.txt"
    assert files["data"]["requirements.txt"] == text


@pytest.mark.usefixtures("new")
@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("requirements.txt", "-e .\n", "nothing is left that a set can require"),
        ("pyproject.toml", "[project", "not TOML"),
        ("flow.py", "import this\n", "no block '# /// script'"),
        ("uv.lock", "version = 1\n", "put pyproject.toml beside it"),
        ("pylock.toml", "x", "not TOML"),
        ("uv.lock", 'package = [{source = {virtual = "."}, metadata = 3}]', "nothing is left"),
        (
            "uv.lock",
            'package = [{source = {virtual = "."}, metadata = {requires-dist = [3]}}]',
            "not of the form that its tool writes",
        ),
    ],
)
def test_what_is_no_project_is_refused(
    capsys: pytest.CaptureFixture[str], file: str, text: str, says: str
) -> None:
    """With one line, and nothing on standard output."""
    Path(file).write_text(text)
    assert main(["new", file]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
