"""The status of a set: what is served, which revisions there are, how far each pool is.

`SetStatus.to_dict` writes what the resource's schema accepts, whatever it is given: texts and
lists are cut to the schema's bounds, so that a status write never fails for its size.
`parse_status` accepts everything and leaves out what it does not understand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowdeps.api.statusparts import (
    ImageStatus,
    LockStatus,
    PoolStatus,
    ProposedStatus,
    RevisionStatus,
    VulnerabilityStatus,
    mapping,
    mappings,
    parse,
    parse_all,
    to_json,
)
from flowdeps.api.times import format_time, parse_time

__all__ = [
    "ImageStatus",
    "LockStatus",
    "PoolStatus",
    "ProposedStatus",
    "RevisionStatus",
    "SetStatus",
    "VulnerabilityStatus",
    "parse_status",
]

REVISIONS_LIMIT = 100
POOLS_LIMIT = 32
REQUEST_LIMIT = 128
VULNERABILITIES_LIMIT = 50


@dataclass(frozen=True, kw_only=True)
class SetStatus:
    """All of the status."""

    observed_generation: int | None = None
    """The generation of the spec that it is about; None: no operator has seen the set."""
    conditions: Sequence[Mapping[str, Any]] = ()
    """What `merge_conditions` returns."""
    lock: LockStatus | None = None
    image: ImageStatus | None = None
    proposed: ProposedStatus | None = None
    vulnerabilities: tuple[VulnerabilityStatus, ...] | None = None
    """The known vulnerabilities of the lock's pins; None: no database knows."""
    revisions: tuple[RevisionStatus, ...] = ()
    """Newest first."""
    work_pools: tuple[PoolStatus, ...] = ()
    """In the order of the spec."""
    next_refresh_at: datetime | None = None
    last_handled_refresh_at: str | None = None
    """The last request for a refresh that was met."""

    def to_dict(self) -> dict[str, Any]:
        """Return the status as JSON, without what is absent."""
        known, pools = self.vulnerabilities, self.work_pools
        synced = f"{sum(pool.synced for pool in pools)}/{len(pools)}" if pools else ""
        status: dict[str, Any] = {
            "observedGeneration": self.observed_generation,
            "conditions": [dict(condition) for condition in self.conditions],
            "lock": self.lock and to_json(self.lock),
            "image": self.image and to_json(self.image),
            "proposed": self.proposed and to_json(self.proposed),
            "vulnerabilities": [to_json(item) for item in (known or ())[:VULNERABILITIES_LIMIT]],
            "vulnerabilityCount": None if known is None else len(known),
            "revisions": [to_json(item) for item in self.revisions[:REVISIONS_LIMIT]],
            "workPools": [to_json(item) for item in pools[:POOLS_LIMIT]],
            "workPoolsSynced": synced,
            "nextRefreshAt": self.next_refresh_at and format_time(self.next_refresh_at),
            "lastHandledRefreshAt": (self.last_handled_refresh_at or "")[:REQUEST_LIMIT],
        }
        return {name: value for name, value in status.items() if value not in (None, [], "")}


def parse_status(body: Mapping[str, Any]) -> SetStatus:
    """Return the status of an object, without what is missing or malformed in it."""
    status = mapping(body.get("status"))
    generation = status.get("observedGeneration")
    requested = status.get("lastHandledRefreshAt")
    counted = isinstance(status.get("vulnerabilityCount"), int)
    return SetStatus(
        # -1, the schema's default: no operator has seen the set.
        observed_generation=generation if isinstance(generation, int) and generation > 0 else None,
        conditions=tuple(dict(item) for item in mappings(status.get("conditions"))),
        lock=parse(LockStatus, status.get("lock")),
        image=parse(ImageStatus, status.get("image")),
        proposed=parse(ProposedStatus, status.get("proposed")),
        vulnerabilities=parse_all(VulnerabilityStatus, status.get("vulnerabilities"))
        if counted
        else None,
        revisions=parse_all(RevisionStatus, status.get("revisions")),
        work_pools=parse_all(PoolStatus, status.get("workPools")),
        next_refresh_at=parse_time(status.get("nextRefreshAt")),
        last_handled_refresh_at=requested if isinstance(requested, str) else None,
    )
