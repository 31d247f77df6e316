"""The resource's endpoint of a real API server, asked as kubectl asks: unknown fields refused."""

import json
import ssl
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

CRD = Path(__file__).parents[3] / "crds" / "flowdependencysets.yaml"
_PATH = "/apis/flowdeps.dev/v1alpha1/namespaces/{}/flowdependencysets"


class Refused(Exception):  # noqa: N818
    """The API server refused; the text is its message."""


class Sets:
    """FlowDependencySets of one namespace; each method returns the object or raises Refused."""

    def __init__(self, kubeconfig: Path, *, namespace: str) -> None:
        content = json.loads(kubeconfig.read_text())
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        authority = b64decode(cluster["certificate-authority-data"]).decode()
        self._path = _PATH.format(namespace)
        self._client = httpx.Client(
            base_url=cluster["server"],
            headers={"Authorization": f"Bearer {user['token']}"},
            verify=ssl.create_default_context(cadata=authority),
            trust_env=False,
            timeout=30,
        )

    def close(self) -> None:
        self._client.close()

    def create(self, body: Mapping[str, Any], *, dry: bool = False) -> dict[str, Any]:
        """Create the set; `dry` stores nothing."""
        params = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry else {})
        return _answer(self._client.post(self._path, json=body, params=params))

    def apply(self, body: Mapping[str, Any], *, manager: str, status: bool = False) -> Any:
        """Apply the set, or its status, on the server's side."""
        name = body["metadata"]["name"] + ("/status" if status else "")
        return _answer(
            self._client.patch(
                f"{self._path}/{name}",
                content=json.dumps(body),
                headers={"Content-Type": "application/apply-patch+yaml"},
                params={"fieldManager": manager, "fieldValidation": "Strict"},
            )
        )

    def delete(self) -> None:
        """Delete all sets of the namespace."""
        _answer(self._client.delete(self._path))


def _answer(response: httpx.Response) -> dict[str, Any]:
    answer: dict[str, Any] = response.json()
    if response.is_success:
        return answer
    raise Refused(answer["message"])
