"""The harness as pytest fixtures; conftest names this module in ``pytest_plugins``.

Clusters and Prefect servers live for the session, packages and pools are the tests' own. What needs
root is skipped without it.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Protocol

import pytest

from tests.cluster import images, signals
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.node import Node
from tests.cluster.prefect import KubernetesWorker, PrefectServer
from tests.cluster.prefect_api import PrefectApi
from tests.cluster.registry import Registry


class StartWorker(Protocol):
    """Starts a worker for a pool of ``node_prefect_server``, for jobs in these namespaces."""

    def __call__(self, pool: str, namespaces: Sequence[str] = ...) -> KubernetesWorker: ...


@pytest.fixture(scope="session", autouse=True)
def terminable() -> Iterator[None]:
    """SIGTERM ends a session as Ctrl-C does: every fixture is torn down."""
    with signals.terminable():
        yield


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """etcd and kube-apiserver; nothing acts on what is stored."""
    with ControlPlane() as one:
        yield one


@pytest.fixture(scope="session")
def control_plane_with_controllers() -> Iterator[ControlPlane]:
    """The same with Kubernetes' own controllers: garbage collection, namespaces, jobs."""
    with ControlPlane(controllers=True) as one:
        yield one


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """A cluster with a node that has the flow images."""
    if os.geteuid() != 0:
        pytest.skip("a node needs root")
    archive = images.flow()
    with Node() as one:
        one.load_image(archive)
        yield one


@pytest.fixture
def index() -> Iterator[Index]:
    """An empty package index for processes of this machine."""
    with Index() as one:
        yield one


@pytest.fixture
def node_index(node: Node) -> Iterator[Index]:
    """An empty package index that pods reach as well."""
    with Index(host=node.gateway) as one:
        yield one


@pytest.fixture
def registry() -> Iterator[Registry]:
    """An empty registry for processes of this machine, which anybody may use."""
    with Registry() as one:
        yield one


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[PrefectServer]:
    with PrefectServer() as one:
        yield one


@pytest.fixture(scope="session")
def node_prefect_server(node: Node) -> Iterator[PrefectServer]:
    """A Prefect server that pods reach."""
    with PrefectServer(host=node.gateway) as one:
        yield one


@pytest.fixture
def prefect_api(prefect_server: PrefectServer) -> Iterator[PrefectApi]:
    with prefect_server.api() as one:
        yield one


@pytest.fixture
def node_prefect_api(node_prefect_server: PrefectServer) -> Iterator[PrefectApi]:
    with node_prefect_server.api() as one:
        yield one


@pytest.fixture
def start_worker(node: Node, node_prefect_server: PrefectServer) -> Iterator[StartWorker]:
    """Start workers that end with the test."""
    with ExitStack() as workers:

        def start(pool: str, namespaces: Sequence[str] = ("default",)) -> KubernetesWorker:
            return workers.enter_context(
                KubernetesWorker(
                    node_prefect_server,
                    pool=pool,
                    kubeconfig=node.kubeconfig,
                    namespaces=namespaces,
                )
            )

        yield start
