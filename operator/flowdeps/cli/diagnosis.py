"""Why a set is as it is, worked out from what was observed of it. Pure.

The status says what the operator found; the ConfigMaps that runs mount, the pods that run and the
pools themselves say what there is. Where the two differ, or where the status is not about the
present spec, the diagnosis says that too: the operator may be away.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flowdeps.api.conditions import Condition, ConditionType, find_condition
from flowdeps.api.names import mounted_name
from flowdeps.api.reasons import Reason
from flowdeps.api.status import (
    DerivedImageStatus,
    EnvironmentStatus,
    LockStatus,
    PoolStatus,
    ProposedStatus,
    SetStatus,
    parse_status,
)
from flowdeps.api.times import ago, parse_time
from flowdeps.api.wording import POOL_NOTE
from flowdeps.cli.lease import UNKNOWN, LeaseReport

Body = Mapping[str, Any]

NOT_SEEN = "the operator has not seen it yet"
AWAY = "is the operator running, and does it watch this namespace?"

_SETTLING = timedelta(minutes=1)
"""After so long an operator has seen a change; a reconcile takes a second."""
_LATE = timedelta(minutes=30)
_SHOWN_EVENTS = 5
_STEPS = (
    ConditionType.RESOLVED,
    ConditionType.VERIFIED,
    ConditionType.PUBLISHED,
    ConditionType.POOLS_SYNCED,
    ConditionType.AUTHORIZED,
    ConditionType.VULNERABLE,
    ConditionType.BUILT,
)
_QUIET = {
    *(Reason.NO_VULNERABILITIES, Reason.VERIFY_DISABLED, Reason.NO_IMAGE_TO_VERIFY),
    *(Reason.PENDING, Reason.NO_ENVIRONMENTS, Reason.BUILDING),
}
"""Not true, and yet no trouble: it was asked for, an earlier step explains it, or it ends by
itself."""


@dataclass(frozen=True)
class Mounted:
    """A ConfigMap that runs mount."""

    digest: str
    """The digest of its lock."""
    holder: str
    """The set that it belongs to."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What was read of a set, in its cluster and in Prefect."""

    body: Body
    events: Sequence[Body] = ()
    """In any order."""
    pods: Sequence[Body] = ()
    """The pods that try its lock, or look into its image."""
    mounted: Mapping[tuple[str, str], Mounted | None] = field(default_factory=dict)
    """What runs mount, by namespace and name; None: there is no ConfigMap."""
    offered: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The keys in a pool's template, by pool, as far as pools could be read."""
    lease: LeaseReport = UNKNOWN
    unread: Sequence[str] = ()
    """What could not be read, and why."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A condition that is not good."""

    condition: str
    status: str
    reason: str
    meaning: str
    message: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What runs get that choose a key of a pool."""

    pool: str
    key: str
    config_map: str
    """The name of the ConfigMap that they mount."""
    revision: str = ""
    """The revision that they get; empty: they get none."""
    problem: str = ""
    """Why they get none."""
    delivery: str = ""
    """How, by the operator's last word; empty where there are no environments."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What there is to say of a set."""

    set: str
    """Its namespace and name."""
    state: str
    """What happens next: done, waits (for a person), retries, works, suspended, goes, unseen."""
    ready: bool
    """Whether it is ready as its present spec asks."""
    reason: str
    since: datetime | None
    """When its summary last changed."""
    revision: str
    """The lock in service, and what it has."""
    packages: int
    download_size: int
    """Bytes that a run downloads, and that it takes once it is installed; 0: not known."""
    installed_size: int
    python: str
    resolved_at: datetime | None
    environment: EnvironmentStatus | None
    """The lock as it was installed for its image; None: runs install it when they start."""
    images: tuple[DerivedImageStatus, ...]
    """Images that were derived with it."""
    notes: tuple[str, ...]
    """What to know before the rest is believed."""
    troubles: tuple[Trouble, ...]
    serving: tuple[Serving, ...]
    lease: LeaseReport
    pods: tuple[str, ...]
    events: tuple[str, ...]
    """The last events, newest first."""
    not_looked_at: tuple[str, ...]
    """What could not be read, and why."""


def diagnose(observed: Observed, *, now: datetime) -> Diagnosis:
    """Return what there is to say of a set."""
    status = parse_status(observed.body)
    ready = find_condition(status.conditions, ConditionType.READY)
    lock = status.lock
    newest = sorted(observed.events, key=_happened, reverse=True)
    since = (
        parse_time(one.get("lastTransitionTime"))
        for one in status.conditions
        if one.get("type") == ConditionType.READY
    )
    return Diagnosis(
        set=name_of(observed.body),
        state=_state(observed.body, status, ready),
        ready=ready is not None and ready.status == "True" and _is_current(observed.body, status),
        reason=ready.reason if ready else "",
        since=next(filter(None, since), None),
        revision=lock.revision if lock else "",
        packages=lock.packages if lock else 0,
        download_size=lock.download_size if lock else 0,
        installed_size=lock.installed_size if lock else 0,
        python=lock.python if lock else "",
        resolved_at=lock.resolved_at if lock else None,
        environment=status.environment,
        images=status.images,
        notes=tuple(_notes(observed.body, status, now)),
        troubles=tuple(_troubles(status, ready)),
        serving=tuple(_serving(observed, status)),
        lease=observed.lease,
        pods=tuple(_pod(one, now) for one in observed.pods),
        events=tuple(_event(one, now) for one in newest[:_SHOWN_EVENTS]),
        not_looked_at=tuple(observed.unread),
    )


def name_of(body: Body) -> str:
    """Return a set's namespace and name."""
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


def proposal(proposed: ProposedStatus) -> str:
    """Return what a refresh that waits for approval would change, and how to approve it."""
    changes = f" ({proposed.summary})" if proposed.summary else ""
    return f"{proposed.revision} is proposed{changes}; set spec.revision to it to serve it"


def _state(body: Body, status: SetStatus, ready: Condition | None) -> str:
    if body["metadata"].get("deletionTimestamp"):
        return "goes"
    if ready is None:
        return "unseen"
    if ready.reason is Reason.SUSPENDED:
        return "suspended"
    if ready.status == "True":
        return "done"
    if find_condition(status.conditions, ConditionType.STALLED):
        return "waits"
    return "works" if ready.is_under_way else "retries"


def _is_current(body: Body, status: SetStatus) -> bool:
    """Whether the status is about the present spec."""
    return bool(status.observed_generation == body["metadata"].get("generation"))


def _troubles(status: SetStatus, ready: Condition | None) -> Iterator[Trouble]:
    found: dict[str, Condition] = {}
    for type_ in _STEPS:
        step = find_condition(status.conditions, type_)
        good = "False" if type_ is ConditionType.VULNERABLE else "True"
        if step and step.status != good and step.reason not in _QUIET:
            found.setdefault(step.reason, step)
    if ready and ready.status != "True" and not found:
        found[ready.reason] = ready
    for one in found.values():
        reason = one.reason if isinstance(one.reason, Reason) else None
        yield Trouble(
            condition=one.type,
            status=one.status,
            reason=one.reason,
            meaning=reason.description if reason else "This version of flowdeps does not know it.",
            message=one.message,
            remedy=reason.remedy if reason else "",
        )


def _notes(body: Body, status: SetStatus, now: datetime) -> Iterator[str]:
    meta = body["metadata"]
    # The operator itself writes only the status.
    writes = meta.get("managedFields") or ()
    times = [one.get("time") for one in writes if one.get("subresource") != "status"]
    times.append(meta.get("creationTimestamp"))
    changed = max(filter(None, map(parse_time, times)), default=now)
    away = f"; {AWAY}" if now - changed > _SETTLING else ""
    due = status.next_refresh_at
    if deleted := parse_time(meta.get("deletionTimestamp")):
        yield (
            f"its deletion began {ago(deleted, now)}: its key leaves the templates of its pools,"
            " then its ConfigMaps go"
        )
        if now - deleted > _LATE:
            yield f"that takes too long; {AWAY}"
    elif not status.conditions:
        yield f"{NOT_SEEN}{away}"
    elif not _is_current(body, status):
        age = f" ({ago(changed, now)})" if away else ""
        yield f"this answer is of the spec as it was before the last change{age}{away}"
    elif due and now - due > _LATE:
        yield (
            f"a refresh was due {ago(due, now)} and gave no lock; unless a reason below says why,"
            f" {AWAY}"
        )
    if status.proposed:
        yield proposal(status.proposed)
    for pool in status.work_pools:
        if pool.synced and pool.message:
            yield f'work pool "{pool.name}": {pool.message}'
    built = find_condition(status.conditions, ConditionType.BUILT)
    if built and built.status == "True":
        yield from (f"work pool {one}" for one in built.message.split(POOL_NOTE)[1:])


def _serving(observed: Observed, status: SetStatus) -> Iterator[Serving]:
    lock = status.lock
    for pool in status.work_pools:
        found = _problems(observed, pool, lock) if lock else ("there is no lock yet",)
        problem = "; ".join(dict.fromkeys(found))
        revision = lock.revision if lock and not problem else ""
        yield Serving(
            pool=pool.name,
            key=pool.key,
            config_map=mounted_name(pool.key, pool=pool.name),
            revision=revision,
            problem=problem,
            delivery=pool.delivery if revision else "",
        )


def _problems(observed: Observed, pool: PoolStatus, lock: LockStatus) -> Iterator[str]:
    """Yield why runs of a pool don't get a lock under its key."""
    live, key = observed.offered.get(pool.name), pool.key
    if live is None:
        if not pool.synced:
            yield pool.message
    elif key not in live:
        said = "" if pool.synced else pool.message
        yield said or "its template does not offer the key, though it should"
    if not pool.namespaces and not pool.synced:
        yield pool.message
    name = mounted_name(key, pool=pool.name)
    for namespace in pool.namespaces:
        if (namespace, name) not in observed.mounted:
            continue
        there = observed.mounted[namespace, name]
        if there is None:
            yield f"namespace {namespace} has no ConfigMap {name}"
        elif there.holder != name_of(observed.body):
            yield f"in namespace {namespace} the key is of the set {there.holder}"
        elif there.digest != lock.digest:
            yield f"namespace {namespace} has another lock ({there.digest[:17]}…)"


def _pod(body: Body, now: datetime) -> str:
    meta, status = body["metadata"], body.get("status") or {}
    waiting = [
        reason
        for kind in ("initContainerStatuses", "containerStatuses")
        for one in status.get(kind) or ()
        if (reason := ((one.get("state") or {}).get("waiting") or {}).get("reason"))
    ]
    what = ", ".join([status.get("phase") or "Pending", *dict.fromkeys(waiting)])
    made = parse_time(meta.get("creationTimestamp"))
    return f"{meta['name']}: {what}" + (f", made {ago(made, now)}" if made else "")


def _happened(event: Body) -> str:
    return str(event.get("eventTime") or event.get("lastTimestamp") or "")


def _event(event: Body, now: datetime) -> str:
    time = parse_time(_happened(event))
    when = f"{ago(time, now)}: " if time else ""
    return f"{when}{event.get('reason', '')}: {event.get('message', '')}"
