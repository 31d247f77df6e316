"""Which lock a set should serve: the one that spec.revision names, the one it has, or a new one.

A new one is asked for when the inputs have changed, which keeps all pins that may stay, or
when a refresh is due or was asked for, which lets them move.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from flowdeps.api.reasons import Reason
from flowdeps.api.resource import REFRESH_ANNOTATION, SetSpec
from flowdeps.api.times import parse_time
from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.plan import (
    LockRecord,
    Place,
    newest_record,
    pinned_record,
    record_of,
    revisions_of,
)
from flowdeps.reconcile.publish import LockText, too_large
from flowdeps.reconcile.report import Step
from flowdeps.reconcile.resolutions import Failure, Question
from flowdeps.reconcile.world import World
from flowdeps.store import ConfigMapView, SetEntry

_SPREAD = 0.1
"""Share of the interval by which refreshes are spread, so that sets don't wake together."""


def chosen(
    spec: SetSpec,
    last: tuple[LockRecord, str] | None,
    *,
    home: Place,
    views: Sequence[ConfigMapView],
) -> tuple[tuple[LockRecord, str] | None, Step | None]:
    """The lock to serve as long as no other is made, and what spec.revision makes of it.

    Without spec.revision there is nothing to say; a revision that was served because of it gives
    way to the newest.
    """
    found = last
    said = None
    if spec.revision:
        found = pinned_record(home, views, spec.revision)
        said = Step(True, Reason.PINNED, f"{spec.revision}, as spec.revision says")
        if found is None:
            kept = [view.name.removeprefix("flowdeps-") for view in revisions_of(home, views)]
            text = f'spec.revision: there is no revision "{spec.revision}"; '
            text += f"there are: {', '.join(kept)}" if kept else "there is none yet"
            return last, Step(False, Reason.REVISION_NOT_FOUND, text)
    elif last and last[0].pinned:
        found = newest_record(home, views) or last
    if found and last:
        # Which refresh was met is the set's, not the revision's.
        found = (replace(found[0], refresh=last[0].refresh), found[1])
    return found, said


def ask(
    world: World, entry: SetEntry, spec: SetSpec, record: LockRecord | None, before: LockText
) -> tuple[Lock, LockRecord] | Failure | Step:
    """A new lock and its record, a failure, or a step: done where the record holds."""
    now = world.now()
    if spec.target is None:
        return Step(False, Reason.IMAGE_UNKNOWN, "spec.python.version: missing; add it")
    request = LockRequest(
        requirements=spec.requirements,
        constraints=spec.constraints,
        target=spec.target,
        index=spec.index.index if spec.index.index.url else world.config.index,
    )
    wanted = entry.meta.annotations.get(REFRESH_ANNOTATION, "")
    due = next_refresh(entry, spec, record)
    refresh = record is not None and (wanted != record.refresh or (due and due <= now))
    if record and record.inputs == request.digest and not refresh:
        return Step(True, Reason.RESOLVED)
    keeps = record if record and not refresh else None
    answer = world.resolutions.ask(
        entry.key,
        Question(request.digest, keeps.digest if keeps else "", wanted),
        request=request,
        previous=before.lock if keeps else _nothing,
    )
    if answer is None:
        return Step(False, Reason.RESOLVING, "uv is looking for versions that fit together")
    if isinstance(answer, Failure):
        return answer
    if problem := too_large(answer):
        return Step(False, Reason.LOCK_TOO_LARGE, problem)
    stamp = now.isoformat(timespec="microseconds")
    made = record_of(
        answer,
        request,
        resolved_at=stamp,
        refreshed_at=keeps.refreshed_at if keeps else stamp,
        refresh=wanted,
    )
    return answer, made


def next_refresh(entry: SetEntry, spec: SetSpec, record: LockRecord | None) -> datetime | None:
    """When pins may move next; None where they never do by themselves."""
    if spec.interval is None or record is None:
        return None
    refreshed = parse_time(record.refreshed_at)
    if refreshed is None:
        return None
    share = int(hashlib.sha256(entry.meta.uid.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    spread: timedelta = spec.interval * (_SPREAD * share)
    return refreshed + spec.interval + spread


async def _nothing() -> None:
    return None
