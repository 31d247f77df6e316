"""`flowdeps check --pool` in namespaces with the policies that many clusters have, and with more.

They are those that Kyverno's users choose most, as ValidatingAdmissionPolicies.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.cluster.prefect import PrefectServer
from tests.cluster.prefect_api import PrefectApi, kubernetes_template
from tests.integration.cli.support import Done, Shell
from tests.support.sets import Body, apply, wait
from tests.unit.delivery.test_pods import verify

_CONTAINERS = "(object.spec.containers + object.spec.?initContainers.orValue([]))"
_CONTEXT = "object.spec.?securityContext"
COMMON = {
    "require-requests-limits": f"{_CONTAINERS}.all(c, ['cpu', 'memory'].all(r,"
    " c.?resources.?requests[?r].hasValue() && c.?resources.?limits[?r].hasValue()))",
    "disallow-latest-tag": f"{_CONTAINERS}.all(c, (c.image.matches('.*:[^/]+$') &&"
    " !c.image.endsWith(':latest')) || c.image.contains('@sha256:'))",
    "require-owner": "object.metadata.?ownerReferences.orValue([]).size() > 0",
    "require-labels": "object.metadata.?labels[?'team'].hasValue()",
    "require-run-as-nonroot": f"{_CONTAINERS}.all(c, c.?securityContext.?runAsNonRoot.orValue("
    f"{_CONTEXT}.?runAsNonRoot.orValue(false)))",
    "require-ro-rootfs": f"{_CONTAINERS}.all(c,"
    " c.?securityContext.?readOnlyRootFilesystem.orValue(false))",
    "require-drop-all": f"{_CONTAINERS}.all(c,"
    " 'ALL' in c.?securityContext.?capabilities.?drop.orValue([]))",
    "disallow-privilege-escalation": f"{_CONTAINERS}.all(c,"
    " !c.?securityContext.?allowPrivilegeEscalation.orValue(true))",
    "require-seccomp": f"{_CONTAINERS}.all(c, c.?securityContext.?seccompProfile.?type.orValue("
    f"{_CONTEXT}.?seccompProfile.?type.orValue('')) == 'RuntimeDefault')",
    "disallow-token": "!object.spec.?automountServiceAccountToken.orValue(true)",
    "require-emptydir-size": "object.spec.?volumes.orValue([]).all(v,"
    " !has(v.emptyDir) || has(v.emptyDir.sizeLimit))",
}
MORE = {"no-init-containers": "object.spec.?initContainers.orValue([]).size() == 0"}
_PODS = [
    "the pod that inspects an image",
    "the pod that verifies a lock",
    "the pod that makes an environment",
    "the pod that mounts an environment",
    "the pod that puts an environment on a claim",
]
_POOL = "policies"
_RUN = [f'the Job of a run of work pool "{_POOL}"', f'the pod of a run of work pool "{_POOL}"']
_CONFIG = {
    "pods": {"labels": {"team": "platform"}},
    "environments": {"repository": "registry.example.com/ready", "image": "example.com/pack:1"},
    "workPools": [{"name": _POOL, "volume": {"claimName": "environments"}}],
}


def _policy(name: str, expression: str, *, kind: str) -> Iterator[Body]:
    """A policy about pods of the namespaces of a kind."""
    version = "admissionregistration.k8s.io/v1"
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
    }
    yield {
        "apiVersion": version,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": expression, "message": f"{name} says no"}],
        },
    }
    selector = {"matchExpressions": [{"key": kind, "operator": "Exists"}]}
    yield {
        "apiVersion": version,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": selector},
        },
    }


def _namespace(name: str, **labels: str) -> Body:
    labels |= {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


@pytest.fixture(scope="module")
def guarded(cluster: ControlPlane) -> Iterator[None]:
    """The namespaces `common` and `more`, whose policies hold."""
    policies = {**dict.fromkeys(COMMON, "common"), **dict.fromkeys(MORE, "more")}
    bodies = [
        body
        for name, kind in policies.items()
        for body in _policy(name, {**COMMON, **MORE}[name], kind=kind)
    ]
    apply(cluster, _namespace("common", common="yes"), _namespace("more", common="yes", more="yes"))
    apply(cluster, *bodies)

    # The API server takes a moment to know a policy; it knows them in the order of their creation.
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1-2-3"}
    pod = verify(namespace="more", labels={"team": "platform"})
    pod["metadata"]["ownerReferences"] = [owner]

    def held() -> bool:
        path = "/api/v1/namespaces/more/pods"
        answer = cluster.client.post(path, params={"dryRun": "All"}, json=pod)
        return "no-init-containers says no" in answer.text

    wait(held, what="the policies to hold")
    yield
    for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
        cluster.kubectl("delete", kind, *policies)
    cluster.kubectl("delete", "namespace", "common", "more", "--wait=false")


@pytest.fixture(scope="module", autouse=True)
def made(prefect_server: PrefectServer) -> None:
    """The pool."""
    with prefect_server.api() as api:
        api.create_pool(_POOL, image="registry.example.com/flows:1", namespace="common")


def _pool(api: PrefectApi, *, namespace: str, **changes: Any) -> None:
    """Give the pool a template that keeps to the common policies, but for the changes."""
    template = kubernetes_template(image="registry.example.com/flows:1", namespace=namespace)
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]
    pod["metadata"] = {"labels": {"team": "flows"}}
    pod["spec"]["automountServiceAccountToken"] = False
    amounts = {"cpu": "1", "memory": "1Gi"}
    pod["spec"]["containers"][0] |= {
        "resources": {"requests": amounts, "limits": amounts},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **changes,
    }
    api.set_template(_POOL, template)


def _check(shell: Shell, cluster: ControlPlane, prefect: PrefectServer, *argv: str) -> Done:
    shell.write("config.yaml", json.dumps({**_CONFIG, "prefect": {"apiUrl": prefect.url}}))
    given = ("check", "--config", "config.yaml", "--pool", _POOL, *argv)
    return shell.flowdeps(*given, KUBECONFIG=str(cluster.kubeconfig))


def _answers(done: Done) -> dict[str, str]:
    """What was asked of namespaces, and the answer: `ok`, or what refuses it."""
    found, lines = {}, done.out.splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if " takes the " in line:
            found[line[6:]] = "ok" if line.startswith("ok ") else after.strip()
    return found


def test_common_policies_take_all_that_is_made(
    guarded: None,  # noqa: ARG001
    shell: Shell,
    cluster: ControlPlane,
    prefect_server: PrefectServer,
    prefect_api: PrefectApi,
) -> None:
    """Requests and limits, owners, labels, tags, restricted security contexts, no token, volumes
    with a limit: nothing of ours is refused, and of a run only what its template lacks."""
    _pool(prefect_api, namespace="common")
    done = _check(shell, cluster, prefect_server)
    wanted = {f"namespace common takes {what}": "ok" for what in (*_PODS, *_RUN)}
    assert _answers(done) == wanted
    assert (done.status, done.err) == (0, "")
    _pool(prefect_api, namespace="common", resources={})
    answers = _answers(_check(shell, cluster, prefect_server))
    refusal = answers.pop(f"namespace common takes {_RUN[1]}")
    assert "require-requests-limits says no" in refusal
    assert set(answers.values()) == {"ok"}


def test_what_refuses_a_pod_is_named_before_a_set_is_there(
    guarded: None,  # noqa: ARG001
    shell: Shell,
    cluster: ControlPlane,
    prefect_server: PrefectServer,
    prefect_api: PrefectApi,
) -> None:
    """With the policy's name and its words, for what it refuses and nothing else; a set of another
    namespace has its pods there. Nothing is made."""
    _pool(prefect_api, namespace="more")
    done = _check(shell, cluster, prefect_server)
    answers = _answers(done)
    assert answers.keys() == {f"namespace more takes {what}" for what in (*_PODS, *_RUN)}
    refused = {what for what, answer in answers.items() if answer != "ok"}
    assert refused == {f"namespace more takes {what}" for what in (_PODS[1], _PODS[2], _RUN[1])}
    for what in refused:
        assert "no-init-containers' with binding 'no-init-containers' denied" in answers[what]
        assert "run this with an account" not in answers[what]
    assert done.status == 1
    assert done.err == "3 of these would keep the operator from its work\n"
    given = _answers(_check(shell, cluster, prefect_server, "-n", "common"))
    assert {f"namespace common takes {what}": "ok" for what in _PODS[:3]}.items() <= given.items()
    for path in ("/api/v1/namespaces/more/pods", "/apis/batch/v1/namespaces/more/jobs"):
        assert cluster.client.get(path).json()["items"] == []


def test_an_account_that_may_not_make_pods_is_told_so(
    guarded: None,  # noqa: ARG001
    shell: Shell,
    cluster: ControlPlane,
    prefect_server: PrefectServer,
    prefect_api: PrefectApi,
) -> None:
    """What it lacks is no policy; and a pool that Prefect does not have is said."""
    _pool(prefect_api, namespace="common")
    shell.write("config.yaml", json.dumps({**_CONFIG, "prefect": {"apiUrl": prefect_server.url}}))
    nobody = str(cluster.kubeconfig_for(user="nobody"))
    given = ("check", "--config", "config.yaml", "--pool")
    answers = _answers(shell.flowdeps(*given, _POOL, KUBECONFIG=nobody))
    assert len(answers) == len(_PODS) + len(_RUN)
    for answer in answers.values():
        assert "cannot create resource" in answer
        assert answer.endswith(
            "run this with an account that may create jobs and pods in that namespace"
        )
    done = shell.flowdeps(*given, "missing", KUBECONFIG=nobody)
    assert 'NO    Prefect has the work pool "missing"' in done.out
