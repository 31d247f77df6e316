"""What sets have reported, as far as Prefect is told of it. Sets write it, the announcer reads it.

A set puts up what its status says once that is written, so what a restart finds there is the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from flowdeps.api.status import EnvironmentStatus, SetStatus, VulnerabilityStatus
from flowdeps.reconcile.announcements.happenings import Happening, happenings
from flowdeps.state.records import LockRecord
from flowdeps.state.store import SetEntry, SetKey

Step = Callable[[], Awaitable[None]]
"""Looks at one page or event, and brings it in line."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """All of a set that its pages show."""

    record: LockRecord
    """The lock in service, without what says how it was made."""
    served_since: str
    summary: str
    """What it changed, in a line."""
    environment: EnvironmentStatus | None
    vulnerabilities: Sequence[VulnerabilityStatus] | None
    """None: no database says."""


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """What Prefect should know of a set."""

    key: SetKey
    content: Content | None
    """None: no lock is in service."""
    happenings: Sequence[Happening]


@dataclass
class Board:
    """The announcements of all sets."""

    known: dict[SetKey, Announcement] = field(default_factory=dict)
    news: dict[SetKey, None] = field(default_factory=dict)
    """The sets whose happenings nobody has looked at."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, announcement: Announcement) -> None:
        """Put up what is to be announced of a set."""
        before = self.known.get(announcement.key)
        announcement = _with_known(announcement, before.content if before else None)
        if before != announcement:
            self.known[announcement.key] = announcement
            self.news[announcement.key] = None
            self.changed.set()

    def drop(self, key: SetKey) -> None:
        """Take down a set that is gone."""
        self.news.pop(key, None)
        if self.known.pop(key, None):
            self.changed.set()


def _with_known(announcement: Announcement, before: Content | None) -> Announcement:
    """Return an announcement with the vulnerabilities that were known of its lock: a reconcile that
    ends in an error does not get as far as looking them up."""
    now = announcement.content
    if now is None or before is None or now.vulnerabilities is not None:
        return announcement
    if before.record.digest != now.record.digest:
        return announcement
    content = replace(now, vulnerabilities=before.vulnerabilities)
    return replace(announcement, content=content)


def announcement_of(entry: SetEntry, status: SetStatus, record: LockRecord | None) -> Announcement:
    """Return what to announce of a set with this status and the lock that it is about."""
    lock, content = status.lock, None
    if lock and record:
        revision = next((one for one in status.revisions if one.digest == lock.digest), None)
        content = Content(
            record=replace(record, inputs="", refreshed_at="", refresh="", environment=None),
            served_since=lock.served_since,
            summary=revision.summary if revision else "",
            environment=status.environment,
            vulnerabilities=status.vulnerabilities,
        )
    found = happenings(status, uid=entry.meta.uid)
    return Announcement(key=entry.key, content=content, happenings=found)
