"""A pool with all that stands around it: a node, Prefect, a worker, an index and the operator.

Sets live in the namespace ``TEAM``, the pool's runs in ``JOBS``, so every lock that a run sees was
carried to another namespace; ``OTHER_JOBS`` is one more for runs that say so, and ``RESTRICTED``
takes only pods that meet the restricted Pod Security Standard. The pool ``PLAIN`` has no worker and
lets no run have extras; ``CACHED`` has none either, and its runs keep what they install on a claim.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowdeps.api.names import mounted_name
from tests.cluster import images
from tests.cluster.index import Index
from tests.cluster.node import Node
from tests.cluster.prefect_api import FlowRun, PrefectApi
from tests.support import sets
from tests.support.operator import Operator

POOL = "e2e"
PLAIN = "e2e-plain"
CACHED = "e2e-cached"
CACHE = "flowdeps-cache"
TEAM = "e2e-team"
JOBS = "e2e-jobs"
OTHER_JOBS = "e2e-other-jobs"
RESTRICTED = "e2e-restricted"
SITE = "/opt/flowdeps/site"
SECONDS = 180.0  # for what takes a few seconds on a machine that has nothing else to do

Seen = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What tests act on; the worker runs without them."""

    node: Node
    api: PrefectApi
    index: Index
    operator: Operator
    deployment: str

    def offer(self, *bodies: sets.Body) -> None:
        """Apply sets and wait until all are Ready."""
        sets.apply(self.node, *bodies)
        for body in bodies:
            name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
            sets.wait_ready(self.node, name, namespace=namespace, seconds=SECONDS)

    def remove_sets(self) -> None:
        """Delete all sets and wait until they are gone, so nothing of them is left in the pool."""
        self.node.kubectl("delete", "fds", "-n", TEAM, "--all", f"--timeout={SECONDS:.0f}s")

    def let_go(self) -> None:
        """Delete all sets, and begin anew: many changes in a row are a burst to the operator, which
        writes a template ever more rarely then; one that was restarted knows of none."""
        self.operator.down()
        self.node.kubectl("delete", "fds", "-n", TEAM, "--all", "--wait=false")
        self.operator.up()

    def digest(self, name: str) -> str:
        """The digest of the lock that a set's status claims to serve."""
        found: str = sets.get_set(self.node, name, namespace=TEAM)["status"]["lock"]["digest"]
        return found

    def start(
        self,
        *packages: str,
        choice: str | None = None,
        image: str = images.FLOW_UV,
        namespace: str | None = None,
        extras: str | None = None,
    ) -> FlowRun:
        """A run of the probe flow; without ``choice`` it does not name a set at all."""
        variables = {"image": image, "dependency_set": choice, "namespace": namespace}
        variables["extra_py_deps"] = extras
        return self.api.start_run(
            self.deployment,
            packages=packages,
            job_variables={name: value for name, value in variables.items() if value is not None},
        )

    def seen(self, run: FlowRun) -> Seen:
        """What a run that must succeed saw."""
        ended = self.api.wait(run, seconds=SECONDS)
        assert ended.state == "COMPLETED", "\n".join(self.api.logs(run))
        return self.api.probe_result(run, seconds=60)

    def lock(self, name: str, *, namespace: str = JOBS) -> str:
        """The lock that runs mount."""
        mounted = mounted_name(name, pool=POOL)
        body = sets.get(self.node, "cm", mounted, namespace=namespace)
        found: str = body["data"]["requirements.txt"]
        return found

    def own_lines(self, run: FlowRun) -> list[str]:
        """Our lines in a run's log in Prefect; they arrive a little after its final state."""
        deadline = time.monotonic() + 120
        while True:
            lines = [line for line in self.api.logs(run) if line.startswith("flowdeps:")]
            if lines or time.monotonic() > deadline:
                return lines
            time.sleep(0.3)

    def install_log(self, run: FlowRun, *, namespace: str = JOBS) -> str:
        """What our container in a run's pod printed."""
        name = self.pod(run, namespace=namespace)["metadata"]["name"]
        return self.node.kubectl("logs", name, "-c", "flowdeps-install", "-n", namespace)

    def pod(self, run: FlowRun, *, namespace: str) -> Any:
        """The run's pod as the API server has it."""
        text = self.node.kubectl(
            *("get", "pods", "-n", namespace, "-o", "json"),
            *("-l", f"prefect.io/flow-run-id={run.id}"),
        )
        [found] = json.loads(text)["items"]
        return found


def team_set(name: str, requirements: list[str], **spec: Any) -> sets.Body:
    """A set of the team, offered to the pool."""
    spec = {"pools": [POOL], **spec}
    return sets.set_body(name, requirements, namespace=TEAM, **spec)


def image_set(
    name: str, requirements: list[str], *, image: str = images.FLOW_UV, **spec: Any
) -> sets.Body:
    """A set of the team on top of an image."""
    body = team_set(name, requirements, **spec)
    body["spec"]["python"] = {"image": image}
    return body
