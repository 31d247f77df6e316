"""What is read from a set's status, which is the operator's output.

A status says when to try again, and what to go on reporting while nothing new is known. It helps to
find what an earlier operator left. It never decides where anything is written, and for which set:
people who may edit a status would decide it then.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from flowdeps.api.conditions import ConditionType, find_condition
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.status import SetStatus
from flowdeps.api.times import parse_time
from flowdeps.state.locations import Location
from flowdeps.state.store import SetEntry

_LONGEST_RETRY = 1800.0


def previous_condition(entry: SetEntry, type_: ConditionType) -> Outcome | None:
    """Return what a condition of this spec was; None where it was under way, too."""
    status = entry.status
    condition = find_condition(status.conditions, type_)
    same = status.observed_generation == entry.meta.generation
    if condition is None or not same or not isinstance(condition.reason, Reason):
        return None
    if condition.reason.is_making_lock:
        return None
    return Outcome(
        condition.status != "False",
        condition.reason,
        condition.message,
        unknown=condition.status == "Unknown",
    )


def unless_under_way(entry: SetEntry, type_: ConditionType, outcome: Outcome) -> Outcome:
    """Return what to report of a step: while it is under way, what its condition was before.

    So a refresh or a restart doesn't make a set that is well look otherwise.
    """
    before = previous_condition(entry, type_) if outcome.reason.is_making_lock else None
    return replace(before, retry_after=outcome.retry_after) if before else outcome


def retry_after(
    entry: SetEntry, type_: ConditionType, *, now: datetime, least: float = 30.0
) -> float:
    """Return the seconds to wait for what somebody may fix: half of the time that it has failed."""
    for condition in entry.status.conditions:
        since = parse_time(condition.get("lastTransitionTime"))
        if condition.get("type") == type_ and condition.get("status") == "False" and since:
            return min(max((now - since).total_seconds() / 2, least), _LONGEST_RETRY)
    return least


@dataclass(frozen=True)
class ReportedLock:
    """The lock that was in service, for where its live ConfigMap is lost."""

    digest: str
    """Empty where there was none."""
    handled_refresh: str
    """The refresh annotation that was met."""
    next_refresh: datetime | None


def lock_before(entry: SetEntry) -> ReportedLock:
    """Return the lock that was in service."""
    status = entry.status
    digest = status.lock.digest if status.lock else ""
    return ReportedLock(digest, status.last_handled_refresh_at or "", status.next_refresh_at)


def locations_to_search(status: SetStatus) -> Iterator[Location]:
    """Iterate over where copies of a set's lock may be left, by what was reported last.

    What is found there is judged by its own labels.
    """
    for pool in status.work_pools:
        for where in pool.namespaces:
            yield Location(where, pool.key, pool.name)
            yield Location(where, pool.key)  # as versions before 0.2 named it
