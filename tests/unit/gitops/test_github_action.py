"""The checks before a merge: the action's script on a repository, and what starts it."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowdeps.cli.main import main
from tests.cluster import tools
from tests.cluster.index import Index

_ROOT = Path(__file__).parents[3]
_ACTION = _ROOT / "integrations" / "github-action"
_HOOKS = _ROOT / ".pre-commit-hooks.yaml"
_PAGE = (_ROOT / "docs" / "how-to" / "flux.md").read_text()
_SET = "sets/ml.yaml"


@dataclass(frozen=True)
class Checked:
    """How a check ended: its status, its log, and the job's summary."""

    status: int
    log: str
    summary: str


class Repository:
    """A repository whose branch `main` has a set; the working tree is a pull request."""

    def __init__(self, root: Path, index: Index) -> None:
        self._root = root
        self._index = index
        (root / "sets").mkdir()
        programs = root.parent / "programs"
        programs.mkdir()
        program = programs / "flowdeps"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m flowdeps "$@"\n')
        program.chmod(0o755)
        self._env = tools.environment(
            {
                "PATH": f"{programs}:{os.environ['PATH']}",
                "PYTHONPATH": str(_ROOT / "operator"),
                "HOME": str(root.parent),
                "XDG_CACHE_HOME": str(root.parent / "cache"),
                "NO_PROXY": "127.0.0.1",
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_AUTHOR_NAME": "a",
                "GIT_AUTHOR_EMAIL": "a@example.com",
                "GIT_COMMITTER_NAME": "a",
                "GIT_COMMITTER_EMAIL": "a@example.com",
            },
            without=("GIT_", "GITHUB_", "FLOWDEPS_"),
        )
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self._root,
            env=self._env,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def write(self, *requirements: str, name: str = "ml") -> None:
        """The set, as the pull request has it."""
        spec = {
            "requirements": list(requirements),
            "python": {"version": "3.11"},
            "index": {"url": self._index.url},
        }
        body = {
            "apiVersion": "flowdeps.dev/v1alpha1",
            "kind": "FlowDependencySet",
            "metadata": {"name": name, "namespace": "flows"},
            "spec": spec,
        }
        (self._root / "sets" / f"{name}.yaml").write_text(yaml.safe_dump(body))

    def commit(self) -> None:
        """What is there becomes the base branch."""
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "base")

    def check(self, **variables: str) -> Checked:
        summary = self._root.parent / "summary.md"
        summary.unlink(missing_ok=True)
        done = subprocess.run(
            ["sh", _ACTION / "check.sh"],
            cwd=self._root,
            env={
                **self._env,
                "GITHUB_STEP_SUMMARY": str(summary),
                "FILES": "sets/*.yaml",
                "LOCK": _SET,
                "BASE": "main",
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not done.stderr, done.stderr
        return Checked(done.returncode, done.stdout, summary.read_text())


@pytest.fixture
def repository(tmp_path: Path, index: Index) -> Repository:
    index.add("alpha", "1.0")
    index.add("beta", "2.0", requires=["alpha"])
    (tmp_path / "repository").mkdir()
    made = Repository(tmp_path / "repository", index)
    made.write("alpha")
    made.commit()
    return made


def test_the_summary_shows_what_the_change_does_and_not_what_time_did(
    repository: Repository, index: Index
) -> None:
    """A pin that may stay does, as in the cluster, and a release since the base branch's last
    change is no part of the diff; the worktree of the base branch is gone again."""
    repository.write("alpha<1.1")
    repository.commit()
    index.add("alpha", "1.1")
    repository.write("alpha", "beta")
    done = repository.check()
    assert (done.status, done.log) == (0, "")
    assert "All sets are valid." in done.summary
    [diff] = re.findall(r"```text\n(.*?)```", done.summary, re.DOTALL)
    pin, size = diff.splitlines()
    assert pin == "+beta 2.0"
    assert size.startswith("size: ")
    assert len(repository.git("worktree", "list").splitlines()) == 1


def test_a_set_that_is_wrong_fails_with_its_line(repository: Repository) -> None:
    """Each problem is an annotation at its line, and in the summary; what is still right is
    locked all the same."""
    repository.write("alpha @ https://files.example.com/alpha.whl", name="wrong")
    done = repository.check()
    assert done.status == 1
    [annotation] = re.findall(r"^::error file=sets/wrong\.yaml,line=(\d+)::(.*)$", done.log, re.M)
    assert "a URL is not allowed" in annotation[1]
    assert annotation[1] in done.summary
    assert "no change" in done.summary


def test_requirements_that_fit_no_lock_fail_with_the_reason(repository: Repository) -> None:
    """The resolver's words are in the summary and, so that none is a command to the runner, behind
    a bar in the log."""
    repository.write("alpha==9.9")
    done = repository.check()
    assert done.status == 1
    assert "alpha==9.9" in done.summary
    assert "alpha==9.9" in done.log
    assert all(line.startswith("| ") for line in done.log.splitlines())


def test_a_new_set_and_a_push_show_the_whole_lock(repository: Repository) -> None:
    """Where there is nothing to compare with, all pins are shown."""
    repository.write("beta", name="new")
    for done in (repository.check(LOCK="sets/new.yaml"), repository.check(BASE="")):
        assert done.status == 0
        assert "alpha==1.0" in done.summary


def test_arguments_reach_the_resolver(repository: Repository) -> None:
    """What `flowdeps lock` doesn't know it refuses, in the summary."""
    done = repository.check(LOCK_ARGUMENTS="--netrc missing.netrc")
    assert done.status == 1
    assert "missing.netrc" in done.summary


def test_the_action_gives_the_script_what_it_reads() -> None:
    """Every input is used, each variable is one of the script's, and none stands in a command,
    where its text would be run."""
    action = yaml.safe_load((_ACTION / "action.yml").read_text())
    text = (_ACTION / "check.sh").read_text()
    steps: list[dict[str, Any]] = action["runs"]["steps"]
    given = [value for step in steps for value in step.get("env", {}).values()]
    assert {f"${{{{ inputs.{name} }}}}" for name in action["inputs"]} <= set(given)
    assert all(re.search(rf"\$\{{?{name}\b", text) for name in steps[-1]["env"])
    assert not any("${{" in step.get("run", "") for step in steps)


@pytest.mark.parametrize("source", ["", "flowdeps-0.1.0-py3-none-any.whl"])
def test_flowdeps_comes_from_the_actions_own_repository_unless_source_says_else(
    tmp_path: Path, source: str
) -> None:
    """The runner has the whole repository, and says in which folder of it the action lies."""
    steps = yaml.safe_load((_ACTION / "action.yml").read_text())["runs"]["steps"]
    [install] = [step for step in steps if "SOURCE" in step.get("env", {})]
    python = tmp_path / "flowdeps" / "bin" / "python"  # where it makes an environment
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nfor last; do :; done\nprintf %s "$last"\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", install["run"]],
        env={
            "PYTHON": "true",
            "SOURCE": source,
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_ACTION_PATH": str(_ACTION),
            "PATH": os.environ["PATH"],
        },
        capture_output=True,
        text=True,
        check=True,
    )
    if source:
        assert done.stdout == source
    else:
        assert Path(done.stdout).is_absolute()
        assert (Path(done.stdout) / "pyproject.toml").samefile(_ROOT / "pyproject.toml")


def test_the_hook_checks_all_files_in_one_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """pre-commit runs the entry with the files behind it; two sets with one key are found."""
    [hook] = yaml.safe_load(_HOOKS.read_text())
    example = (_ROOT / "examples" / "minimal.yaml").read_text()
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for file in files:
        file.write_text(example)
    program, *arguments = shlex.split(hook["entry"])
    assert (program, hook["require_serial"]) == ("flowdeps", True)
    assert main([*arguments, str(files[0])]) == 0
    assert main([*arguments, *map(str, files)]) == 1
    assert "b.yaml" in capsys.readouterr().out


def test_the_hook_passes_over_what_has_nothing_to_do_with_sets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Values and templates of a chart, workflows, settings of tools: all that a repository such as
    this one has, without a pattern in its configuration."""
    [hook] = yaml.safe_load(_HOOKS.read_text())
    folders = (".github", "charts", "crds", "docs", "integrations", "requirements", "scripts")
    files = [
        str(path)
        for pattern in ("*.*ml", *(f"{folder}/**/*.*" for folder in folders))
        for path in _ROOT.glob(pattern)
        if path.suffix in {".yaml", ".yml", ".json"}
    ]
    assert len(files) > 30
    _, *arguments = shlex.split(hook["entry"])
    assert main([*arguments, *files]) == 0
    assert main([arguments[0], *files]) == 1
    assert capsys.readouterr().err.splitlines()[0] == "0 sets are valid"


def test_the_page_shows_inputs_and_hooks_that_exist() -> None:
    """The workflow and the configuration of pre-commit in docs/how-to/flux.md."""
    blocks = re.findall(r"^```yml\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)
    workflow, hooks = map(yaml.safe_load, blocks)
    step = workflow["jobs"]["flowdeps"]["steps"][-1]
    inputs = yaml.safe_load((_ACTION / "action.yml").read_text())["inputs"]
    assert str(_ACTION.relative_to(_ROOT)) in step["uses"]
    assert {name for name, one in inputs.items() if one.get("required")} <= step["with"].keys()
    assert step["with"].keys() <= inputs.keys()
    known = {hook["id"] for hook in yaml.safe_load(_HOOKS.read_text())}
    assert {hook["id"] for repo in hooks["repos"] for hook in repo["hooks"]} <= known
