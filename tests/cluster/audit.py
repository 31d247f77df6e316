"""The API server's audit log as a list of writes, for tests that count them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_VERBS = ["create", "update", "patch", "delete", "deletecollection"]

POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [
        # Components write leases and events all the time; nobody counts those.
        {"level": "None", "resources": [{"group": "coordination.k8s.io"}]},
        {"level": "Metadata", "verbs": _VERBS},
        {"level": "None"},
    ],
}


@dataclass(frozen=True, kw_only=True)
class Write:
    """One write that the API server answered."""

    user: str
    verb: str
    resource: str  # with its subresource: "flowdependencysets/status"
    namespace: str | None
    name: str | None
    status: int
    user_agent: str


def writes(log: Path) -> Iterator[Write]:
    """Every write in the log; a last line that is still being written waits for the next call."""
    if not log.exists():
        return
    with log.open() as lines:
        for line in lines:
            if not line.endswith("\n"):
                return
            event = json.loads(line)
            target = event.get("objectRef", {})
            parts = [target.get("resource", ""), target.get("subresource", "")]
            yield Write(
                user=event["user"].get("username", ""),
                verb=event["verb"],
                resource="/".join(part for part in parts if part),
                namespace=target.get("namespace"),
                name=target.get("name"),
                status=event.get("responseStatus", {}).get("code", 0),
                user_agent=event.get("userAgent", ""),
            )
