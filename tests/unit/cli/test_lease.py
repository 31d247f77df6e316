"""What a person reads about the Lease, for each state that it can be in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowdeps.api.config import ElectionConfig
from flowdeps.cli.lease import OFF, UNKNOWN, describe, unreadable

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ELECTION = ElectionConfig(enabled=True, namespace="flowdeps")


def lease(*, renewed: float, **spec: Any) -> dict[str, Any]:
    """A Lease as the operator writes it, renewed so many seconds ago."""
    return {
        "spec": {
            "holderIdentity": "flowdeps-7c9f-x2k",
            "leaseDurationSeconds": 15,
            "acquireTime": "2026-01-28T12:00:00.123456Z",
            "renewTime": (NOW - timedelta(seconds=renewed)).isoformat(timespec="microseconds"),
            **spec,
        }
    }


@pytest.mark.parametrize(
    ("body", "state", "says"),
    [
        (
            lease(renewed=2),
            "held",
            "flowdeps-7c9f-x2k holds the Lease flowdeps/flowdeps since 2026-01-28T12:00:00Z,"
            " 3 d ago; it was renewed 2 s ago",
        ),
        (
            lease(renewed=300),
            "expired",
            "the Lease flowdeps/flowdeps has expired: flowdeps-7c9f-x2k last renewed it 5 min ago,"
            " by this machine's clock; no operator is active",
        ),
        (
            lease(renewed=1, holderIdentity="", leaseDurationSeconds=1),
            "released",
            "the Lease flowdeps/flowdeps is held by nobody: no operator is active",
        ),
        (None, "missing", "there is no Lease flowdeps/flowdeps: no operator is active"),
        (
            {"spec": {"holderIdentity": "x"}},
            "expired",
            "the Lease flowdeps/flowdeps has expired: x last held it; no operator is active",
        ),
        ({}, "released", "the Lease flowdeps/flowdeps is held by nobody: no operator is active"),
    ],
)
def test_a_lease_is_described_in_a_line(body: dict[str, Any] | None, state: str, says: str) -> None:
    """Who holds it, since when, and whether it has expired."""
    found = describe(ELECTION, body, NOW)
    assert (found.state, found.message) == (state, says)
    if state == "held":
        assert found.holder == "flowdeps-7c9f-x2k"
        assert found.since is not None


def test_a_lease_without_a_duration_lasts_as_long_as_the_configuration_says() -> None:
    """Another client may have written it."""
    assert describe(ELECTION, lease(renewed=14, leaseDurationSeconds=None), NOW).state == "held"
    assert describe(ELECTION, lease(renewed=16, leaseDurationSeconds=None), NOW).state == "expired"


def test_what_is_not_known_says_how_it_would_be() -> None:
    """Without a configuration, without an election, and without the right."""
    assert "--config" in UNKNOWN.message
    assert "leader election is off" in OFF.message
    found = unreadable(ELECTION, "User x cannot get leases")
    assert found.state == "unreadable"
    assert found.message == "the Lease flowdeps/flowdeps cannot be read: User x cannot get leases"
