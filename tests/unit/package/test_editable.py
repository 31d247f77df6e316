"""The checkout as an installed package."""

import subprocess
import sys
import zipfile
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_BUILD = """
import sys
from hatchling import build
print(build.build_editable(sys.argv[1]))
"""


def test_an_editable_install_is_a_path_and_needs_no_other_package(tmp_path: Path) -> None:
    """`pip install -e .` with what requirements/dev.txt has: the code is found in the checkout."""
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, tmp_path],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        (path,) = (name for name in wheel.namelist() if name.endswith(".pth"))
        assert wheel.read(path).decode().strip() == str(_ROOT / "operator")
        assert not any(name.endswith(".py") for name in wheel.namelist())
