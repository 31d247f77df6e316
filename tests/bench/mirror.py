"""The packages that are installed, from an index on this machine: no network is part of a figure.

They are downloaded once, into the cache, at versions that fit the flow images: an installation
beside those brings no other version of what is there.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cache, rootfs, tools
from tests.cluster.index import Index
from tests.cluster.progress import run_step

_PIN = re.compile(r"^[a-z0-9][a-z0-9._-]*==[^ \\;]+", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Packages:
    """What a set asks for, and what its runs import."""

    title: str
    requirements: Sequence[str]
    modules: Sequence[str]


SMALL, DATA, HUNDRED = "small", "data", "hundred"
SETS: Mapping[str, Packages] = {
    SMALL: Packages(
        title="more-itertools, pure Python",
        requirements=("more-itertools==10.8.0",),
        modules=("more_itertools",),
    ),
    DATA: Packages(
        title="pandas, pyarrow and httpx",
        requirements=("pandas==2.3.3", "pyarrow==21.0.0", "httpx"),
        modules=("pandas", "pyarrow", "httpx"),
    ),
    HUNDRED: Packages(
        title="about 100 pins",
        requirements=(
            *("pandas==2.3.3", "pyarrow==21.0.0", "scikit-learn", "matplotlib", "seaborn"),
            *("statsmodels", "boto3", "dask[complete]", "s3fs", "gcsfs", "duckdb", "polars"),
            *("nltk", "openpyxl", "xlsxwriter", "lxml", "beautifulsoup4", "google-cloud-storage"),
            *("google-cloud-bigquery", "azure-identity", "azure-storage-blob", "psycopg2-binary"),
            *("pymongo", "paramiko", "tabulate", "tqdm", "networkx", "sympy", "more-itertools"),
        ),
        modules=("pandas", "pyarrow", "sklearn", "boto3", "dask", "sqlalchemy"),
    ),
}
"""By the names of the sets."""


def fill(index: Index, names: Sequence[str] = tuple(SETS)) -> None:
    """Put the packages of sets, and all that they need, into an index."""
    for path in {path.name: path for name in names for path in wheels(name)}.values():
        index.add_wheel(path)


def wheels(name: str) -> list[Path]:
    """The wheels of a set, and of all that they need."""
    packages = SETS[name]
    key = cache.digest(*packages.requirements, rootfs.PYTHON, rootfs.LOCK)
    found = cache.entry(f"bench/wheels-{key}", lambda at: _download(packages, at))
    return sorted(found.glob("*.whl"))


def _download(packages: Packages, at: Path) -> None:
    wanted, image, pins = (at / name for name in ("wanted.txt", "image.txt", "pins.txt"))
    wanted.write_text("\n".join(packages.requirements))
    image.write_text("\n".join(_PIN.findall(rootfs.LOCK.read_text())))
    lock = ("pip", "compile", "--quiet", "--constraints", image, "--output-file", pins, wanted)
    pip = ("tool", "run", "--python", sys.executable, "pip", "download", "--no-deps")
    steps = {"locking": lock, "downloading": (*pip, "--dest", at, "--requirement", pins)}
    for title, command in steps.items():
        run_step(
            f"{title} {packages.title}",
            [
                *(tools.uv(), *command),
                *("--only-binary", ":all:", "--python-version", rootfs.PYTHON),
            ],
            log=cache.root() / "logs" / f"bench-{title}.log",
            attempts=3,
            env=tools.environment(without=("PYTHON",)),
        )
