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
    image_dict,
    lock_dict,
    mapping,
    mappings,
    parse_image,
    parse_lock,
    parse_proposed,
    parse_vulnerabilities,
    pool_dict,
    proposed_dict,
    revision_dict,
    text,
    texts,
    vulnerability_dict,
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
    """All of the status. `conditions` are as `merge_conditions` returns them; lists stand in the
    order in which they are shown. `vulnerabilities` None: no database says."""

    observed_generation: int | None = None
    conditions: Sequence[Mapping[str, Any]] = ()
    lock: LockStatus | None = None
    image: ImageStatus | None = None
    proposed: ProposedStatus | None = None
    vulnerabilities: tuple[VulnerabilityStatus, ...] | None = None
    revisions: tuple[RevisionStatus, ...] = ()
    work_pools: tuple[PoolStatus, ...] = ()
    next_refresh_at: datetime | None = None
    last_handled_refresh_at: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The status as JSON, without what is absent."""
        known = self.vulnerabilities
        status: dict[str, Any] = {
            "observedGeneration": self.observed_generation,
            "conditions": [dict(condition) for condition in self.conditions],
            "lock": self.lock and lock_dict(self.lock),
            "image": self.image and image_dict(self.image),
            "proposed": self.proposed and proposed_dict(self.proposed),
            "vulnerabilities": [
                vulnerability_dict(item) for item in (known or ())[:VULNERABILITIES_LIMIT]
            ],
            "vulnerabilityCount": None if known is None else len(known),
            "revisions": [revision_dict(item) for item in self.revisions[:REVISIONS_LIMIT]],
            "workPools": [pool_dict(item) for item in self.work_pools[:POOLS_LIMIT]],
            "workPoolsSynced": _synced(self.work_pools),
            "nextRefreshAt": self.next_refresh_at and format_time(self.next_refresh_at),
            "lastHandledRefreshAt": self.last_handled_refresh_at
            and self.last_handled_refresh_at[:REQUEST_LIMIT],
        }
        return {name: value for name, value in status.items() if value not in (None, [], "")}


def parse_status(body: Mapping[str, Any]) -> SetStatus:
    """The status of an object; whatever is missing or malformed in it is left out."""
    status = mapping(body.get("status"))
    generation = status.get("observedGeneration")
    requested = status.get("lastHandledRefreshAt")
    return SetStatus(
        # -1, the schema's default: nobody has looked yet.
        observed_generation=generation if isinstance(generation, int) and generation > 0 else None,
        conditions=tuple(dict(item) for item in mappings(status.get("conditions"))),
        lock=parse_lock(mapping(status.get("lock"))),
        image=parse_image(mapping(status.get("image"))),
        proposed=parse_proposed(mapping(status.get("proposed"))),
        vulnerabilities=parse_vulnerabilities(status),
        revisions=tuple(
            RevisionStatus(
                name=name,
                digest=digest,
                created_at=created,
                summary=text(item, "summary") or "",
                proposed=item.get("proposed") is True,
            )
            for item in mappings(status.get("revisions"))
            if (name := text(item, "name"))
            and (digest := text(item, "digest"))
            and (created := parse_time(item.get("createdAt")))
        ),
        work_pools=tuple(
            PoolStatus(
                name=name,
                key=key,
                synced=item.get("synced") is True,
                namespaces=texts(item.get("namespaces")),
                message=text(item, "message") or "",
            )
            for item in mappings(status.get("workPools"))
            if (name := text(item, "name")) and (key := text(item, "key"))
        ),
        next_refresh_at=parse_time(status.get("nextRefreshAt")),
        last_handled_refresh_at=requested if isinstance(requested, str) else None,
    )


def _synced(pools: Sequence[PoolStatus]) -> str:
    return f"{sum(pool.synced for pool in pools)}/{len(pools)}" if pools else ""
