"""Events of a set that no condition's reason names: what became of its locks.

What else is posted has the reason of a condition, and is posted when that changes.
"""

from enum import StrEnum
from typing import Literal

Kind = Literal["Normal", "Warning"]


class Event(StrEnum):
    """An event's reason; `kind` is its type, `description` says when it is posted."""

    kind: Kind
    description: str

    def __new__(cls, value: str, kind: Kind, description: str) -> "Event":
        event = str.__new__(cls, value)
        event._value_ = value
        event.kind = kind
        event.description = description
        return event

    LOCK_PUBLISHED = (
        "LockPublished",
        "Normal",
        "Another lock is in service; the note names its revision and what changed.",
    )
    REVISION_PROPOSED = (
        "RevisionProposed",
        "Normal",
        "With `updates: Manual`, a refresh found something; the note has what it would change.",
    )
    KEY_IN_USE = (
        "KeyInUse",
        "Warning",
        "Deployments still choose a set that is being deleted; Prefect refuses their next runs.",
    )
    CLEANUP_GIVEN_UP = (
        "CleanupGivenUp",
        "Warning",
        "A set was deleted, but for too long it could not be removed from a pool, or a copy of its"
        " lock could not be deleted. The rest is removed when Prefect answers again, or the API"
        " server allows it.",
    )
