"""The programs that the harness runs, found where they are rather than where we wish them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class MissingToolError(RuntimeError):
    """A program that cannot be had here, and what to do about it."""


def uv() -> Path:
    """uv, beside the interpreter (it is a dependency of the project) or on PATH."""
    beside = Path(sys.executable).with_name("uv")
    if beside.exists():
        return beside
    found = shutil.which("uv")
    if found is None:
        raise MissingToolError("uv is missing: install the project into this environment first")
    return Path(found)


def environment(
    extra: Mapping[str, str] | None = None, *, without: tuple[str, ...] = ()
) -> dict[str, str]:
    """Our environment for a child, without what would change its meaning.

    ``without`` names prefixes of variables to leave out, such as ``("PIP_", "UV_")``.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(without)}
    kept.pop("VIRTUAL_ENV", None)
    return kept | dict(extra or {})


def succeeds(command: Sequence[str | Path]) -> bool:
    """Whether a command ends well; what it says is of no interest."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
