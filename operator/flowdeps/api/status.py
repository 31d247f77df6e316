"""The status of a set: what is served, which revisions there are, how far each pool is.

`SetStatus.to_dict` writes what the resource's schema accepts, whatever it is given: texts and
lists are cut to the schema's bounds, so that a status write never fails for its size.
`parse_status` accepts everything and leaves out what it does not understand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowdeps.api.conditions import shorten
from flowdeps.api.times import format_time, parse_time

REVISIONS_LIMIT = 100
POOLS_LIMIT = 32
NAMESPACES_LIMIT = 32
SUMMARY_LIMIT = 1024
POOL_MESSAGE_LIMIT = 1024
REQUEST_LIMIT = 128


@dataclass(frozen=True, kw_only=True)
class LockStatus:
    """The lock in service. `revision` is its revision's name, `packages` its number of pins."""

    digest: str
    revision: str
    packages: int
    python: str
    platforms: tuple[str, ...]
    resolved_at: datetime
    inputs_digest: str


@dataclass(frozen=True, kw_only=True)
class RevisionStatus:
    """A published revision; `summary` says in a line what changed from the one before."""

    name: str
    digest: str
    created_at: datetime
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class PoolStatus:
    """How far a pool is; `namespaces` are those where its jobs run and the lock is kept."""

    name: str
    key: str
    synced: bool
    namespaces: tuple[str, ...] = ()
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class SetStatus:
    """All of the status. `conditions` are as `merge_conditions` returns them; `revisions` and
    `work_pools` stand in the order in which they are shown."""

    observed_generation: int | None = None
    conditions: Sequence[Mapping[str, Any]] = ()
    lock: LockStatus | None = None
    revisions: tuple[RevisionStatus, ...] = ()
    work_pools: tuple[PoolStatus, ...] = ()
    next_refresh_at: datetime | None = None
    last_handled_refresh_at: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The status as JSON, without what is absent."""
        status: dict[str, Any] = {
            "observedGeneration": self.observed_generation,
            "conditions": [dict(condition) for condition in self.conditions],
            "lock": self.lock and _lock_dict(self.lock),
            "revisions": [_revision_dict(item) for item in self.revisions[:REVISIONS_LIMIT]],
            "workPools": [_pool_dict(item) for item in self.work_pools[:POOLS_LIMIT]],
            "workPoolsSynced": _synced(self.work_pools),
            "nextRefreshAt": self.next_refresh_at and format_time(self.next_refresh_at),
            "lastHandledRefreshAt": self.last_handled_refresh_at
            and self.last_handled_refresh_at[:REQUEST_LIMIT],
        }
        return {name: value for name, value in status.items() if value not in (None, [], "")}


def parse_status(body: Mapping[str, Any]) -> SetStatus:
    """The status of an object; whatever is missing or malformed in it is left out."""
    status = _mapping(body.get("status"))
    generation = status.get("observedGeneration")
    requested = status.get("lastHandledRefreshAt")
    return SetStatus(
        observed_generation=generation if isinstance(generation, int) else None,
        conditions=tuple(dict(item) for item in _mappings(status.get("conditions"))),
        lock=_parse_lock(_mapping(status.get("lock"))),
        revisions=tuple(
            RevisionStatus(
                name=name, digest=digest, created_at=created, summary=_text(item, "summary") or ""
            )
            for item in _mappings(status.get("revisions"))
            if (name := _text(item, "name"))
            and (digest := _text(item, "digest"))
            and (created := parse_time(item.get("createdAt")))
        ),
        work_pools=tuple(
            PoolStatus(
                name=name,
                key=key,
                synced=item.get("synced") is True,
                namespaces=_texts(item.get("namespaces")),
                message=_text(item, "message") or "",
            )
            for item in _mappings(status.get("workPools"))
            if (name := _text(item, "name")) and (key := _text(item, "key"))
        ),
        next_refresh_at=parse_time(status.get("nextRefreshAt")),
        last_handled_refresh_at=requested if isinstance(requested, str) else None,
    )


def _synced(pools: Sequence[PoolStatus]) -> str:
    return f"{sum(pool.synced for pool in pools)}/{len(pools)}" if pools else ""


def _lock_dict(lock: LockStatus) -> dict[str, Any]:
    return {
        "digest": lock.digest,
        "revision": lock.revision,
        "packages": lock.packages,
        "python": lock.python,
        "platforms": list(lock.platforms),
        "resolvedAt": format_time(lock.resolved_at),
        "inputsDigest": lock.inputs_digest,
    }


def _revision_dict(revision: RevisionStatus) -> dict[str, Any]:
    return {
        "name": revision.name,
        "digest": revision.digest,
        "createdAt": format_time(revision.created_at),
        "summary": shorten(revision.summary, SUMMARY_LIMIT),
    }


def _pool_dict(pool: PoolStatus) -> dict[str, Any]:
    return {
        "name": pool.name,
        "key": pool.key,
        "synced": pool.synced,
        "namespaces": list(pool.namespaces[:NAMESPACES_LIMIT]),
        "message": shorten(pool.message, POOL_MESSAGE_LIMIT),
    }


def _parse_lock(value: Mapping[str, Any]) -> LockStatus | None:
    digest, revision = _text(value, "digest"), _text(value, "revision")
    python, inputs = _text(value, "python"), _text(value, "inputsDigest")
    packages, resolved = value.get("packages"), parse_time(value.get("resolvedAt"))
    if not (digest and revision and python and inputs and resolved):
        return None
    return LockStatus(
        digest=digest,
        revision=revision,
        packages=packages if isinstance(packages, int) else 0,
        python=python,
        platforms=_texts(value.get("platforms")),
        resolved_at=resolved,
        inputs_digest=inputs,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _text(value: Mapping[str, Any], name: str) -> str | None:
    text = value.get(name)
    return text if isinstance(text, str) and text else None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
