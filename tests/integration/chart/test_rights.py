"""The operator under the account and roles that the chart makes, with the chart's configuration."""

from collections.abc import Iterator
from typing import Any

import pytest

from flowdeps.api.names import mounted_name
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect import PrefectServer
from tests.cluster.prefect_api import PrefectApi
from tests.integration.chart.access import may
from tests.integration.chart.helm import CLUSTER_WIDE, Helm, config_of, needed, rights
from tests.support.operator import Operator
from tests.support.sets import apply, names, pins, secret, set_body, wait, wait_ready

pytestmark = pytest.mark.cluster

_RELEASE, _SETS, _JOBS = "flowdeps", "chart-sets", "chart-jobs"
_POOLS = {"workPools": [{"name": "chart-*", "namespaces": [_SETS], "jobNamespaces": [_JOBS]}]}
_THE_PODS = {"prefect", "httpPort"}
_MODES: dict[str, dict[str, Any]] = {
    "cluster": {"config": _POOLS, "admissionPolicy": {"enabled": False}},
    "namespaces": {"config": {"watchNamespaces": [_SETS], **_POOLS}},
    "policy": {"config": _POOLS},
}


@pytest.fixture(scope="module", params=_MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """All namespaces, some, or all with the admission policy, which is on by default."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def granted(mode: str, helm: Helm, cluster: ControlPlane) -> Iterator[dict[str, Any]]:
    """The chart's account and roles, applied; the operator's configuration."""
    for name in {_RELEASE, _SETS, _JOBS} - names(cluster, "ns"):
        cluster.kubectl("create", "namespace", name)
    objects = helm.template(needed(**_MODES[mode], rbac={"aggregate": False}))
    apply(cluster, *rights(objects))
    yield config_of(objects)
    cluster.kubectl("delete", CLUSTER_WIDE, "flowdeps", "--ignore-not-found")
    cluster.kubectl("delete", "namespace", _RELEASE, _SETS, _JOBS, "--timeout=300s")


def test_the_rights_are_enough(
    mode: str,
    granted: dict[str, Any],
    cluster: ControlPlane,
    prefect_server: PrefectServer,
    prefect_api: PrefectApi,
) -> None:
    """A set with credentials, its copies in the job namespace, a change and its end: no request is
    refused, and nothing is missing."""
    pool = f"chart-{mode}"
    prefect_api.create_pool(pool, image="example.com/flows:1", namespace=_JOBS)
    config = {name: given for name, given in granted.items() if name not in _THE_PODS}
    config["resolver"] = {**granted["resolver"]}
    del config["resolver"]["cacheDirectory"]
    account = cluster.kubeconfig_for(service_account="flowdeps", namespace=_RELEASE)
    with (
        Index(username="reader", password="horse") as index,
        Operator(
            kubeconfig=account, prefect_url=prefect_server.url, config=config, env={}
        ) as operator,
    ):
        index.add("alpha", "1.0")
        index.add("alpha", "2.0")
        apply(cluster, secret("mine", namespace=_SETS, username="reader", password="horse"))

        def applied(*requirements: str) -> None:
            reference = {"url": index.url, "credentialsSecretRef": {"name": "mine"}}
            body = set_body(
                *("careful", requirements),
                namespace=_SETS,
                pools=[pool],
                index=reference,
                revisionHistoryLimit=0,
            )
            apply(cluster, body)
            wait_ready(cluster, "careful", namespace=_SETS)

        applied("alpha<2")
        assert pins(cluster, "careful", namespace=_JOBS, pool=pool) == "alpha==1.0"
        copy = mounted_name("careful", pool=pool)
        assert copy in names(cluster, "secret", namespace=_JOBS)
        applied("alpha>=2")
        assert pins(cluster, "careful", namespace=_JOBS, pool=pool) == "alpha==2.0"
        cluster.kubectl("delete", "fds", "careful", "-n", _SETS, "--timeout=180s")
        wait(
            lambda: (
                not {copy}
                & (
                    names(cluster, "secret", namespace=_JOBS)
                    | names(cluster, "cm", namespace=_JOBS)
                )
            ),
            what="the copies to go",
        )
        assert operator.metric("flowdeps_api_requests_total", outcome="403") == 0
        assert operator.complaints() == []
    events = cluster.kubectl("get", "events", "-n", _SETS, "-o", "name")
    assert "careful" in events


# Verb, resource, namespace.
_FORBIDDEN = [
    ("list", "secrets", _SETS),
    ("watch", "secrets", _SETS),
    *(
        ("create", f"pods/{part}", _SETS)
        for part in ("exec", "attach", "portforward", "proxy", "eviction", "binding")
    ),
    *((verb, "pods", _SETS) for verb in ("patch", "update", "deletecollection")),
    ("patch", "pods/ephemeralcontainers", _SETS),
    ("patch", "pods/status", _SETS),
    *(("deletecollection", what, _SETS) for what in ("secrets", "configmaps")),
    *((verb, "namespaces", "") for verb in ("create", "patch", "update", "delete", "list")),
    ("create", "serviceaccounts", _SETS),
    ("patch", "events", _SETS),
    ("update", "flowdependencysets/finalizers", _SETS),
    ("create", "serviceaccounts/token", _SETS),
    ("create", "deployments", _SETS),
    ("create", "flowdependencysets", _SETS),
    ("delete", "flowdependencysets", _SETS),
    ("get", "nodes", ""),
    *((verb, "clusterroles", "") for verb in ("create", "patch", "bind", "escalate")),
    *((verb, "roles", _SETS) for verb in ("create", "patch", "bind", "escalate")),
    ("create", "clusterrolebindings", ""),
    ("create", "rolebindings", _SETS),
    ("impersonate", "serviceaccounts", _SETS),
    ("patch", "validatingadmissionpolicies", ""),
    ("delete", "validatingadmissionpolicybindings", ""),
    *((verb, "mutatingadmissionpolicies", "") for verb in ("list", "create", "patch", "delete")),
    *((verb, "mutatingadmissionpolicybindings", "") for verb in ("list", "create", "delete")),
    ("patch", "customresourcedefinitions", ""),
    # Of Prefect's own operator, and of anybody else.
    ("get", "prefectworkpools", _SETS),
    ("list", "persistentvolumeclaims", _SETS),
    # Others' leases: its own is the one that it may name.
    *(
        (verb, "leases", where)
        for verb in ("get", "update", "delete")
        for where in (_SETS, _RELEASE)
    ),
]
_FORBIDDEN_ELSEWHERE = [
    *((verb, "pods", _JOBS) for verb in ("get", "create", "delete")),
    *((verb, "flowdependencysets", _JOBS) for verb in ("get", "patch")),
    *((verb, "secrets", _RELEASE) for verb in ("get", "create", "delete")),
    *((verb, "configmaps", _RELEASE) for verb in ("get", "create", "delete")),
    *((verb, "configmaps", "default") for verb in ("get", "list", "patch")),
    *((verb, "secrets", "default") for verb in ("get", "create", "patch", "delete")),
    *((verb, "pods", "default") for verb in ("list", "create", "delete")),
    ("list", "customresourcedefinitions", ""),
    ("list", "namespaces", ""),
]


def test_nothing_else_is_granted(granted: dict[str, Any], cluster: ControlPlane) -> None:
    """Listing Secrets, entering pods, making sets or roles, impersonation, others' Leases and
    resources, and the policy that holds it are forbidden; with watchNamespaces so is all of other
    namespaces, the operator's own too, and in job namespaces all but copies and a look at runs."""
    account = f"system:serviceaccount:{_RELEASE}:flowdeps"
    some = "watchNamespaces" in granted
    for verb, what, namespace in [("get", "secrets", _SETS), ("get", "pods/log", _SETS)]:
        assert may(cluster, account, verb, what, namespace=namespace)
    forbidden = [*_FORBIDDEN, *(_FORBIDDEN_ELSEWHERE if some else [])]
    assert [
        (verb, what, namespace)
        for verb, what, namespace in forbidden
        if may(cluster, account, verb, what, namespace=namespace)
    ] == []
