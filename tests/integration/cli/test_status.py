"""`flowdeps status` against a real API server."""

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from flowdeps.api.names import API_VERSION, KIND
from tests.cluster.controlplane import ControlPlane
from tests.integration.cli.support import Shell
from tests.support.sets import apply, set_body


@pytest.fixture
def namespace(cluster: ControlPlane) -> Iterator[str]:
    """A namespace with nothing in it."""
    name = f"cli-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "fds", "-n", name, "--all", "--wait=false")
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def connected(shell: Shell, cluster: ControlPlane) -> Shell:
    return Shell(shell.directory, {"KUBECONFIG": str(cluster.kubeconfig)})


def _tell(
    cluster: ControlPlane,
    namespace: str,
    name: str,
    *,
    ready: str,
    reason: str,
    verified: tuple[str, str] | None = None,
    **status: Any,
) -> None:
    """Write a set's status as the operator would."""
    conditions = [("Ready", ready, reason), *([("Verified", *verified)] if verified else [])]
    body = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace},
        "status": {
            "observedGeneration": 1,
            "conditions": [
                {
                    "type": type_,
                    "status": state,
                    "reason": why,
                    "message": f"why: {why}",
                    "observedGeneration": 1,
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
                for type_, state, why in conditions
            ],
            **status,
        },
    }
    cluster.kubectl(
        *("apply", "--server-side", "--subresource=status", "-f", "-"), input=json.dumps(body)
    )


_LOCK = {
    "digest": f"sha256:{'a' * 64}",
    "revision": "calm-aaaaaaaaaa",
    "packages": 12,
    "python": "3.11",
    "platforms": ["linux/amd64"],
    "resolvedAt": "2026-01-01T00:00:00Z",
    "inputsDigest": f"sha256:{'b' * 64}",
}
_POOL = {"name": "k", "key": "calm", "synced": True, "namespaces": ["jobs"], "message": ""}


def test_the_table_says_what_is_served_and_what_is_wrong(
    connected: Shell, cluster: ControlPlane, namespace: str
) -> None:
    """A row for each set, sorted, and below the table why a set is not ready; exit status 1."""
    names = ("unseen", "stuck", "calm")
    apply(cluster, *(set_body(name, ["alpha"], namespace=namespace) for name in names))
    pools = [_POOL, {**_POOL, "name": "other", "synced": False}]
    _tell(cluster, namespace, "calm", ready="True", reason="Ready", lock=_LOCK, workPools=pools)
    _tell(cluster, namespace, "stuck", ready="False", reason="Unsatisfiable")
    done = connected.flowdeps("status", "-n", namespace)
    assert (done.status, done.err) == (1, "")
    head, calm, stuck, unseen, blank, *troubles = done.out.splitlines()
    assert head.split() == [
        "NAMESPACE", "NAME", "READY", "REASON", "REVISION", "PACKAGES", "VERIFIED", "VULNERABLE",
        "POOLS",
    ]  # fmt: skip
    assert calm.split(maxsplit=8) == [
        namespace, "calm", "True", "Ready", "calm-aaaaaaaaaa", "12", "-", "-",
        "k, other (not synced)",
    ]  # fmt: skip
    assert stuck.split() == [namespace, "stuck", "False", "Unsatisfiable", *"-----"]
    assert unseen.split() == [namespace, "unseen", "Unknown", "NotSeen", *"-----"]
    assert blank == ""
    assert troubles[0] == f"{namespace}/stuck: why: Unsatisfiable"
    assert troubles[1].startswith(f"{namespace}/unseen: the operator has not seen it yet")
    starts = [column.start() for column in re.finditer(r"\S+", head)]
    assert all(row[start - 1] == " " for row in (calm, stuck, unseen) for start in starts[1:])


def test_proposals_and_vulnerabilities_stand_below_the_table(
    connected: Shell, cluster: ControlPlane, namespace: str
) -> None:
    """What was tried, proposed and found vulnerable is told; a set is Ready all the same."""
    names = ("clean", "proven", "untried")
    apply(cluster, *(set_body(name, ["alpha"], namespace=namespace) for name in names))
    proposed = {
        "revision": "proven-bbbbbbbbbb",
        "digest": "d",
        "proposedAt": "2026-01-02T00:00:00Z",
        "summary": "alpha 1.0 → 2.0",
    }
    found = [
        {"id": "CVE-1", "package": "alpha", "version": "1.0", "fixed": "2.0"},
        *({"id": f"CVE-{n}", "package": "beta", "version": "3"} for n in range(2, 8)),
    ]
    _tell(
        *(cluster, namespace, "proven"),
        ready="True",
        reason="Ready",
        verified=("True", "Verified"),
        lock=_LOCK,
        proposed=proposed,
        vulnerabilities=found,
        vulnerabilityCount=70,
    )
    _tell(
        *(cluster, namespace, "untried"),
        ready="True",
        reason="Ready",
        verified=("Unknown", "VerifyDisabled"),
        lock=_LOCK,
    )
    _tell(cluster, namespace, "clean", ready="True", reason="Ready", vulnerabilityCount=0)
    done = connected.flowdeps("status", "-n", namespace)
    assert done.status == 0
    _, clean, proven, untried, blank, *notes = done.out.splitlines()
    assert clean.split()[6:8] == ["-", "0"]
    assert proven.split()[6:8] == ["True", "70"]
    assert untried.split()[6:8] == ["VerifyDisabled", "-"]
    assert blank == ""
    assert notes == [
        f"{namespace}/proven: proven-bbbbbbbbbb is proposed (alpha 1.0 → 2.0);"
        " set spec.revision to it to serve it",
        f"{namespace}/proven: known vulnerabilities: CVE-1 in alpha 1.0 (fixed in 2.0),"
        " CVE-2 in beta 3, CVE-3 in beta 3, CVE-4 in beta 3, CVE-5 in beta 3 and 65 more",
    ]


def test_sets_that_are_all_ready_are_exit_status_0(
    connected: Shell, cluster: ControlPlane, namespace: str
) -> None:
    """A script can wait on it."""
    apply(cluster, set_body("calm", ["alpha"], namespace=namespace))
    _tell(cluster, namespace, "calm", ready="True", reason="Ready", lock=_LOCK)
    done = connected.flowdeps("status", "--namespace", namespace)
    assert done.status == 0
    assert len(done.out.splitlines()) == 2


def test_all_namespaces_are_shown_unless_one_is_named(
    connected: Shell, cluster: ControlPlane, namespace: str
) -> None:
    """Without -n every namespace's sets are there."""
    apply(cluster, set_body("somewhere", ["alpha"], namespace=namespace))
    assert f"{namespace}  " in connected.flowdeps("status").out
    empty = connected.flowdeps("status", "-n", "kube-public")
    assert (empty.status, empty.out) == (0, "")
    assert empty.err == "no dependency sets in namespace kube-public\n"


def test_a_cluster_without_the_resource_is_told(shell: Shell, control_plane: ControlPlane) -> None:
    """Where the CRD is not installed, that is what to do first."""
    done = shell.flowdeps("status", KUBECONFIG=str(control_plane.kubeconfig))
    if done.status == 0:
        pytest.skip("another test installed the resource in this control plane")
    assert done.status == 1
    assert "does not know FlowDependencySets; install flowdeps or its CRD first" in done.err


def test_somebody_without_the_right_is_told(
    shell: Shell, cluster: ControlPlane, namespace: str
) -> None:
    """The API server's own words say who may not do what."""
    kubeconfig = cluster.kubeconfig_for(user="cli-nobody")
    done = shell.flowdeps("status", "-n", namespace, KUBECONFIG=str(kubeconfig))
    assert (done.status, done.out) == (1, "")
    assert 'User "cli-nobody" cannot list resource "flowdependencysets"' in done.err
