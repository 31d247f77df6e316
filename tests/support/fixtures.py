"""A control plane with the resource in it, and operators that end with the test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flowdeps.api.names import API_VERSION, ENVIRONMENTS_PLURAL, GROUP, PLURAL
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect import PrefectServer
from tests.integration.chart.helm import Helm
from tests.support.accounts import Accounts
from tests.support.operator import Operator
from tests.support.sets import read, wait

_EVERYWHERE = f"/apis/{API_VERSION}/{PLURAL}"
_RESOURCES = Path(__file__).parents[2] / "crds"

OPEN = {
    "name": "*",
    "image": "example.com/flows:1",
    "namespaces": ["*"],
    "defaultNamespaces": ["*"],
}
"""An entry of `workPools` by which every pool takes sets of every namespace."""

StartOperator = Callable[..., Operator]


@pytest.fixture(scope="session")
def cluster(control_plane_with_controllers: ControlPlane) -> ControlPlane:
    """A control plane, with controllers, that knows FlowDependencySets."""
    install_crd(control_plane_with_controllers)
    return control_plane_with_controllers


@pytest.fixture(scope="session")
def chart_accounts(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Accounts:
    """The accounts that the chart makes."""
    return Accounts(cluster, Helm(tmp_path_factory.mktemp("helm")))


@pytest.fixture
def accounts(chart_accounts: Accounts) -> Iterator[Accounts]:
    """The same, to be refused nothing in the test."""
    yield chart_accounts
    assert chart_accounts.refused() == []


def install_crd(cluster: ControlPlane) -> None:
    """kubectl apply of the resources, and wait until they are served."""
    cluster.kubectl("apply", "-f", str(_RESOURCES))
    wait_served(cluster)


def _is_served(cluster: ControlPlane, plural: str) -> bool:
    return read(cluster, f"/apis/{API_VERSION}/{plural}") is not None


def wait_served(cluster: ControlPlane) -> None:
    """Wait until the resources are served, and the API server tells kubectl of them."""
    for plural in (PLURAL, ENVIRONMENTS_PLURAL):
        wait(partial(_is_served, cluster, plural), what=f"{plural} to be served")
    known = ("api-resources", "--api-group", GROUP, "-o", "name")
    plurals = {f"{one}.{GROUP}" for one in (PLURAL, ENVIRONMENTS_PLURAL)}
    wait(lambda: plurals <= {*cluster.kubectl(*known).split()}, what="kubectl to know them")


def delete_all_sets(cluster: ControlPlane) -> None:
    """Delete every set, and wait until the operator has let them go."""
    # Not kubectl's own wait, which asks for one object after the other.
    cluster.kubectl("delete", "fds", "-A", "--all", "--wait=false")
    wait(
        lambda: not (read(cluster, _EVERYWHERE) or {"items": []})["items"],
        what="all sets to go",
        seconds=600,
    )


@pytest.fixture
def start_operator(
    cluster: ControlPlane, prefect_server: PrefectServer, index: Index, accounts: Accounts
) -> Iterator[StartOperator]:
    """Start operators with `config` merged over: this test's index, and pools that take all sets.

    They run as the service account that the chart makes for them, and may be refused nothing.
    When the test ends, all sets are deleted while its operator still runs.
    """
    with ExitStack() as stack:

        def start(**config: Any) -> Operator:
            operator = Operator(
                kubeconfig=accounts.kubeconfig(config),
                prefect_url=config.pop("prefect_url", prefect_server.url),
                env=config.pop("env", {}),
                until=config.pop("until", "ready"),
                arguments=config.pop("arguments", ()),
                wrapper=config.pop("wrapper", ()),
                config={
                    "index": {"url": index.url},
                    "workPools": [OPEN],
                    **config,
                },
            )
            stack.enter_context(operator)
            stack.callback(delete_all_sets, cluster)
            return operator

        yield start
