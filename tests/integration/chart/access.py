"""What an API server lets somebody do."""

from tests.cluster.controlplane import ControlPlane
from tests.support.sets import connect

_GROUPS = {
    **dict.fromkeys(("flowdependencysets", "runenvironments"), "flowdeps.dev"),
    "deployments": "apps",
    **dict.fromkeys(
        ("clusterroles", "clusterrolebindings", "roles", "rolebindings"),
        "rbac.authorization.k8s.io",
    ),
    **dict.fromkeys(
        (
            *("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
            *("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
        ),
        "admissionregistration.k8s.io",
    ),
    "leases": "coordination.k8s.io",
    "prefectworkpools": "prefect.io",
    "customresourcedefinitions": "apiextensions.k8s.io",
}


def may(cluster: ControlPlane, user: str, verb: str, what: str, *, namespace: str = "") -> bool:
    """Whether `user` may do it to a resource, or to a subresource such as `pods/exec`."""
    resource, _, part = what.partition("/")
    attributes = {
        "verb": verb,
        "group": _GROUPS.get(resource, ""),
        "resource": resource,
        "subresource": part,
        "namespace": namespace,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    with connect(cluster) as client:
        answer = client.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=body)
    answer.raise_for_status()
    return bool(answer.json()["status"]["allowed"])
