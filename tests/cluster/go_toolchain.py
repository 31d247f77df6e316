"""Go: the machine's own where it is new enough, else the one of the package index."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster import cache, tools
from tests.cluster.progress import run_step, say

_MODULES = Path(__file__).with_name("go")
_LOCK = _MODULES / "toolchain.txt"


def find() -> Path:
    """A ``go`` that builds all our modules."""
    own = shutil.which("go")
    if own is not None and _version(Path(own)) >= _needed():
        return Path(own)
    if own is not None:
        say(f"{own} is older than Go {'.'.join(map(str, _needed()))}; taking the package index's")
    return cache.entry(f"go/{cache.digest(_LOCK)}", _install) / "go" / "bin" / "go"


def _needed() -> tuple[int, ...]:
    """The highest ``go`` line of our modules."""
    lines = [path.read_text() for path in _MODULES.glob("*/go.mod")]
    return max(
        _numbers(match[1]) for text in lines if (match := re.search(r"^go (\S+)$", text, re.M))
    )


def _version(go: Path) -> tuple[int, ...]:
    done = subprocess.run(
        [go, "env", "GOVERSION"],
        env=tools.environment({"GOTOOLCHAIN": "local"}),
        capture_output=True,
        text=True,
        check=False,
    )
    return _numbers(done.stdout)


def _numbers(text: str) -> tuple[int, ...]:
    match = re.search(r"\d+(\.\d+)*", text)
    return tuple(map(int, match[0].split("."))) if match else ()


def _install(into: Path) -> None:
    run_step(
        "installing the Go toolchain from the package index",
        [
            *(tools.uv(), "pip", "install", "--python", sys.executable, "--target", into),
            *("--require-hashes", "--requirement", _LOCK),
        ],
        log=cache.root() / "logs" / "go-toolchain.log",
        attempts=3,
        env=tools.environment(),
    )
