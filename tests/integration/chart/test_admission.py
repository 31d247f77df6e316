"""What the chart's admission policy keeps the operator's account from, where its roles do not."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowdeps.trials.images import labels
from tests.cluster import binaries, tools
from tests.cluster.controlplane import ControlPlane
from tests.integration.chart.helm import CLUSTER_WIDE, Helm, needed, rights
from tests.support.sets import Body, apply, config_map, names, secret, set_body, wait
from tests.unit.delivery.test_pods import probe, verify

pytestmark = pytest.mark.cluster

_NAMESPACE = "guarded"
_OURS = {"app.kubernetes.io/managed-by": "flowdeps"}
_NOT_OURS = "only write objects with the label app.kubernetes.io/managed-by=flowdeps"

Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def kubectl(cluster: ControlPlane, helm: Helm) -> Iterator[Kubectl]:
    """kubectl as the operator's account; what it says, its errors too."""
    cluster.kubectl("create", "namespace", _NAMESPACE)
    values = needed(admissionPolicy={"enabled": True}, fullnameOverride=_NAMESPACE)
    apply(cluster, *rights(helm.template(values, namespace=_NAMESPACE)))
    kubeconfig = cluster.kubeconfig_for(service_account=_NAMESPACE, namespace=_NAMESPACE)
    program = binaries.ensure(["kubectl"])["kubectl"]

    def run(*arguments: str, body: Body | None = None) -> str:
        done = subprocess.run(
            [program, "--kubeconfig", kubeconfig, "-n", _NAMESPACE, *arguments],
            input=json.dumps(body),
            env=tools.environment({"HOME": str(Path(kubeconfig).parent)}),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    # The API server takes a moment to know a policy.
    probe = config_map("probe", namespace=_NAMESPACE)
    wait(
        lambda: _NOT_OURS in run("create", "--dry-run=server", "-f", "-", body=probe),
        what="the policy to hold",
    )
    yield run
    cluster.kubectl("delete", CLUSTER_WIDE, _NAMESPACE)
    cluster.kubectl("delete", "namespace", _NAMESPACE, "--timeout=300s")


def _labelled(body: Body, labels: dict[str, str]) -> Body:
    return {**body, "metadata": {**body["metadata"], "labels": labels}}


def _pod(**spec: Any) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "trial", "namespace": _NAMESPACE, "labels": _OURS},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [{"name": "one", "image": "example.com/flows:1"}],
            **spec,
        },
    }


@pytest.mark.parametrize("make", [config_map, secret], ids=["ConfigMap", "Secret"])
def test_what_others_own_cannot_be_written(
    make: Callable[..., Body], kubectl: Kubectl, cluster: ControlPlane
) -> None:
    """A ConfigMap or Secret without our label can't be made, changed, taken over by giving it the
    label, or deleted; one with it can, but not be passed off as somebody else's."""
    theirs = make("theirs", namespace=_NAMESPACE, key="1")
    ours = _labelled(make("ours", namespace=_NAMESPACE, key="1"), _OURS)
    kind = theirs["kind"].lower()
    assert _NOT_OURS in kubectl("create", "-f", "-", body=theirs)
    apply(cluster, theirs)
    for refused in (
        kubectl("annotate", kind, "theirs", "changed=yes"),
        kubectl("label", kind, "theirs", "app.kubernetes.io/managed-by=flowdeps"),
        kubectl("delete", kind, "theirs"),
    ):
        assert _NOT_OURS in refused
    assert "created" in kubectl("create", "-f", "-", body=ours)
    assert "annotated" in kubectl("annotate", kind, "ours", "changed=yes")
    assert _NOT_OURS in kubectl("label", kind, "ours", "app.kubernetes.io/managed-by-")
    assert "deleted" in kubectl("delete", kind, "ours")
    kind = "cm" if kind == "configmap" else kind
    assert "theirs" in names(cluster, kind, namespace=_NAMESPACE)


def test_of_a_set_only_finalizers_can_be_written(kubectl: Kubectl, cluster: ControlPlane) -> None:
    """Neither the spec, nor labels and annotations, which may be somebody's decision."""
    apply(cluster, set_body("guarded", ["alpha"], namespace=_NAMESPACE))

    def patch(change: dict[str, Any]) -> str:
        return kubectl("patch", "fds", "guarded", "--type=merge", "-p", json.dumps(change))

    for change in (
        {"spec": {"requirements": ["evil"]}},
        {"metadata": {"annotations": {"flowdeps.dev/refresh-requested-at": "now"}}},
        {"metadata": {"labels": {"team": "other"}}},
    ):
        assert "only write the finalizers and the status of a set" in patch(change)
    assert "patched" in patch({"metadata": {"finalizers": ["flowdeps.dev/cleanup"]}})
    assert "patched" in patch({"metadata": {"finalizers": []}})
    cluster.kubectl("delete", "fds", "guarded", "-n", _NAMESPACE)


@pytest.mark.parametrize(
    "spec",
    [
        {"automountServiceAccountToken": True},
        {"volumes": [{"name": "node", "hostPath": {"path": "/"}}]},
        {
            "volumes": [
                {
                    "name": "token",
                    "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
                }
            ]
        },
    ],
    ids=["token", "hostPath", "projected token"],
)
def test_pods_get_no_token_and_nothing_of_the_node(spec: dict[str, Any], kubectl: Kubectl) -> None:
    """A pod without either is made; with one of them it is refused, and so is one of others."""
    dry = ("create", "--dry-run=server", "-f", "-")
    assert "created" in kubectl(*dry, body=_pod())
    assert "no token and nothing of the node" in kubectl(*dry, body=_pod(**spec))
    assert _NOT_OURS in kubectl(*dry, body=_labelled(_pod(), {}))


@pytest.mark.parametrize("make", [probe, verify])
def test_the_operators_own_pods_are_made(make: Callable[..., Body], kubectl: Kubectl) -> None:
    """Those that look at an image and try a lock, as they are."""
    body = make(namespace=_NAMESPACE, labels=labels("probe"))
    assert "created" in kubectl("create", "--dry-run=server", "-f", "-", body=body)


def test_others_are_not_held(cluster: ControlPlane, kubectl: Kubectl) -> None:  # noqa: ARG001
    """The policy is about the operator's account alone."""
    apply(cluster, config_map("of-a-person", namespace=_NAMESPACE))
    assert "of-a-person" in names(cluster, "cm", namespace=_NAMESPACE)
