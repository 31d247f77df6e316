"""`helm install`, `upgrade` and `uninstall` on a control plane; no node runs the pods."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.chart import CHART, ROOT
from tests.cluster.controlplane import ControlPlane, KubectlError
from tests.integration.chart.access import may
from tests.integration.chart.helm import NAMESPACE, RELEASE, Helm, HelmError, needed, of_kind
from tests.integration.chart.server import Server
from tests.support.fixtures import wait_served
from tests.support.sets import apply, get_set, set_body, wait

pytestmark = pytest.mark.cluster

_CRD = "crd/flowdependencysets.flowdeps.dev"
_HERE = ["-n", NAMESPACE]


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A control plane that has no FlowDependencySets yet; the release's namespace enforces Pod
    Security `restricted`."""
    with ControlPlane(controllers=True) as plane:
        plane.kubectl("create", "namespace", NAMESPACE)
        label = "pod-security.kubernetes.io/enforce=restricted"
        plane.kubectl("label", "namespace", NAMESPACE, label)
        yield plane


@pytest.fixture
def release(helm: Helm, plane: ControlPlane) -> Helm:
    """helm, with nothing installed, not even the resource."""
    helm("uninstall", RELEASE, *_HERE, "--ignore-not-found", kubeconfig=plane.kubeconfig)
    plane.kubectl("delete", _CRD, "--ignore-not-found", "--timeout=300s")
    return helm


def _install(helm: Helm, plane: ControlPlane, *more: str, **values: Any) -> str:
    """`helm upgrade --install`, and wait until the resource is served; what helm says."""
    said = helm(
        *("upgrade", "--install", RELEASE, str(CHART), *_HERE, *more),
        values=needed(**values),
        kubeconfig=plane.kubeconfig,
    )
    wait_served(plane)
    return said


def _read(plane: ControlPlane, *what: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plane.kubectl("get", *what, "-o", "json"))
    return found


def _deployment(plane: ControlPlane) -> dict[str, Any]:
    return _read(plane, "deployment", "flowdeps", *_HERE)


def test_a_release_says_what_comes_next(release: Helm, plane: ControlPlane) -> None:
    """After an install helm's notes have the commands for this release, and what is missing."""
    said = _install(release, plane)
    assert "kubectl rollout status deployment/flowdeps -n flowdeps" in said
    assert "helm test flowdeps -n flowdeps" in said
    assert "It watches all namespaces" in said
    plane.kubectl("create", "namespace", "flows")
    config = {"watchNamespaces": ["flows"], "workPools": [{"name": "a"}]}
    said = _install(release, plane, config=config, crds={"keep": False})
    assert "It watches the namespaces flows." in said
    assert "config.workPools[].jobNamespaces (missing: a)" in said
    assert "`helm uninstall` deletes all sets" in said


def test_pods_are_restricted(release: Helm, plane: ControlPlane) -> None:
    """Pod Security `restricted` lets the operator's pod in, and those of `helm test`."""
    _install(release, plane)
    wait(
        lambda: len(_read(plane, "pods", *_HERE)["items"]) == 1,
        what="the operator's pod",
        show=lambda: plane.kubectl("get", "events", *_HERE),
    )
    with Server.of(plane) as server:
        for pod in of_kind(release.template(needed()), "Pod"):
            server.accept(pod)


def test_an_upgrade_touches_only_what_changes(release: Helm, plane: ControlPlane) -> None:
    """The same values write no new pod; another configuration does, and sets are left alone."""
    _install(release, plane)
    apply(plane, set_body("kept", ["alpha"]))
    before = _deployment(plane)["metadata"]["generation"], get_set(plane, "kept")
    resource = _read(plane, _CRD)["metadata"]["generation"]
    _install(release, plane)
    assert (_deployment(plane)["metadata"]["generation"], get_set(plane, "kept")) == before
    assert _read(plane, _CRD)["metadata"]["generation"] == resource
    _install(release, plane, config={"images": {"recheck": "2h"}})
    assert _deployment(plane)["metadata"]["generation"] == before[0] + 1
    assert get_set(plane, "kept") == before[1]


def test_an_uninstall_keeps_the_sets_unless_told(release: Helm, plane: ControlPlane) -> None:
    """Resource and sets outlive the release, and a new one takes them over; with `crds.keep: false`
    they go."""
    _install(release, plane)
    apply(plane, set_body("kept", ["alpha"]))
    release("uninstall", RELEASE, *_HERE, kubeconfig=plane.kubeconfig)
    with pytest.raises(KubectlError, match="NotFound"):
        _deployment(plane)
    assert get_set(plane, "kept")
    _install(release, plane, crds={"keep": False})
    assert get_set(plane, "kept")
    release("uninstall", RELEASE, *_HERE, "--wait", kubeconfig=plane.kubeconfig)
    with pytest.raises(KubectlError, match="NotFound"):
        _read(plane, _CRD)


def test_a_resource_applied_by_hand_is_taken_over(release: Helm, plane: ControlPlane) -> None:
    """Where crds/ was applied with kubectl, helm refuses, and --take-ownership goes on."""
    plane.kubectl("apply", "-f", str(ROOT / "crds" / "flowdependencysets.yaml"))
    with pytest.raises(HelmError, match="flowdependencysets"):
        _install(release, plane)
    _install(release, plane, "--take-ownership")
    found = _read(plane, _CRD)["metadata"]
    assert found["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert found["annotations"]["helm.sh/resource-policy"] == "keep"


def test_who_may_view_or_edit_may_so_with_sets(release: Helm, plane: ControlPlane) -> None:
    """Kubernetes' own roles `view` and `edit` include sets: reading them, and writing them; status
    is the operator's."""
    _install(release, plane)
    for role in ("view", "edit"):
        name = ("rolebinding", f"chart-{role}", f"--clusterrole={role}", f"--user={role}")
        plane.kubectl("create", *name, "-n", "default")

    def can(user: str, *verbs: str) -> list[bool]:
        return [may(plane, user, verb, "flowdependencysets", namespace="default") for verb in verbs]

    wait(
        lambda: all(
            can("edit", "get", "watch", "create", "patch", "delete")
            + can("view", "get", "list", "watch")
        ),
        what="the roles to be aggregated",
    )
    assert can("view", "create", "patch", "delete") == [False] * 3
    assert not may(plane, "edit", "patch", "flowdependencysets/status", namespace="default")
