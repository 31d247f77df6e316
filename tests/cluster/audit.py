"""The API server's audit log: writes, for tests that count them, and what was refused."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowdeps.api.names import TRY

OPERATORS = "operators"
"""The namespace whose service accounts have all that they ask for in the log."""

_VERBS = ["create", "update", "patch", "delete", "deletecollection"]

POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [
        {"level": "Metadata", "userGroups": [f"system:serviceaccounts:{OPERATORS}"]},
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
    received: str  # when, as text that sorts


def writes(log: Path) -> Iterator[Write]:
    """Every write in the log; a last line that is still being written waits for the next call."""
    for event, _ in _events(log, since=0):
        target = event.get("objectRef", {})
        if event["verb"] in _VERBS and target.get("apiGroup") != "coordination.k8s.io":
            parts = [target.get("resource", ""), target.get("subresource", "")]
            yield Write(
                user=event["user"].get("username", ""),
                verb=event["verb"],
                resource="/".join(part for part in parts if part),
                namespace=target.get("namespace"),
                name=target.get("name"),
                status=event.get("responseStatus", {}).get("code", 0),
                user_agent=event.get("userAgent", ""),
                received=event["requestReceivedTimestamp"],
            )


def refusals(log: Path, *, since: int) -> tuple[list[str], int]:
    """What RBAC, or the chart's admission policy, refused to the accounts of OPERATORS, and how far
    the log was read: for the next call's `since`."""
    found = []
    for event, end in _events(log, since=since):
        since = end
        decision = event.get("annotations", {}).get("authorization.k8s.io/decision")
        message = event.get("responseStatus", {}).get("message", "")
        # `flowdeps check` asks whether the policy holds.
        policy = "ValidatingAdmissionPolicy" in message and TRY not in message
        if decision != "forbid" and not policy:
            continue
        if f"system:serviceaccounts:{OPERATORS}" in event["user"].get("groups", ()):
            found.append(f"{event['verb']} {event['requestURI']}")
    return found, since


def _events(log: Path, *, since: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Each event from a place in the log on, and where it ends."""
    if not log.exists():
        return
    with log.open("rb") as lines:
        lines.seek(since)
        for line in lines:
            if not line.endswith(b"\n"):
                return
            since += len(line)
            yield json.loads(line), since
