"""Kubeconfig files: who talks to which API server, and how each proves it."""

import json
from base64 import b64encode
from pathlib import Path

from tests.cluster.pki import Pair


def write(path: Path, *, url: str, authority: Path, user: dict[str, str]) -> Path:
    """A kubeconfig with one context; ``user`` is of ``by_token`` or ``by_certificate``.

    It is written as JSON, which is YAML: every client reads it, and nothing needs quoting.
    """
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "flowdeps",
                "cluster": {"server": url, "certificate-authority-data": _encoded(authority)},
            }
        ],
        "users": [{"name": "flowdeps", "user": user}],
        "contexts": [{"name": "flowdeps", "context": {"cluster": "flowdeps", "user": "flowdeps"}}],
        "current-context": "flowdeps",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def by_token(token: str) -> dict[str, str]:
    return {"token": token}


def by_certificate(pair: Pair) -> dict[str, str]:
    return {
        "client-certificate-data": _encoded(pair.certificate),
        "client-key-data": _encoded(pair.key),
    }


def _encoded(path: Path) -> str:
    return b64encode(path.read_bytes()).decode()
