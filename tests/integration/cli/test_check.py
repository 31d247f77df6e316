"""`flowdeps check` against a real API server and a real Prefect, as accounts with more and less."""

import json
from pathlib import Path
from typing import Any

import pytest

from flowdeps.api.names import TRY
from tests.cluster.controlplane import ControlPlane
from tests.cluster.prefect import PrefectServer
from tests.integration.cli.support import Done, Shell
from tests.support.accounts import Accounts
from tests.support.sets import names

_NAMESPACES = {
    "watchNamespaces": ["check-sets"],
    "workPools": [{"name": "k", "jobNamespaces": ["check-jobs"]}],
}


@pytest.mark.parametrize("chosen", [{}, _NAMESPACES], ids=["cluster", "namespaces"])
def test_the_charts_account_can_do_its_work(
    chosen: dict[str, Any],
    shell: Shell,
    chart_accounts: Accounts,
    cluster: ControlPlane,
    prefect_server: PrefectServer,
) -> None:
    """With the roles that the chart makes for a configuration, nothing is missing."""
    for namespace in {"check-sets", "check-jobs"} - names(cluster, "ns"):
        cluster.kubectl("create", "namespace", namespace)
    done = _check(shell, chart_accounts.kubeconfig(chosen), prefect_server.url, chosen)
    assert (done.status, done.err) == (0, ""), done.out
    # Below them are notes on sets of other tests.
    configuration, resource, rights, policy, prefect = done.out.splitlines()[:5]
    assert configuration == "ok    the configuration holds"
    assert resource == "ok    the cluster serves FlowDependencySets"
    assert rights.startswith("ok    the account has the ")
    assert policy == "ok    an admission policy limits the account to flowdeps' own objects"
    assert prefect.startswith("ok    Prefect answers; work pools of type kubernetes: ")


def test_every_right_that_is_missing_is_named(
    shell: Shell, cluster: ControlPlane, prefect_server: PrefectServer
) -> None:
    """An account with no rights is told each of them, where, and where to find them."""
    nobody = cluster.kubeconfig_for(user="nobody")
    done = _check(shell, nobody, prefect_server.url, _NAMESPACES)
    assert done.status == 1
    assert "NO    the account may patch flowdependencysets/status.flowdeps.dev" in done.out
    assert "NO    the account may list pods in namespace check-jobs" in done.out
    assert "may create pods in namespace check-jobs" not in done.out
    assert "docs/rbac.yaml" in done.out
    assert "ok    Prefect answers" in done.out
    assert (
        done.err == f"{done.out.count('NO    ')} of these would keep the operator from its work\n"
    )


def test_what_does_not_answer_is_said_and_the_rest_is_asked_all_the_same(
    shell: Shell, cluster: ControlPlane, unused_tcp_port: int
) -> None:
    """Without Prefect the rights are checked, and the other way round."""
    gone = f"http://127.0.0.1:{unused_tcp_port}/api"
    done = _check(shell, cluster.kubeconfig, gone, {})
    assert done.status == 1
    assert "ok    the account has the " in done.out
    # The administrator is not whom the policy limits.
    assert "note  no admission policy limits this account" in done.out
    assert "ok    an admission policy" not in done.out
    assert TRY not in names(cluster, "cm")
    assert "NO    Prefect answers\n      the Prefect API did not answer: " in done.out


def test_what_keeps_runs_from_environments_is_noted(
    shell: Shell, cluster: ControlPlane, prefect_server: PrefectServer
) -> None:
    """It keeps the operator from nothing: runs install."""
    environments = {
        "repository": "registry.example.com/flowdeps",
        "image": "registry.example.com/operator:1",
        "policy": "not-there",
    }
    chosen = {"environments": environments}
    done = _check(shell, cluster.kubeconfig, prefect_server.url, chosen)
    assert (done.status, done.err) == (0, ""), done.out
    assert "note  runs install their locks: there is no MutatingAdmissionPolicy not-there" in (
        done.out
    )


def _check(shell: Shell, kubeconfig: Path, url: str, config: dict[str, Any]) -> Done:
    shell.write("config.yaml", json.dumps({**config, "prefect": {"apiUrl": url}}))
    return shell.flowdeps("check", "--config", "config.yaml", KUBECONFIG=str(kubeconfig))
