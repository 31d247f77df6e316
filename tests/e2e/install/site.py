"""A cluster as its users have it: charts installed with helm, the operator in pods, a pool.

The release's namespace takes only pods that meet the restricted Pod Security Standard. Sets live in
``TEAM``, runs in ``JOBS``. The operator's image is what the Containerfile makes.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from scripts.chart import CHART
from tests.cluster import images, operator_image
from tests.cluster.dns import ClusterDns
from tests.cluster.index import Index
from tests.cluster.node import Node
from tests.cluster.prefect import KubernetesWorker, PrefectServer
from tests.cluster.prefect_api import FlowRun, PrefectApi
from tests.integration.chart.helm import NAMESPACE, RELEASE, Helm, Values
from tests.support import sets

PREVIOUS = Path(__file__).with_name("previous")
TEAM, JOBS, POOL = "team", "jobs", "installed"
_ADMITTED = {"config": {"workPools": [{"name": POOL, "namespaces": [TEAM]}]}}
SITE = "/opt/flowdeps/site"
SECONDS = 180.0  # for what takes a few seconds on a machine that has nothing else to do
_LOCKS = "app.kubernetes.io/managed-by=flowdeps"


@dataclass(frozen=True, kw_only=True)
class Site:
    """What tests act on; no release is installed at first, and `template` is the pool's by then."""

    node: Node
    server: PrefectServer
    api: PrefectApi
    index: Index
    helm: Helm
    deployment: str
    image: Path
    template: str

    @classmethod
    @contextmanager
    def open(cls, home: Path) -> Iterator[Self]:
        """Everything but the operator; ``home`` is helm's."""
        operator, flow = operator_image.archive(), images.flow()
        with ExitStack() as stack:
            node = stack.enter_context(Node(dns=True))
            stack.enter_context(ClusterDns(node, host=node.gateway))
            server = stack.enter_context(PrefectServer(host=node.gateway))
            node.load_image(flow)
            node.load_image(operator)
            for namespace in (NAMESPACE, TEAM, JOBS):
                node.kubectl("create", "namespace", namespace)
            label = "pod-security.kubernetes.io/enforce=restricted"
            node.kubectl("label", "namespace", NAMESPACE, label)
            api = stack.enter_context(server.api())
            api.create_pool(POOL, image=images.FLOW_UV, namespace=JOBS)
            kubeconfig = node.kubeconfig
            worker = KubernetesWorker(server, pool=POOL, kubeconfig=kubeconfig, namespaces=[JOBS])
            stack.enter_context(worker)
            yield cls(
                node=node,
                server=server,
                api=api,
                index=stack.enter_context(Index(host=node.gateway)),
                helm=Helm(home),
                deployment=api.deploy("installed", pool=POOL),
                image=operator,
                template=json.dumps(api.template(POOL)),
            )

    # The release

    @property
    def values(self) -> dict[str, Any]:
        """The two values without which nothing can be installed."""
        repository, _, _ = operator_image.NAME.rpartition(":")
        return {"prefect": {"apiUrl": self.server.url}, "image": {"repository": repository}}

    def install(self, *, chart: Path = CHART, **more: Any) -> None:
        """`helm upgrade --install`, until the operator is ready."""
        self.run_helm(
            *("upgrade", "--install", RELEASE, chart, "--wait", "--timeout", f"{SECONDS:.0f}s"),
            values={**self.values, **_ADMITTED, **more},
        )

    def run_helm(self, *arguments: str | Path, values: Values | None = None) -> str:
        """helm's output, for the release's namespace."""
        return self.helm(
            *arguments, "--namespace", NAMESPACE, values=values, kubeconfig=self.node.kubeconfig
        )

    def pods(self) -> list[dict[str, Any]]:
        """The operator's pods that are not ending."""
        selector = "app.kubernetes.io/component=operator"
        found = self._list("pods", "-n", NAMESPACE, "-l", selector)
        return [one for one in found if "deletionTimestamp" not in one["metadata"]]

    def complaints(self) -> list[str]:
        """What the operator logged as a warning or an error."""
        lines = self.node.kubectl("logs", f"deployment/{RELEASE}", "-n", NAMESPACE).splitlines()
        logged = [json.loads(line) for line in lines if line.startswith("{")]
        assert logged, "the operator logs nothing"
        return [json.dumps(one) for one in logged if one["level"] not in {"info", "debug"}]

    # Sets and runs

    def image_set(self, name: str, *requirements: str) -> sets.Body:
        """A set for the pool's image, from this site's index."""
        body = sets.set_body(name, requirements, namespace=TEAM, pools=[POOL])
        body["spec"] |= {"python": {"image": images.FLOW_UV}, "index": {"url": self.index.url}}
        return body

    def plain_set(self, name: str, *requirements: str, pools: tuple[str, ...] = ()) -> sets.Body:
        """A set for no image: quick, as nothing is tried."""
        body = sets.set_body(name, requirements, namespace=TEAM, pools=pools)
        body["spec"]["index"] = {"url": self.index.url}
        return body

    def offer(self, *bodies: sets.Body) -> None:
        """Apply sets and wait until all are Ready."""
        sets.apply(self.node, *bodies)
        for body in bodies:
            sets.wait_ready(self.node, body["metadata"]["name"], namespace=TEAM, seconds=SECONDS)

    def start(self, choice: str, *packages: str) -> FlowRun:
        """A run of the pool that chooses a set."""
        variables = {"dependency_set": choice}
        return self.api.start_run(self.deployment, packages=packages, job_variables=variables)

    def seen(self, run: FlowRun) -> Mapping[str, Any]:
        """What a run that must succeed saw."""
        ended = self.api.wait(run, seconds=SECONDS)
        assert ended.state == "COMPLETED", "\n".join(self.api.logs(run))
        return self.api.probe_result(run, seconds=60)

    # What the operator has made

    def made(self) -> dict[str, str]:
        """Uid and resourceVersion of all that was made for sets, by kind, namespace and name."""
        return {
            f"{one['kind']} {one['metadata']['namespace']}/{one['metadata']['name']}": (
                f"{one['metadata']['uid']} {one['metadata']['resourceVersion']}"
            )
            for one in self._list("configmaps,secrets,pods", "-A", "-l", _LOCKS)
            if one["metadata"]["namespace"] in {TEAM, JOBS}
        }

    def pool(self) -> tuple[str, str]:
        """The pool's template to the letter, and when Prefect was last told to change the pool."""
        found = self.api.call("GET", f"/work_pools/{POOL}")
        return json.dumps(found["base_job_template"]), found["updated"]

    def ready_since(self, *names: str) -> list[tuple[str, str]]:
        """Whether sets are Ready, and since when."""
        conditions = [
            sets.condition(sets.get_set(self.node, name, namespace=TEAM), "Ready") for name in names
        ]
        return [(one["status"], one["lastTransitionTime"]) for one in conditions]

    def _list(self, *what: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.node.kubectl("get", *what, "-o", "json"))[
            "items"
        ]
        return found
