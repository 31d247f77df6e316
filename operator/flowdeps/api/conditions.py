"""Conditions, by the rules of kstatus.

`Ready` is the summary; `Resolved`, `Verified`, `Published` and `PoolsSynced` are its steps, and so
is `Authorized`, which only sets with credentials have. `Vulnerable` is a warning beside them: a set
may be Ready and Vulnerable. So is `Built`, which is about the speed of starts: runs of a set that
is not Built install its lock. `Reconciling` and `Stalled` are present only while they are true: a
spec that cannot work is Ready=False and Stalled=True, an outage is Ready=False and
Reconciling=True.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from flowdeps.api.reasons import Reason
from flowdeps.api.times import format_time
from flowdeps.api.wording import shorten
from flowdeps.locks.legible import printable

Status = Literal["True", "False", "Unknown"]
MESSAGE_LIMIT = 4096


class ConditionType(StrEnum):
    """The conditions of a set, in the order in which they are listed."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    RESOLVED = "Resolved"
    VERIFIED = "Verified"
    PUBLISHED = "Published"
    POOLS_SYNCED = "PoolsSynced"
    AUTHORIZED = "Authorized"
    VULNERABLE = "Vulnerable"
    BUILT = "Built"


_ONLY_WHILE_TRUE = (ConditionType.RECONCILING, ConditionType.STALLED)
_ORDER = list(ConditionType)


@dataclass(frozen=True)
class Condition:
    """What a reconcile found out about one step, or about the whole set."""

    type: ConditionType
    status: Status
    reason: Reason | str
    """A text only where another version of the operator has written it."""
    message: str = ""

    @property
    def is_under_way(self) -> bool:
        """Whether the operator is working on what it is about."""
        return isinstance(self.reason, Reason) and self.reason.is_under_way


def merge_conditions(
    old: Sequence[Mapping[str, Any]],
    new: Sequence[Condition],
    *,
    generation: int,
    now: datetime,
) -> list[dict[str, Any]]:
    """Return `new` as the status has it: each type at most once, in the order of ConditionType.

    A type that only `old` has is dropped. `lastTransitionTime` is kept from `old` unless the status
    differs, so that equal conditions give an equal list.
    """
    before = {str(item.get("type")): item for item in old if isinstance(item, Mapping)}
    merged = []
    for condition in sorted(new, key=lambda item: _ORDER.index(item.type)):
        if condition.type in _ONLY_WHILE_TRUE and condition.status != "True":
            continue
        last = before.get(condition.type, {})
        same = last.get("status") == condition.status and last.get("lastTransitionTime")
        merged.append(
            {
                "type": str(condition.type),
                "status": condition.status,
                "reason": str(condition.reason),
                "message": shorten(printable(condition.message), MESSAGE_LIMIT),
                "observedGeneration": generation,
                "lastTransitionTime": last["lastTransitionTime"] if same else format_time(now),
            }
        )
    return merged


def find_condition(
    conditions: Sequence[Mapping[str, Any]], type_: ConditionType
) -> Condition | None:
    """Return the condition of a type; None where there is none."""
    for item in conditions:
        if item.get("type") == type_ and item.get("status") in ("True", "False", "Unknown"):
            reason = str(item.get("reason", ""))
            message = str(item.get("message", ""))
            return Condition(type_, item["status"], Reason.known(reason) or reason, message)
    return None
