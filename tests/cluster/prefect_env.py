"""An environment with Prefect's server and Kubernetes worker, apart from ours, in the cache."""

import subprocess
import sys
from functools import cache as memoized
from pathlib import Path

from tests.cluster import cache, tools
from tests.cluster.progress import run_step

LOCK = Path(__file__).parents[2] / "requirements" / "prefect.txt"
_TEMPLATE = "kubernetes-template.json"
_PRINT_TEMPLATE = """
import json
from prefect_kubernetes import KubernetesWorker
print(json.dumps(KubernetesWorker.get_default_base_job_template()))
"""


def bin_directory() -> Path:
    """Where its ``python`` and ``prefect`` are; installed where it is not there yet."""
    key = cache.digest(LOCK, sys.version)
    return cache.entry(f"prefect/{key}", _install) / "bin"


@memoized
def kubernetes_template() -> str:
    """The base job template that this worker ships, as JSON."""
    return (bin_directory().parent / _TEMPLATE).read_text()


def _install(at: Path) -> None:
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
            *("--require-hashes", "--compile-bytecode", "--requirement", LOCK),
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
