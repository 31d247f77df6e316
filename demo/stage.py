"""Where the demo plays: a cluster, Prefect, and what brings runs about; and the operator on it."""

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import yaml

from demo import screen
from tests.cluster import ports, prefect_env, tools
from tests.cluster.index import Index
from tests.cluster.lifecycle import Service
from tests.cluster.prefect import KubernetesWorker, PrefectServer
from tests.cluster.prefect_api import PrefectApi

ROOT = Path(__file__).parents[1]
CRDS = ROOT / "crds"
SET = ROOT / "examples" / "demo.yaml"
FLOW = Path(__file__).with_name("flow.py")

NAMESPACE = "flowdeps-demo"
POOL = "flowdeps-demo"
PACKAGE = "emoji"
FLOWS = "/opt/demo"
_READY_SECONDS = 240.0


class DemoError(RuntimeError):
    """Why the demo can't go on, and what to do about it."""


class Stage(ABC):
    """A cluster with Prefect. ``python`` is the minor version to lock for where no pod can look at
    the image."""

    kubeconfig: Path
    kubectl_program: Path
    prefect: PrefectServer
    image: str
    python: str | None = None
    index: str | None = None
    run_seconds = 180.0
    outlives_demo = False
    """Whether the cluster and Prefect were there before: what the demo made has to go."""
    news: Callable[[], str] | None = None
    """What else is under way, as a line for the audience."""
    can_mount = False
    """Whether runs may have environments."""
    environments: Mapping[str, Any] | None = None
    """What the operator is told of environments; None: there are none yet."""
    same_image = ""
    """Another name of the image, for which there is no environment."""
    flows = FLOWS  # the directory of the flow's file, as who runs it sees it

    def __init__(self, directory: Path, *, keep: bool) -> None:
        self._directory = directory
        self.keep = keep
        self.services: list[Service] = []

    # What differs

    @abstractmethod
    def open(self, stack: ExitStack) -> None:
        """Start or find the cluster and Prefect."""

    def start_worker(self, stack: ExitStack) -> None:
        """Start what takes runs from the pool."""
        worker = KubernetesWorker(
            self.prefect,
            pool=POOL,
            kubeconfig=self.kubeconfig,
            namespaces=[NAMESPACE],
            directory=self.at("worker"),
            detached=self.keep,
        )
        self.enter(stack, worker)

    def choose_index(self, stack: ExitStack) -> None:  # noqa: B027
        """Find the package index for this stage; none: uv's default."""

    def prepare_environments(self, stack: ExitStack) -> None:  # noqa: B027
        """Bring what environments need, where the stage ``can_mount``."""

    def carry_out(self, run: str, *, key: str) -> None:  # noqa: B027
        """Do a run's work, where no worker does."""

    # What they share

    def enter(self, stack: ExitStack, service: Service) -> None:
        """Start a service that ends with the demo, or with ``make demo-end``."""
        stack.enter_context(service)
        self.services.append(service)

    def at(self, name: str) -> Path | None:
        """The directory of a service that is to be kept; none for one that ends with us."""
        return self._directory / name if self.keep else None

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        done = subprocess.run(
            [self.kubectl_program, "--kubeconfig", self.kubeconfig, *arguments],
            input=input,
            env=tools.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise DemoError(f"kubectl {' '.join(arguments)}:\n{done.stderr.strip()}")
        return done.stdout

    def show(self, *arguments: str, input: str | None = None) -> None:  # noqa: A002
        """Run kubectl for the audience."""
        words = (f"'{word}'" if set(word) & set(" {}|") else word for word in arguments)
        screen.command(f"kubectl {' '.join(words)}")
        screen.output(self.kubectl(*arguments, input=input))

    def heading(self, text: str) -> None:
        """Begin a part of the story."""
        screen.heading(text)
        if self.news:
            screen.say(self.news())

    def lock(self) -> str:
        """What `flowdeps lock` makes of the set."""
        done = subprocess.run(
            [sys.executable, "-m", "flowdeps", "lock", "-"],
            input=json.dumps(self.set_body()),
            env=tools.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise DemoError(f"flowdeps lock:\n{done.stderr.strip()}")
        return done.stdout

    def api(self) -> PrefectApi:
        return self.prefect.api()

    def template(self) -> dict[str, Any]:
        """The worker's own base job template, with our image and the flow's file mounted."""
        template: dict[str, Any] = json.loads(prefect_env.kubernetes_template())
        properties = template["variables"]["properties"]
        for name, value in self.defaults().items():
            properties[name] = {**properties[name], "default": value}
        pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
        pod["volumes"] = [{"name": "flow", "configMap": {"name": "flow"}}]
        pod["containers"][0]["volumeMounts"] = [{"name": "flow", "mountPath": FLOWS}]
        return template

    def defaults(self) -> dict[str, Any]:
        return {
            "image": self.image,
            "namespace": NAMESPACE,
            "image_pull_policy": "IfNotPresent",
            "finished_job_ttl": 600,
        }

    def set_body(self) -> dict[str, Any]:
        """The example, for this stage's Python."""
        body: dict[str, Any] = yaml.safe_load(SET.read_text())
        if self.python:
            body["spec"]["python"] = {"version": self.python}
        return body


class Operator(Service):
    """``flowdeps run`` as a process on this machine."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(directory=stage.at("operator"), detached=stage.keep)
        self._stage = stage
        self.port = 0

    def prepare(self) -> None:
        """Nothing: it is installed."""

    def _start(self) -> None:
        self.port = ports.free(ports.ANYWHERE)
        config = self.run.directory / "config.yaml"
        config.write_text(yaml.safe_dump(self.config()))
        variables = {
            "KUBECONFIG": str(self._stage.kubeconfig),
            "PREFECT_HOME": str(self.run.directory / "home"),
        }
        process = self._launch(
            "operator",
            [
                *(sys.executable, "-m", "flowdeps", "run"),
                *("--config", config, "--log-format", "text"),
            ],
            env=self._stage.prefect.environment | variables,
        )
        process.wait_until(self._ready, what="the operator", seconds=_READY_SECONDS)

    def restart(self) -> None:
        """Start again with what the stage has now; the Lease is given back, so nothing waits."""
        for process in self._processes:
            process.stop()
        self._processes.clear()
        self._start()

    def config(self) -> Mapping[str, Any]:
        index = {"index": {"url": self._stage.index}} if self._stage.index else {}
        made = self._stage.environments
        return {
            "prefect": {"apiUrl": self._stage.prefect.url},
            "watchNamespaces": [NAMESPACE],
            "owner": "flowdeps-demo/demo",
            "httpPort": self.port,
            **index,
            **({"environments": made} if made else {}),
        }

    def _ready(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port}/readyz"
            return httpx.get(url, timeout=5, trust_env=False).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def reaches_default_index(probe: list[str | Path]) -> bool:
    """Whether uv, told nothing, resolves our package; ``probe`` runs a shell command's text."""
    path = f"{tools.uv().parent}:{os.environ['PATH']}"
    script = (
        f"echo {PACKAGE} | UV_HTTP_RETRIES=1 UV_HTTP_TIMEOUT=10"
        " uv pip compile --no-config --no-cache --quiet -"
    )
    environment = tools.environment({"PATH": path}, without=("UV_", "PIP_"))
    done = subprocess.run([*probe, script], env=environment, capture_output=True, check=False)
    return done.returncode == 0


def made_index(stack: ExitStack, *, host: str) -> str:
    """An index on this machine with stand-ins for our package; its URL."""
    screen.say(
        "Runs can't reach the default package index, so they install from an index that the demo "
        "made."
    )
    index = stack.enter_context(Index(host=host))
    for version in ("2.10.0", "2.14.0"):
        index.add(PACKAGE, version)
    return index.url
