"""Prefect's own Kubernetes worker, which makes a run's job manifest of a template.

Its code runs in a process of its own: nothing of it may be imported here.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster import tools

_WORKER = """
import asyncio, json, sys
from types import SimpleNamespace
from uuid import UUID
from prefect.client.schemas.objects import FlowRun
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

# The worker's own settings, which no template changes and which take most of the time.
_environment = KubernetesWorkerJobConfiguration._base_environment()
KubernetesWorkerJobConfiguration._base_environment = staticmethod(lambda: dict(_environment))
run = FlowRun(id=UUID(int=1), name="a-run", flow_id=UUID(int=2))

class Api:
    # Prefect's variables, as its API gives them.
    variables = {
        "text": "httpx rich", "list": ["httpx>=0.27", "x; a == 'b'"], "null": None,
        "mapping": {"A": "1"}, "entries": [{"name": "A", "value": "1"}],
        "one": "rich", "set": "ml", "revision": "3f9a1c20de",
    }

    async def read_variable_by_name(self, name):
        return SimpleNamespace(value=self.variables[name]) if name in self.variables else None

async def manifest(template, variables):
    configuration = await KubernetesWorkerJobConfiguration.from_template_and_values(
        base_job_template=template, values=variables, client=Api()
    )
    configuration.prepare_for_flow_run(run)
    return configuration.job_manifest

def rendered(template, variables):
    try:
        return asyncio.run(manifest(template, variables))
    except Exception as error:
        return f"{type(error).__name__}: {error}"

for line in sys.stdin:
    print(json.dumps([rendered(*one) for one in json.loads(line)]), flush=True)
"""


class Worker:
    """Templates in, manifests out, a line each."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def rendered(self, *given: tuple[Any, dict[str, Any]]) -> list[Any]:
        """The job manifest of a run for each template with its job variables, or an error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(given) + "\n")
        self._process.stdin.flush()
        found: list[Any] = json.loads(self._process.stdout.readline())
        return found

    def manifests(self, *given: tuple[Any, dict[str, Any]]) -> list[Any]:
        """The job manifest of a run for each template with its job variables."""
        found = self.rendered(*given)
        assert not [one for one in found if isinstance(one, str)], found
        return found


@contextmanager
def running(python: Path) -> Iterator[Worker]:
    """The worker that this interpreter has installed."""
    variables = {
        "PREFECT_HOME": "/nonexistent/flowdeps",
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "DO_NOT_TRACK": "1",
    }
    with subprocess.Popen(
        [python, "-c", _WORKER],
        env=tools.environment(variables, without=("PREFECT_", "PYTHON")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Worker(process)
