"""The real helm, with places of its own, on charts/flowdeps."""

import copy
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from scripts.chart import CHART
from tests.cluster import binaries, tools

NAMESPACE = "flowdeps"
RELEASE = "flowdeps"
CASES = sorted((CHART / "ci").glob("*-values.yaml"))
NEEDED = {
    "prefect": {"apiUrl": "http://prefect.example.com:4200/api"},
    "image": {"repository": "registry.example.com/flowdeps"},
}

Values = Mapping[str, Any]
Objects = list[dict[str, Any]]


class HelmError(RuntimeError):
    """helm failed; the message is what it said."""


class Helm:
    """helm with its cache and configuration below `home`."""

    def __init__(self, home: Path) -> None:
        self._program = binaries.ensure(["helm"])["helm"]
        self._home = home
        self._made: dict[str, Objects] = {}

    def __call__(
        self, *arguments: str | Path, values: Values | None = None, kubeconfig: Path | None = None
    ) -> str:
        """helm's output; `values` are given as a file. Raises HelmError."""
        if values is not None:
            file = self._home / "values.yaml"
            file.write_text(json.dumps(dict(values), ensure_ascii=False))
            arguments = (*arguments, "--values", file)
        done = subprocess.run(
            [self._program, *arguments],
            env=tools.environment(
                {
                    **{f"HELM_{one}_HOME": str(self._home) for one in ("CACHE", "CONFIG", "DATA")},
                    "KUBECONFIG": str(kubeconfig or self._home / "none"),
                },
                without=("HELM_", "KUBE"),
            ),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            raise HelmError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def template(
        self, values: Values, *, release: str = RELEASE, namespace: str = NAMESPACE
    ) -> Objects:
        """What the chart makes of the values, rendered once."""
        key = json.dumps([values, release, namespace])
        if key not in self._made:
            text = self("template", release, CHART, "--namespace", namespace, values=values)
            # libyaml takes an eighth of the time, for hundreds of releases.
            self._made[key] = [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]
        return copy.deepcopy(self._made[key])


def needed(**more: Any) -> dict[str, Any]:
    """The values without which nothing can be installed, and more."""
    return {**NEEDED, **more}


def case(name: str) -> dict[str, Any]:
    """The values of ci/<name>-values.yaml."""
    values: dict[str, Any] = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text())
    return values


CLUSTER_WIDE = ",".join(
    kind for one in ("ClusterRole", "ValidatingAdmissionPolicy") for kind in (one, f"{one}Binding")
)
"""The kinds of rights that are no namespace's, for kubectl."""


def rights(objects: Objects) -> Objects:
    """The account, and what says what it may do."""
    kinds = ("ServiceAccount", "ClusterRole", "Role", "ValidatingAdmissionPolicy")
    return [one for one in objects if one["kind"].removesuffix("Binding") in kinds]


def of_kind(objects: Objects, kind: str) -> Objects:
    """The objects of one kind."""
    return [one for one in objects if one["kind"] == kind]


def one_of(objects: Objects, kind: str) -> dict[str, Any]:
    """The one object of a kind."""
    (found,) = of_kind(objects, kind)
    return found


def pod_of(objects: Objects) -> dict[str, Any]:
    """The pod template of the Deployment."""
    template: dict[str, Any] = one_of(objects, "Deployment")["spec"]["template"]
    return template


def config_of(objects: Objects) -> dict[str, Any]:
    """The operator's configuration, from the ConfigMap that its pod mounts."""
    pod = pod_of(objects)["spec"]
    names = {one["configMap"]["name"] for one in pod["volumes"] if "configMap" in one}
    maps = (o for o in of_kind(objects, "ConfigMap") if o["metadata"]["name"] in names)
    (found,) = (o for o in maps if "config.yaml" in o["data"])
    config: dict[str, Any] = yaml.safe_load(found["data"]["config.yaml"])
    return config
