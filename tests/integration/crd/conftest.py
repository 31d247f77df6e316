from collections.abc import Iterator

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.integration.crd.api import Sets
from tests.support.fixtures import install_crd

NAMESPACE = "schema"


@pytest.fixture(scope="package")
def cluster(control_plane: ControlPlane) -> ControlPlane:
    """An API server that serves the resource, with a namespace for these tests."""
    install_crd(control_plane)
    control_plane.kubectl("create", "namespace", NAMESPACE)
    return control_plane


@pytest.fixture
def sets(cluster: ControlPlane) -> Iterator[Sets]:
    """The resource in a namespace that is left empty."""
    sets = Sets(cluster.kubeconfig, namespace=NAMESPACE)
    yield sets
    sets.delete()
    sets.close()
