"""What has become of a set's lock, as events for Prefect. Pure: all of it follows from the status.

An event's id is made of what happened and when, by the status, and of nothing else. So each
operator that reads a status finds the same events in it, and Prefect keeps one of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid5

from flowdeps.api.conditions import ConditionType, find_condition
from flowdeps.api.status import LockStatus, SetStatus
from flowdeps.api.times import parse_time

_NAMESPACE = UUID("5d3a6f0e-7c43-5a0b-9a61-0f2d7b1c8e94")


@dataclass(frozen=True, kw_only=True)
class Happening:
    """An event about a set's lock."""

    name: str
    """Such as `flowdeps.lock.published`."""
    id: UUID
    occurred: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the set as the event's resource: automations match them."""
    payload: Mapping[str, str] = field(default_factory=dict)


def happenings(status: SetStatus, *, uid: str) -> tuple[Happening, ...]:
    """Return the events that led to a status of the set `uid`, the last one of each name."""
    found = (_served(status, uid), _proposed(status, uid), _failed(status, uid))
    return tuple(one for one in found if one)


def _served(status: SetStatus, uid: str) -> Happening | None:
    lock = status.lock
    since = parse_time(lock.served_since) if lock else None
    if lock is None or since is None:
        return None
    newer = any(one.created_at > lock.resolved_at for one in status.revisions if not one.proposed)
    name = "rolled-back" if newer else "published"
    summary = next((one.summary for one in status.revisions if one.digest == lock.digest), "")
    return _happening(name, uid, lock.digest, since, lock, {"summary": summary})


def _proposed(status: SetStatus, uid: str) -> Happening | None:
    one = status.proposed
    if one is None:
        return None
    payload = {"summary": one.summary, "proposal": one.revision, "proposalDigest": one.digest}
    return _happening("proposed", uid, one.digest, one.proposed_at, status.lock, payload)


def _failed(status: SetStatus, uid: str) -> Happening | None:
    stalled = find_condition(status.conditions, ConditionType.STALLED)
    if stalled is None or stalled.status != "True":
        return None
    times = (
        one.get("lastTransitionTime")
        for one in status.conditions
        if one.get("type") == ConditionType.STALLED
    )
    since = parse_time(next(times, None))
    if since is None:
        return None
    reason = str(stalled.reason)
    payload = {"reason": reason, "message": stalled.message[:1024]}
    return _happening("failed", uid, reason, since, status.lock, payload, {"reason": reason})


def _happening(
    name: str,
    uid: str,
    what: str,
    occurred: datetime,
    lock: LockStatus | None,
    payload: Mapping[str, str],
    labels: Mapping[str, str] | None = None,
) -> Happening:
    serving = {"revision": lock.revision, "digest": lock.digest} if lock else {}
    return Happening(
        name=f"flowdeps.lock.{name}",
        id=uuid5(_NAMESPACE, f"{uid} {name} {what} {occurred.isoformat()}"),
        occurred=occurred,
        labels={
            "flowdeps.serving": "true" if lock else "false",
            **{f"flowdeps.{key}": value for key, value in (labels or {}).items()},
        },
        payload={**serving, **payload},
    )
