"""Why a set is as it is, worked out from what was seen of it. Pure.

The status says what the operator found; the ConfigMaps that runs mount, the pods that run and the
pools themselves say what there is. Where the two differ, or where the status is not about the spec
as it stands, that is said too: the operator may be away.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flowdeps.api.conditions import Condition, ConditionType, find_condition
from flowdeps.api.names import mounted_name
from flowdeps.api.reasons import Reason
from flowdeps.api.status import LockStatus, PoolStatus, SetStatus, parse_status
from flowdeps.api.times import parse_time

Body = Mapping[str, Any]

_PATIENCE = timedelta(minutes=1)
"""After so long somebody has seen a change; a pass takes a second."""
_LATE = timedelta(minutes=30)
_SHOWN_EVENTS = 5
_STEPS = (
    ConditionType.RESOLVED,
    ConditionType.VERIFIED,
    ConditionType.PUBLISHED,
    ConditionType.POOLS_SYNCED,
    ConditionType.VULNERABLE,
)
_QUIET = {
    *(Reason.NO_VULNERABILITIES, Reason.VERIFY_DISABLED, Reason.NO_IMAGE_TO_VERIFY),
    *(Reason.PENDING,),
}
"""Not true, and yet nothing that anybody asks about: asked for, or explained by an earlier step."""
_UNKNOWN = "This version of flowdeps does not know the reason."


@dataclass(frozen=True)
class Mounted:
    """A ConfigMap that runs mount: its lock's digest, and the set that it is of."""

    digest: str
    holder: str


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was found of a set: `mounted`, by namespace and key, is the lock that runs mount there
    (None: no ConfigMap); `offered`, by pool, the keys in its template, or why it could not be
    looked at."""

    body: Body
    events: Sequence[Body] = ()
    pods: Sequence[Body] = ()
    mounted: Mapping[tuple[str, str], Mounted | None] = field(default_factory=dict)
    offered: Mapping[str, Sequence[str] | str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A condition that is not good, in plain words."""

    condition: str
    status: str
    reason: str
    meaning: str
    message: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What runs get that choose a key of a pool: a revision, or why they don't."""

    pool: str
    key: str
    revision: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The answer; `state` is what the set does about it: done, waits (for a person), retries,
    works, suspended, goes, unseen."""

    set: str
    state: str
    ready: bool
    reason: str
    since: datetime | None
    revision: str
    packages: int
    python: str
    resolved_at: datetime | None
    notes: tuple[str, ...]
    troubles: tuple[Trouble, ...]
    serving: tuple[Serving, ...]
    pods: tuple[str, ...]
    events: tuple[str, ...]


def explain(seen: Seen, *, now: datetime) -> Explanation:
    """What there is to say of a set."""
    meta, status = seen.body["metadata"], parse_status(seen.body)
    ready = find_condition(status.conditions, ConditionType.READY)
    lock = status.lock
    return Explanation(
        set=f"{meta['namespace']}/{meta['name']}",
        state=_state(seen.body, status, ready),
        ready=ready is not None and ready.status == "True" and _current(seen.body),
        reason=ready.reason if ready else "",
        since=_since(status, ConditionType.READY),
        revision=lock.revision if lock else "",
        packages=lock.packages if lock else 0,
        python=lock.python if lock else "",
        resolved_at=lock.resolved_at if lock else None,
        notes=tuple(_notes(seen, status, now)),
        troubles=tuple(_troubles(status, ready)),
        serving=tuple(_serving(seen, status)),
        pods=tuple(_pod(one, now) for one in seen.pods),
        events=tuple(_event(one, now) for one in _newest(seen.events)),
    )


def ago(time: datetime, now: datetime) -> str:
    """How long ago, in the two largest units."""
    seconds = max(0, round((now - time).total_seconds()))
    for unit, size, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size} {unit}" + (f" {rest} {below}" if rest else "") + " ago"
    return f"{seconds // 60} min ago" if seconds >= 60 else f"{seconds} s ago"


def _state(body: Body, status: SetStatus, ready: Condition | None) -> str:
    if body["metadata"].get("deletionTimestamp"):
        return "goes"
    if ready is None:
        return "unseen"
    if ready.reason == Reason.SUSPENDED:
        return "suspended"
    if ready.status == "True":
        return "done"
    if find_condition(status.conditions, ConditionType.STALLED):
        return "waits"
    return "works" if ready.is_under_way else "retries"


def _current(body: Body) -> bool:
    """Whether the status is about the spec as it stands."""
    observed = (body.get("status") or {}).get("observedGeneration")
    return bool(observed == body["metadata"].get("generation"))


def _since(status: SetStatus, type_: ConditionType) -> datetime | None:
    found = (one for one in status.conditions if one.get("type") == type_)
    return next((parse_time(one.get("lastTransitionTime")) for one in found), None)


def _troubles(status: SetStatus, ready: Condition | None) -> Iterator[Trouble]:
    told = set()
    for type_ in _STEPS:
        one = find_condition(status.conditions, type_)
        good = "False" if type_ is ConditionType.VULNERABLE else "True"
        if one is None or one.status == good or one.reason in _QUIET or one.reason in told:
            continue
        told.add(one.reason)
        yield _trouble(one)
    if ready and ready.status != "True" and not told:
        yield _trouble(ready)


def _trouble(one: Condition) -> Trouble:
    reason = one.reason if isinstance(one.reason, Reason) else None
    return Trouble(
        condition=one.type,
        status=one.status,
        reason=one.reason,
        meaning=reason.description if reason else _UNKNOWN,
        message=one.message,
        remedy=reason.remedy if reason else "",
    )


def _notes(seen: Seen, status: SetStatus, now: datetime) -> Iterator[str]:
    meta = seen.body["metadata"]
    changed = _changed(meta) or now
    if deleted := parse_time(meta.get("deletionTimestamp")):
        yield (
            f"it is being deleted since {ago(deleted, now)}: its key leaves the templates of its"
            " pools, then its ConfigMaps go"
        )
        if now - deleted > _LATE:
            yield f"that takes too long; {_AWAY}"
    elif not status.conditions:
        yield f"the operator has not seen it yet{f'; {_AWAY}' if now - changed > _PATIENCE else ''}"
    elif not _current(seen.body):
        text = "what is said here is of the spec as it was before the last change"
        yield text + (f" ({ago(changed, now)}); {_AWAY}" if now - changed > _PATIENCE else "")
    elif status.next_refresh_at and now - status.next_refresh_at > _LATE:
        yield (
            f"a refresh was due {ago(status.next_refresh_at, now)} and no lock came of it; where no"
            f" reason below says why, {_AWAY}"
        )
    if proposed := status.proposed:
        yield (
            f"{proposed.revision} waits for approval ({proposed.summary or 'nothing moves'});"
            " set spec.revision to it to serve it"
        )


_AWAY = "is the operator running, and does it watch this namespace?"


def _changed(meta: Body) -> datetime | None:
    """When somebody other than the operator's status last changed the object."""
    times = [
        parse_time(one.get("time"))
        for one in meta.get("managedFields") or ()
        if one.get("subresource") != "status"
    ]
    times.append(parse_time(meta.get("creationTimestamp")))
    return max(filter(None, times), default=None)


def _serving(seen: Seen, status: SetStatus) -> Iterator[Serving]:
    lock = status.lock
    for pool in status.work_pools:
        problems = list(dict.fromkeys(_problems(seen, pool, lock))) if lock else [_NO_LOCK]
        yield Serving(
            pool=pool.name,
            key=pool.key,
            revision=lock.revision if lock and not problems else "",
            problem="; ".join(problems),
        )


_NO_LOCK = "there is no lock yet"


def _problems(seen: Seen, pool: PoolStatus, lock: LockStatus) -> Iterator[str]:
    """Why runs of a pool don't get a lock under its key."""
    live, key = seen.offered.get(pool.name), pool.key
    if live is None or isinstance(live, str):
        if not pool.synced:
            yield pool.message
    elif key not in live:
        yield pool.message or "its template does not offer the key, though it should"
    if not pool.namespaces and not pool.synced:
        yield pool.message
    own = f"{seen.body['metadata']['namespace']}/{seen.body['metadata']['name']}"
    for namespace in pool.namespaces:
        if (namespace, key) not in seen.mounted:
            continue
        there = seen.mounted[namespace, key]
        if there is None:
            yield f"namespace {namespace} has no ConfigMap {mounted_name(key)}"
        elif there.holder != own:
            yield f"in namespace {namespace} the key is of the set {there.holder}"
        elif there.digest != lock.digest:
            yield f"namespace {namespace} has another lock ({there.digest[:17]}…)"


def _pod(body: Body, now: datetime) -> str:
    meta, status = body["metadata"], body.get("status") or {}
    waiting = [
        reason
        for one in (
            *(status.get("initContainerStatuses") or ()),
            *(status.get("containerStatuses") or ()),
        )
        if (reason := ((one.get("state") or {}).get("waiting") or {}).get("reason"))
    ]
    what = ", ".join([status.get("phase") or "Pending", *dict.fromkeys(waiting)])
    made = parse_time(meta.get("creationTimestamp"))
    return f"{meta['name']}: {what}" + (f", made {ago(made, now)}" if made else "")


def _newest(events: Sequence[Body]) -> list[Body]:
    return sorted(events, key=_happened, reverse=True)[:_SHOWN_EVENTS]


def _happened(event: Body) -> str:
    return str(event.get("eventTime") or event.get("lastTimestamp") or "")


def _event(event: Body, now: datetime) -> str:
    time = parse_time(_happened(event))
    when = f"{ago(time, now)}: " if time else ""
    return f"{when}{event.get('reason', '')}: {event.get('message', '')}"
