"""The command line beside a running operator: one cluster, one Prefect."""

from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.cluster.prefect import PrefectServer
from tests.integration.cli.support import Shell


@pytest.fixture
def shell(tmp_path: Path, cluster: ControlPlane, prefect_server: PrefectServer) -> Shell:
    """Runs commands that find the cluster and Prefect."""
    variables = {"KUBECONFIG": str(cluster.kubeconfig), "PREFECT_API_URL": prefect_server.url}
    return Shell(tmp_path, variables)
