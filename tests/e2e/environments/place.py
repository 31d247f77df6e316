"""What tests of environments act on: a site whose sets have environments, and their registry."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowdeps.api.names import (
    API_VERSION,
    ENVIRONMENTS,
    ENVIRONMENTS_PLURAL,
    INSTALL_CONTAINER,
    SITE_VOLUME,
)
from flowdeps.reconcile.runs_namespace.lines import Told, told_by
from tests.cluster import images
from tests.cluster.prefect_api import FlowRun
from tests.cluster.registry import Registry
from tests.e2e.install.site import JOBS, POOL, SECONDS, TEAM, Site
from tests.integration.chart.helm import NAMESPACE
from tests.support import sets

USER = 1_000_650_000
"""The user of runs, which is in no image's list of users."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A site and its registry."""

    site: Site
    registry: Registry

    def install(self, *, images: bool = False, **pool: Any) -> None:
        """Install or upgrade a release with environments, and derived images if asked for; `pool`
        says more of the work pool."""
        repository = f"{self.registry.address}/flowdeps"
        config = {
            "images": {"recheck": "1m"},
            "workPools": [{"name": POOL, "namespaces": [TEAM], **pool}],
            "environments": {"repository": repository, "plainHttp": True, "images": images},
        }
        self.site.install(config=config)

    def offer(self, name: str, *requirements: str) -> Mapping[str, Any]:
        """Apply a set, wait until runs of the pool are given its environment, and return that."""
        self.site.offer(self.site.image_set(name, *requirements))
        self.wait_delivery(name, "Image")
        found: Mapping[str, Any] = self.status(name)["environment"]
        return found

    def restart_operator(self) -> None:
        """Take the operator's pod away."""
        selector = "app.kubernetes.io/component=operator"
        self.site.node.kubectl("delete", "pods", "-n", NAMESPACE, "-l", selector)

    def wait_delivery(self, name: str, way: str, *, seconds: float = SECONDS) -> None:
        """Wait until the pool's runs get the set in this way."""
        sets.wait(
            lambda: self.delivery(name) == way,
            what=f"{name} to be delivered by {way}",
            show=lambda: self.told(name),
            seconds=seconds,
        )

    def delivery(self, name: str) -> str | None:
        """How the pool's runs get the set."""
        pools = self.status(name).get("workPools", [])
        return next((one.get("delivery") for one in pools if one["name"] == POOL), None)

    def told(self, name: str) -> str:
        """What the set says of its environment."""
        return json.dumps(sets.condition(self.body(name), "Built"))

    def status(self, name: str) -> Mapping[str, Any]:
        """The set's status."""
        found: Mapping[str, Any] = self.body(name).get("status", {})
        return found

    def body(self, name: str) -> sets.Body:
        """The set as it is."""
        return sets.get_set(self.site.node, name, namespace=TEAM)

    def lines(self) -> Mapping[str, Told]:
        """What the policy goes by in the namespace of runs."""
        path = f"/apis/{API_VERSION}/namespaces/{JOBS}/{ENVIRONMENTS_PLURAL}/{ENVIRONMENTS}"
        found = sets.read(self.site.node, path)
        return told_by(found) if found else {}

    def start(
        self, choice: str, *packages: str, image: str = images.FLOW_UV, extras: str | None = None
    ) -> FlowRun:
        """A run of the pool that chooses a set."""
        variables = {"dependency_set": choice, "image": image}
        if extras is not None:
            variables["extra_py_deps"] = extras
        return self.site.api.start_run(
            self.site.deployment, packages=packages, job_variables=variables
        )

    def copy(self, run: FlowRun, name: str, *command: str) -> None:
        """One more pod like that of a run that has ended, with another command; what the policy
        has made of that one is in it."""
        pod = json.loads(json.dumps(self.pod(run)))
        spec = {key: value for key, value in pod["spec"].items() if key != "nodeName"}
        spec["containers"][0] |= {"command": list(command), "args": []}
        labels = {"app": name}
        body = {"apiVersion": "v1", "kind": "Pod", "spec": spec}
        sets.apply(
            self.site.node,
            {**body, "metadata": {"name": name, "namespace": JOBS, "labels": labels}},
        )

    def wait_pod(self, name: str, phase: str) -> None:
        """Wait until a pod of the namespace of runs is in a phase."""
        path = f"/api/v1/namespaces/{JOBS}/pods/{name}"
        sets.wait(
            lambda: (sets.read(self.site.node, path) or {}).get("status", {}).get("phase") == phase,
            what=f"{name} to be {phase}",
            show=lambda: self.site.node.kubectl("describe", "pod", name, "-n", JOBS),
            seconds=SECONDS,
        )

    def pod(self, run: FlowRun) -> Mapping[str, Any]:
        """The pod of a run that has ended."""
        text = self.site.node.kubectl(
            *("get", "pods", "-n", JOBS, "-o", "json"),
            *("-l", f"prefect.io/flow-run-id={run.id}"),
        )
        pods: list[Mapping[str, Any]] = json.loads(text)["items"]
        [found] = pods
        return found


def confined(template: dict[str, Any]) -> dict[str, Any]:
    """The template with what a restricted namespace demands, and a user as OpenShift gives it."""
    spec = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    profile = {"seccompProfile": {"type": "RuntimeDefault"}, "fsGroup": USER}
    spec["securityContext"] = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": 0, **profile}
    dropped = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    spec["containers"][0] |= {"securityContext": dropped, "workingDir": "/tmp"}
    home = {"HOME": "/tmp", "USER": "flow"}
    template["variables"]["properties"]["env"]["default"] = home
    return template


def installs(pod: Mapping[str, Any]) -> bool:
    """Whether a pod has the install container."""
    return INSTALL_CONTAINER in {one["name"] for one in pod["spec"].get("initContainers", [])}


def mounts(pod: Mapping[str, Any]) -> str | None:
    """The reference that a pod mounts in place of an installation; None where it installs."""
    spec = pod["spec"]
    [volume] = [one for one in spec["volumes"] if one["name"] == SITE_VOLUME]
    assert installs(pod) == ("emptyDir" in volume), "neither installs nor mounts"
    return None if installs(pod) else str(volume["image"]["reference"])
