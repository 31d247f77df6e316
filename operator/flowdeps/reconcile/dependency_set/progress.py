"""One reconcile of one set as a value, which grows step by step."""

from dataclasses import dataclass, field
from datetime import datetime

from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.gather.inputs import Inputs
from flowdeps.locks.access import Access
from flowdeps.locks.index import Index
from flowdeps.locks.lock import Lock, LockError, parse_lock
from flowdeps.scheduling.off_loop import off_loop
from flowdeps.state.environment import Environment
from flowdeps.state.locations import Location
from flowdeps.state.records import LockRecord, Served
from flowdeps.state.store import LOCK_FILE, SetEntry
from flowdeps.trials.populate import Populated
from flowdeps.vulnerabilities.matches import Vulnerability

NO_LOCK = Outcome.waits(Reason.PENDING, "waits for a lock")
_NOT_YET = Outcome.waits(Reason.PENDING, "waits for an earlier step")
_NOTHING_KNOWN = Outcome.done(Reason.NO_VULNERABILITIES)
_AT_REST = (Reason.INVALID_SPEC, Reason.TOO_MANY_SETS, Reason.SUSPENDED, Reason.CONFLICT)


@dataclass(frozen=True, kw_only=True)
class NewLock:
    """A lock that was just made."""

    lock: Lock
    record: LockRecord
    refresh: bool
    """Whether pins were free to move."""


@dataclass(kw_only=True)
class Progress:
    """What a reconcile began with, how its steps ended, and what each has found.

    A step fills in its own fields, and changes no other's.
    """

    entry: SetEntry

    selected: Outcome = _NOT_YET
    served: Served | None = None
    """The lock to serve as long as no other is made."""
    pinned: bool = False
    """Whether spec.revision names it."""

    gathered: Outcome = _NOT_YET
    inputs: Inputs | None = None
    index: Index | None = None
    access: Access | None = None
    """What runs need to install the lock from its index; None: nothing."""

    resolved: Outcome = _NOT_YET
    made: NewLock | None = None
    """A new lock, which is not known to work."""

    verified: Outcome = _NOT_YET
    record: LockRecord | None = None
    """The lock to publish."""
    text: Lock | None = None
    """Its text, where it is a new one."""
    proposal: NewLock | None = None
    """A lock that waits for an approval."""

    built: Outcome = _NOT_YET
    environment: Environment | None = None
    """That of the lock to publish, for what its image is now as far as that is known."""

    on_claims: Outcome = _NOT_YET
    populated: dict[Location, Populated] = field(default_factory=dict)
    """What was put on claims where the copies do not say so yet."""
    kept_back: dict[Location, Outcome] = field(default_factory=dict)
    """Why the copy at a location stays as it is."""

    authorized: Outcome = _NOT_YET
    published: Outcome = _NOT_YET
    accepted: Outcome | None = _NOT_YET
    """Whether indexes take the credentials; None: there are none to try."""
    checked: Outcome = _NOTHING_KNOWN
    vulnerabilities: tuple[Vulnerability, ...] | None = None
    """What is known against the lock; None: no database says."""

    scheduled: Outcome = _NOT_YET
    next_refresh: datetime | None = None
    pruned: Outcome = _NOT_YET
    reported: Outcome = _NOT_YET

    _served_text: Lock | None = None

    @property
    def rests(self) -> bool:
        """Whether nothing is to be done but to keep in service what there is."""
        return not self.selected.is_done and self.selected.reason in _AT_REST

    @property
    def retry_after(self) -> float | None:
        """The seconds until the set should be reconciled again; None: an event requeues it."""
        outcomes = (one for one in vars(self).values() if isinstance(one, Outcome))
        return min((one.retry_after for one in outcomes if one.retry_after), default=None)

    async def served_text(self, cluster: Cluster) -> Lock | None:
        """Return the lock in service, read once and when first needed.

        None where there is none, or its text is not what was published.
        """
        if self._served_text is None and self.served:
            namespace = self.entry.key.namespace
            body = await cluster.get_config_map(namespace, self.served.config_map)
            text = ((body or {}).get("data") or {}).get(LOCK_FILE, "")
            try:
                lock = await off_loop(parse_lock, text)
            except LockError:
                return None
            if lock.digest == self.served.record.digest:
                self._served_text = lock
        return self._served_text


def kept(record: LockRecord | None) -> Outcome:
    """Return what becomes of the lock of a set at rest."""
    if record:
        return Outcome.done(Reason.PUBLISHED, f"{record.short} stays in service")
    return Outcome.waits(Reason.PENDING, "no lock was published yet")


def verified_before(record: LockRecord | None) -> Outcome:
    """Return what is known of the lock in service without another trial."""
    if record is None:
        return NO_LOCK
    if record.verified:
        return Outcome.done(Reason.VERIFIED, "it was tried in its image before it was published")
    return Outcome.done(Reason.NO_IMAGE_TO_VERIFY, "it was published without a trial", unknown=True)
