"""The command as a person starts it: a process, in a directory, with an environment."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import tools

SECONDS = 120.0


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Shell:
    """Runs `python -m flowdeps` in `directory`, which is also its home."""

    directory: Path
    variables: Mapping[str, str]

    def flowdeps(
        self, *argv: str, stdin: str = "", redirection: str = "", **variables: str
    ) -> Done:
        """Run a command to its end, with a `redirection` of the shell such as `>&-`; there is no
        traceback, whatever happened."""
        program = [sys.executable, "-m", "flowdeps", *argv]
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {redirection}', "sh", *program] if redirection else program,
            cwd=self.directory,
            env=self.environment(**variables),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def start(
        self, *argv: str, stdout: int | None = None, **variables: str
    ) -> "subprocess.Popen[str]":
        """Start a command; the caller ends it. It says what is wrong in the file `stderr`: a pipe
        that nobody reads would stop it."""
        with (self.directory / "stderr").open("w") as stderr:
            return subprocess.Popen(
                [sys.executable, "-m", "flowdeps", *argv],
                cwd=self.directory,
                env=self.environment(**variables),
                stdout=stdout,
                stderr=stderr,
                text=True,
            )

    def environment(self, **variables: str) -> dict[str, str]:
        """No cluster and no Prefect of this machine, but those that are given."""
        home = str(self.directory)
        return tools.environment(
            {
                "HOME": home,
                "XDG_CACHE_HOME": f"{home}/cache",
                "PREFECT_HOME": f"{home}/prefect",
                "NO_PROXY": "127.0.0.1,localhost",
                "PYTHONPATH": _path(),
                **self.variables,
                **variables,
            },
            without=("PREFECT_", "KUBE", "FLOWDEPS_"),
        )

    def write(self, name: str, text: str) -> str:
        """A file in the directory; returns its name."""
        (self.directory / name).write_text(text, encoding="utf-8")
        return name

    def read(self, name: str) -> str:
        """The text of a file in the directory."""
        return (self.directory / name).read_text(encoding="utf-8")


def _path() -> str:
    return str(Path(__file__).parents[3] / "operator")


def set_text(
    requirements: Sequence[str],
    *,
    name: str = "ml",
    index: str | None = None,
    platforms: Sequence[str] = (),
    pools: Sequence[str] = (),
) -> str:
    """A set as YAML."""
    lines = [
        "apiVersion: flowdeps.dev/v1alpha1",
        "kind: FlowDependencySet",
        f"metadata: {{name: {name}, namespace: flows}}",
        "spec:",
        f"  requirements: {list(requirements)}",
        f'  python: {{version: "3.11", platforms: {list(platforms) or ["linux/amd64"]}}}',
        f"  workPools: [{', '.join(f'{{name: {pool}}}' for pool in pools)}]",
    ]
    return "\n".join([*lines, *([f"  index: {{url: '{index}'}}"] if index else []), ""])
