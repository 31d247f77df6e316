"""Everything that the chart renders is accepted by a real API server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings

from flowdeps.api.config import Config, parse_config
from scripts.chart import CHART, ROOT
from tests.cluster.controlplane import ControlPlane
from tests.integration.chart.drawn import drawn_values
from tests.integration.chart.helm import (
    CASES,
    NAMESPACE,
    Helm,
    Objects,
    config_of,
    needed,
    one_of,
    pod_of,
)
from tests.integration.chart.server import Refused, Server, monitoring
from tests.support.night import examples
from tests.support.sets import apply, names, wait
from tests.unit.delivery.test_pods import probe, verify

pytestmark = pytest.mark.cluster

_NAMESPACES = (NAMESPACE, "flows", "jobs", "team-a")
_RESTRICTED = [
    f"pod-security.kubernetes.io/{part}"
    for part in ("enforce=restricted", "enforce-version=latest")
]
_SCHEMA = json.loads((CHART / "values.schema.json").read_text())


@pytest.fixture(scope="module")
def server(cluster: ControlPlane) -> Iterator[Server]:
    """The API server, with the namespaces of the cases and the Prometheus Operator's resources."""
    missing = set(_NAMESPACES) - names(cluster, "ns")
    apply(cluster, *monitoring(), *(_namespace(name) for name in missing))
    cluster.kubectl("label", "namespace", NAMESPACE, *_RESTRICTED, "--overwrite")
    for one in monitoring():
        name = one["metadata"]["name"]
        cluster.kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=30s")
    wait(
        lambda: (
            cluster.kubectl("get", "sa", "-A", "-o", "name").count("/default")
            >= len(names(cluster, "ns"))
        ),
        what="the default service accounts",
    )
    with Server.of(cluster) as server:
        yield server
    cluster.kubectl("delete", "crd", *(one["metadata"]["name"] for one in monitoring()))
    cluster.kubectl("delete", "namespace", *missing)


def _pods(objects: Objects) -> Iterator[dict[str, Any]]:
    """What the Deployment and the Jobs make."""
    for one in objects:
        if one["kind"] in {"Deployment", "Job"}:
            template = one["spec"]["template"]
            metadata = {**template["metadata"], "name": "one", "namespace": NAMESPACE}
            yield {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": metadata,
                "spec": template["spec"],
            }


def _trials(config: Config) -> list[dict[str, Any]]:
    """The pods that look at an image and try a lock, as they are configured."""
    return [make(namespace=NAMESPACE, settings=config.pods) for make in (probe, verify)]


def test_pods_that_are_not_restricted_are_refused(helm: Helm, server: Server) -> None:
    """The check itself: a pod that may become root is not let in."""
    [pod] = _pods(helm.template(needed(securityContext={"allowPrivilegeEscalation": True})))
    with pytest.raises(Refused, match="restricted"):
        server.accept(pod)


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_what_is_rendered_is_accepted(path: Path, helm: Helm, server: Server) -> None:
    """Each object of each of the values in ci/, the pod of `helm test` too."""
    for one in helm.template(yaml.safe_load(path.read_text())):
        server.accept(one)


def test_the_documented_roles_are_accepted(server: Server) -> None:
    """docs/rbac.yaml, which test_render.py holds to grant what the chart does."""
    for one in yaml.safe_load_all((ROOT / "docs" / "rbac.yaml").read_text()):
        server.accept(one)


def test_a_pod_monitor_is_accepted(helm: Helm, server: Server) -> None:
    """The other way to fetch metrics."""
    objects = helm.template(needed(metrics={"podMonitor": {"enabled": True}}))
    server.accept(one_of(objects, "PodMonitor"))


def test_unknown_fields_are_refused(helm: Helm, server: Server) -> None:
    """The check itself: a misspelt field of a built-in or a custom resource is found."""
    objects = helm.template(needed(metrics={"podMonitor": {"enabled": True}}))
    for kind in ("Deployment", "PodMonitor"):
        one = one_of(objects, kind)
        one["spec"]["selektor"] = one["spec"].pop("selector")
        with pytest.raises(Refused, match="selektor"):
            server.accept(one)


@given(values=drawn_values(_SCHEMA))
@settings(
    max_examples=examples(50, share=0.015),
    # Each example takes a second: what is refused is named, and need not be made small.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_all_values_that_the_schema_allows_can_be_installed(
    values: dict[str, Any], helm: Helm, server: Server
) -> None:
    """Whatever values the schema allows: helm renders them, the API server accepts each object, the
    operator accepts its configuration, and the Deployment selects its pod. Each pod, also those
    that look at images and try locks, is let in where Pod Security `restricted` is enforced."""
    objects = helm.template(values)
    for one in objects:
        server.accept(one)
    config = parse_config(config_of(objects))
    for one in [*_pods(objects), *_trials(config)]:
        server.accept(one)
    deployment = one_of(objects, "Deployment")
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= pod_of(objects)["metadata"]["labels"].items()
