"""Which operator is active, as the Lease says that it holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flowdeps.api.config import ElectionConfig
from flowdeps.api.times import ago, format_time, parse_time


@dataclass(frozen=True)
class LeaseReport:
    """Which operator is active."""

    state: str
    """unknown, off, unreadable, missing, released, expired, held."""
    message: str
    """The same, for people."""
    holder: str = ""
    since: datetime | None = None
    """When the holder took the Lease."""


UNKNOWN = LeaseReport(
    "unknown", "not known: name the operator's configuration with --config to read its Lease"
)
OFF = LeaseReport("off", "leader election is off in the configuration: no Lease says who is active")


def unreadable(election: ElectionConfig, why: str) -> LeaseReport:
    """Return that the Lease could not be read."""
    return LeaseReport("unreadable", f"the Lease {election.lease} cannot be read: {why}")


def describe(
    election: ElectionConfig, lease: Mapping[str, Any] | None, now: datetime
) -> LeaseReport:
    """Return what a Lease says; None: there is none.

    A holder writes when it renewed it by the clock of its own machine, which is compared with ours:
    good enough to read, and nothing else depends on it.
    """
    name = f"the Lease {election.lease}"
    spec = (lease or {}).get("spec") or {}
    holder, since = spec.get("holderIdentity") or "", parse_time(spec.get("acquireTime"))
    if lease is None:
        return LeaseReport("missing", f"there is no Lease {election.lease}: no operator is active")
    if not holder:
        return LeaseReport("released", f"{name} is held by nobody: no operator is active")
    lasts = timedelta(seconds=spec.get("leaseDurationSeconds") or 0) or election.lease_duration
    renewed = parse_time(spec.get("renewTime")) or since
    if renewed is None or now - renewed > lasts:
        when = f"renewed it {ago(renewed, now)}, by this machine's clock" if renewed else "held it"
        text = f"{name} has expired: {holder} last {when}; no operator is active"
        return LeaseReport("expired", text, holder, since)
    held = f" since {format_time(since)}, {ago(since, now)}" if since else ""
    text = f"{holder} holds {name}{held}; it was renewed {ago(renewed, now)}"
    return LeaseReport("held", text, holder, since)
