"""What several folders of unit tests use, and what takes long to make."""

import shutil
import venv
from pathlib import Path

import pytest

from tests.cluster import tools


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories for PATH: an interpreter with nothing, with uv, and with pip."""
    root = tmp_path_factory.mktemp("images")
    venv.create(root / "bare", symlinks=True)
    venv.create(root / "pip", symlinks=True, with_pip=True)
    shutil.copytree(root / "bare", root / "uv", symlinks=True)
    (root / "uv/bin/uv").symlink_to(tools.uv())
    return {name: root / name / "bin" for name in ("bare", "pip", "uv")}
