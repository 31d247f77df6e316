"""The scripts of docs/how-to/cloud-indexes.md, against servers that answer as the clouds do."""

import asyncio
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml

from flowdeps.api.config import parse_config
from flowdeps.api.helperconfig import CredentialHelper
from flowdeps.gather.tokens import fetch_token, parse_token

_PAGE = Path(__file__).parents[3] / "docs/how-to/cloud-indexes.md"
_ANSWER = {"access_token": "t0ken", "expires_in": 3599, "token_type": "Bearer"}


def values(cloud: str) -> dict[str, Any]:
    """The values of the chart that the page has for a cloud."""
    part = _PAGE.read_text().partition(f"\n## {cloud}")[2].partition("\n## ")[0]
    [block] = re.findall(r"```yaml\n(# values.yaml\n.*?)```", part, re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(block)
    return found


def helper(cloud: str, directory: Path) -> CredentialHelper:
    """A cloud's helper, with its script in a directory."""
    found = values(cloud)
    [one] = parse_config(found["config"]).credential_helpers
    [script] = found["extraObjects"][0]["data"].items()
    assert one.command == ("/usr/lib/flowdeps/bin/python3", f"/helpers/{script[0]}")
    assert found["extraVolumeMounts"][0]["mountPath"] == "/helpers"
    (directory / script[0]).write_text(script[1])
    return CredentialHelper(
        url=one.url,
        namespaces=one.namespaces,
        command=(sys.executable, str(directory / script[0])),
        username=one.username,
        environment=(*one.environment, "GCE_METADATA_HOST"),
    )


@contextmanager
def site(seen: list[tuple[str, Any, dict[str, list[str]]]]) -> Iterator[str]:
    """The host and port of a server that gives a token for each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            seen.append((self.path, self.headers, parse_qs(self.rfile.read(size).decode())))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(_ANSWER).encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def line(one: CredentialHelper) -> str:
    """What a helper's token is in a netrc file."""
    return parse_token(asyncio.run(fetch_token(one)), one, now=datetime.now(UTC)).netrc


def test_the_script_for_google_asks_the_metadata_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its header, and through no proxy."""
    seen: list[tuple[str, Any, dict[str, list[str]]]] = []
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with site(seen) as host:
        monkeypatch.setenv("GCE_METADATA_HOST", host)
        found = line(helper("Google Artifact Registry", tmp_path))
    assert found == "machine packages.example.com login oauth2accesstoken password t0ken\n"
    [(path, headers, _)] = seen
    assert path == "/computeMetadata/v1/instance/service-accounts/default/token"
    assert headers["Metadata-Flavor"] == "Google"


def test_the_script_for_azure_exchanges_the_projected_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the tenant's endpoint, for Azure DevOps, as the client."""
    seen: list[tuple[str, Any, dict[str, list[str]]]] = []
    (tmp_path / "projected").write_text("assertion")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "projected"))
    monkeypatch.setenv("AZURE_TENANT_ID", "tenant")
    monkeypatch.setenv("AZURE_CLIENT_ID", "client")
    with site(seen) as host:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"http://{host}/")
        found = line(helper("Azure Artifacts", tmp_path))
    assert found == "machine packages.example.com login token password t0ken\n"
    [(path, _, form)] = seen
    assert path == "/tenant/oauth2/v2.0/token"
    assert form == {
        "grant_type": ["client_credentials"],
        "client_id": ["client"],
        "scope": ["499b84ac-1321-427f-aa17-267ca6975798/.default"],
        "client_assertion_type": ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"],
        "client_assertion": ["assertion"],
    }


def test_what_the_command_line_of_aws_writes_is_understood() -> None:
    """Version 1 as it was seen, version 2 as its documentation shows it."""
    [one] = parse_config(values("AWS CodeArtifact")["config"]).credential_helpers
    now = datetime(2100, 1, 1, tzinfo=UTC)
    for until in ("2100-01-01T12:00:00.123000+00:00", now.timestamp() + 12 * 3600.5):
        text = json.dumps({"authorizationToken": "t0ken", "expiration": until}, indent=4)
        token = parse_token(text, one, now=now)
        assert token.netrc == "machine packages.example.com login aws password t0ken\n"
        assert round((token.renewed - now).total_seconds() / 3600) == 8
