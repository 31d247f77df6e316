"""Events about a set that are not about a condition: what became of its locks.

All other events have the reason of a condition, and are posted when that reason changes.
"""

from enum import StrEnum
from typing import Literal, Self

Kind = Literal["Normal", "Warning"]


class Event(StrEnum):
    """The reason of an event."""

    kind: Kind
    """Its type."""
    description: str
    """When it is posted."""

    def __new__(cls, value: str, kind: Kind, description: str) -> Self:
        """Return a row of the table."""
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
        "With `updates: Manual`, a refresh found a new lock; the note says what it would change.",
    )
    KEY_IN_USE = (
        "KeyInUse",
        "Warning",
        "Deployments still choose a set that is being deleted; their next runs are refused.",
    )
    INSTALL_KILLED = (
        "InstallKilled",
        "Warning",
        "A node ended the install container of a run for lack of memory or disk; the note says of"
        " which, and which field gives it more. At most one in ten minutes for each set.",
    )
    CLEANUP_GIVEN_UP = (
        "CleanupGivenUp",
        "Warning",
        "A set was deleted, but for too long it could not be removed from a pool, or a copy of its"
        " lock could not be deleted. The rest is removed when Prefect answers again, or the API"
        " server allows it.",
    )
