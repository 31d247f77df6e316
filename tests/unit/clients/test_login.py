"""How the operator proves itself to the API server."""

from pathlib import Path

import certifi
import pytest
from kubernetes.aio.config import incluster_config

from flowdeps.clients.kubernetes.client import Cluster


async def test_in_a_pod_the_service_accounts_token_is_given_bare(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever logs in with it adds the scheme: twice there, it would be refused. After the file has
    changed it is the new one."""
    file = tmp_path / "token"
    file.write_text("first")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(file))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", certifi.where())
    async with Cluster.connect() as cluster:
        assert (await cluster.login()).token == "first"
        file.write_text("second")
        assert (await cluster.login()).token == "second"
