"""Argo CD's own Lua interpreter (gopher-lua), built once and kept in the cache."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.cluster import cache, go_toolchain, tools
from tests.cluster.progress import run_step

_SOURCES = Path(__file__).with_name("interpreter")
_NAME = "lua"


class LuaError(RuntimeError):
    """A script failed; the message is the interpreter's."""


def run(script: str, obj: Mapping[str, Any]) -> Any:
    """What the script returns for a resource. Raises LuaError."""
    done = subprocess.run(
        [_program()],
        input=json.dumps({"script": script, "obj": obj}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode != 0:
        raise LuaError(done.stderr.strip())
    return json.loads(done.stdout)


def _program() -> Path:
    key = cache.digest(*sorted(path for path in _SOURCES.iterdir() if path.is_file()))
    return cache.entry(f"bin/{_NAME}-{key}", lambda at: _build(at / _NAME)) / _NAME


def _build(output: Path) -> None:
    run_step(
        "building Argo CD's Lua interpreter",
        [go_toolchain.find(), "build", "-trimpath", "-o", output, "."],
        log=cache.root() / "logs" / "build-lua.log",
        cwd=_SOURCES,
        attempts=3,
        env=tools.environment(
            {
                "CGO_ENABLED": "0",
                "GOFLAGS": "-mod=readonly -buildvcs=false",
                "GOTOOLCHAIN": "local",
                "GOWORK": "off",
            }
        ),
    )
