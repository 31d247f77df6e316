"""What the verifying container sees, and the script run in it.

The command is the one that the pod has, run through the shell.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowdeps.delivery.scripts import command
from flowdeps.locks.image import ImageFacts
from flowdeps.locks.inspection import parse_probe
from tests.unit.delivery.install_pod import Pod, unprivileged


@dataclass(frozen=True, kw_only=True)
class Verdict:
    code: int
    lines: list[str]

    @property
    def result(self) -> dict[str, Any]:
        mark, _, text = self.lines[-1].partition(" ")
        assert mark == "flowdeps-verify:"
        found: dict[str, Any] = json.loads(text)
        assert (self.code == 0) == found["ok"] == ("importSeconds" in found)
        found.pop("importSeconds", None)
        found.pop("installedSize", None)
        return found

    @property
    def seconds(self) -> float:
        """How long the imports took."""
        found: float = json.loads(self.lines[-1].partition(" ")[2])["importSeconds"]
        return found

    @property
    def installed(self) -> int:
        """How many bytes what was installed takes."""
        found: int = json.loads(self.lines[-1].partition(" ")[2])["installedSize"]
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

    def allow(self, *names: str) -> None:
        """Let packages go before others, by spec.shadow."""
        file = self.home / "lock.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "shadow": names}))

    def run(self, *, seconds: int = 60, **variables: Any) -> Verdict:
        given = {name: json.dumps(value) for name, value in variables.items()}
        *shell, script = command("verify")
        done = subprocess.run(
            [*unprivileged(), *shell, script.replace("LEAST_SECONDS = 10", "LEAST_SECONDS = 1")],
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
