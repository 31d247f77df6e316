"""The packages that are installed, from an index on this machine: no network is part of a figure.

pip downloads them once, as it would for anybody, into the cache.
"""

import sys
from pathlib import Path

from tests.cluster import cache, rootfs, tools
from tests.cluster.index import Index
from tests.cluster.progress import run_step

PACKAGES = ("pandas==2.3.3", "pyarrow==21.0.0")


def fill(index: Index) -> None:
    """Put the packages, and all that they need, into an index."""
    for path in sorted(_wheels().glob("*.whl")):
        index.add_wheel(path)


def _wheels() -> Path:
    key = cache.digest(*PACKAGES, rootfs.PYTHON)
    return cache.entry(f"bench/wheels-{key}", _download)


def _download(at: Path) -> None:
    run_step(
        f"downloading {' '.join(PACKAGES)}",
        [
            *(tools.uv(), "tool", "run", "--python", sys.executable, "pip", "download"),
            *("--only-binary", ":all:", "--python-version", rootfs.PYTHON, "--dest", at),
            *PACKAGES,
        ],
        log=cache.root() / "logs" / "bench-wheels.log",
        attempts=3,
        env=tools.environment(without=("PYTHON",)),
    )
