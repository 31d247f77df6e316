"""docs/rbac.yaml against a real API server: enough for all that the operator does."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect import PrefectServer
from tests.cluster.prefect_api import PrefectApi
from tests.support.operator import Operator
from tests.support.sets import apply, set_body, wait, wait_ready

_MANIFEST = Path(__file__).parents[3] / "docs" / "rbac.yaml"
_ACCOUNT = "flowdeps"
_NAMESPACES = ("rbac-sets", "rbac-jobs")


@pytest.fixture
def granted(cluster: ControlPlane) -> Iterator[ControlPlane]:
    """The cluster with the account's namespace and those of sets and jobs."""
    for name in (_ACCOUNT, *_NAMESPACES):
        cluster.kubectl("create", "namespace", name)
    yield cluster
    cluster.kubectl("delete", "clusterrole,clusterrolebinding", _ACCOUNT, "--ignore-not-found")
    cluster.kubectl("delete", "namespace", _ACCOUNT, *_NAMESPACES)


@pytest.mark.parametrize("everywhere", [True, False], ids=["ClusterRole", "Roles"])
def test_the_documented_role_is_enough(
    everywhere: bool,
    granted: ControlPlane,
    prefect_server: PrefectServer,
    prefect_api: PrefectApi,
    index: Index,
) -> None:
    """A set's whole life under docs/rbac.yaml: no request is refused, nothing is missing; with
    watchNamespaces nothing of the cluster's is asked for."""
    account, role, binding, *_ = yaml.safe_load_all(_MANIFEST.read_text())
    if everywhere:
        apply(granted, account, role, binding)
    else:
        rules = [one for one in role["rules"] if one["apiGroups"] != ["apiextensions.k8s.io"]]
        apply(granted, account, *_roles(rules))
    index.add("alpha", "1.0")
    index.add("alpha", "2.0")
    pool = f"rbac-{'all' if everywhere else 'some'}"
    prefect_api.create_pool(pool, image="example.com/flows:1", namespace="rbac-jobs")
    admitted = {"name": pool, "namespaces": ["rbac-sets"]}
    config: dict[str, Any] = {"index": {"url": index.url}, "workPools": [admitted]}
    if not everywhere:
        config["watchNamespaces"] = ["rbac-sets"]
        config["workPools"] = [{**admitted, "jobNamespaces": ["rbac-jobs"]}]
    kubeconfig = granted.kubeconfig_for(service_account=_ACCOUNT, namespace=_ACCOUNT)
    with ExitStack() as stack:
        operator = stack.enter_context(
            Operator(kubeconfig=kubeconfig, prefect_url=prefect_server.url, config=config)
        )

        def applied(*requirements: str) -> None:
            body = set_body(
                "careful",
                requirements,
                namespace="rbac-sets",
                pools=[pool],
                revisionHistoryLimit=0,
            )
            apply(granted, body)
            wait_ready(granted, "careful", namespace="rbac-sets")

        def copies() -> str:
            return granted.kubectl("get", "configmaps", "-n", "rbac-jobs", "-o", "name")

        applied("alpha<2")
        applied("alpha")
        assert "careful" in copies()
        granted.kubectl("delete", "fds", "careful", "-n", "rbac-sets", "--timeout=180s")
        wait(lambda: "careful" not in copies(), what="the lock's copies to go")
        assert operator.metric("flowdeps_api_requests_total", outcome="403") == 0
        assert operator.complaints() == []
    events = granted.kubectl("get", "events", "-n", "rbac-sets", "-o", "name")
    assert "careful" in events


def _roles(rules: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rules as a Role in each namespace, bound to the account."""
    subject = {"kind": "ServiceAccount", "name": _ACCOUNT, "namespace": _ACCOUNT}
    group = "rbac.authorization.k8s.io"
    for namespace in _NAMESPACES:
        meta = {"name": _ACCOUNT, "namespace": namespace}
        head = {"apiVersion": f"{group}/v1", "metadata": meta}
        yield {**head, "kind": "Role", "rules": rules}
        reference = {"apiGroup": group, "kind": "Role", "name": _ACCOUNT}
        yield {**head, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]}
