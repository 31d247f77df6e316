"""Environments with Prefect's server and Kubernetes worker, apart from ours, in the cache."""

import re
import subprocess
import sys
from functools import cache as memoized
from functools import partial
from pathlib import Path

from tests.cluster import cache, tools
from tests.cluster.progress import run_step

NEWEST = "prefect"
WORKERS = (NEWEST, "worker-middle", "worker-oldest")
"""The locks with a Kubernetes worker."""
_LOCKS = Path(__file__).parents[2] / "requirements"
_TEMPLATE = "kubernetes-template.json"
_DATABASE = "prefect.db"
_PRINT_TEMPLATE = """
import json
from prefect_kubernetes import KubernetesWorker
print(json.dumps(KubernetesWorker.get_default_base_job_template()))
"""


def bin_directory(lock: str = NEWEST) -> Path:
    """Where ``python`` and ``prefect`` of a lock are; installed where they are not there yet."""
    file = _LOCKS / f"{lock}.txt"
    return cache.entry(f"prefect/{_key(file)}", partial(_install, file)) / "bin"


def empty_database() -> Path:
    """A database of the newest server for others to copy: its migrations take ten seconds."""
    file = _LOCKS / f"{NEWEST}.txt"
    return cache.entry(f"prefect-database/{_key(file)}", _migrate) / _DATABASE


@memoized
def versions(lock: str = NEWEST) -> dict[str, str]:
    """What a lock pins, by name."""
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)", (_LOCKS / f"{lock}.txt").read_text(), re.MULTILINE)
    return dict(pins)


@memoized
def kubernetes_template(lock: str = NEWEST) -> str:
    """The base job template that a lock's worker ships, as JSON."""
    return (bin_directory(lock).parent / _TEMPLATE).read_text()


def _key(lock: Path) -> str:
    return cache.digest(lock, sys.version)


def _migrate(at: Path) -> None:
    settings = {
        "PREFECT_HOME": str(at / "home"),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{at / _DATABASE}",
    }
    run_step(
        "making a database for Prefect",
        [bin_directory() / "prefect", "server", "database", "upgrade", "-y"],
        log=cache.root() / "logs" / "prefect-database.log",
        env=tools.environment(settings, without=("PREFECT_", "PYTHON")),
    )


def _install(lock: Path, at: Path) -> None:
    log = cache.root() / "logs" / "prefect.log"
    environment = tools.environment(without=("PREFECT_", "PYTHON"))
    run_step(
        "making an environment for Prefect",
        [tools.uv(), "venv", "--allow-existing", "--no-project", "--python", sys.executable, at],
        log=log,
        env=environment,
    )
    run_step(
        "installing Prefect's server and worker",
        [
            *(tools.uv(), "pip", "install", "--python", at / "bin" / "python"),
            *("--require-hashes", "--compile-bytecode", "--requirement", lock),
        ],
        log=log,
        attempts=3,
        env=environment,
    )
    printed = subprocess.run(
        [at / "bin" / "python", "-c", _PRINT_TEMPLATE],
        env=environment | {"PREFECT_HOME": str(at / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    (at / _TEMPLATE).write_text(printed.stdout)
