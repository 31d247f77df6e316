"""Which lock a set should serve: the one that spec.revision names, the one it has, or a new one.

A new one is asked for when the inputs have changed, which keeps all pins that may stay, or
when a refresh is due or was asked for, which lets them move. `safest` says what becomes of pins
with known vulnerabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from flowdeps.api.names import REFRESH_REQUESTED_ANNOTATION, choice_of
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.resource import SetSpec, Updates
from flowdeps.api.times import parse_time
from flowdeps.gather.inputs import Inputs
from flowdeps.gather.least_vulnerable import least_vulnerable
from flowdeps.gather.refusals import too_large
from flowdeps.locks.access import Access
from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.publish import LockText
from flowdeps.resolver import Resolution
from flowdeps.scheduling.tracking import Failure
from flowdeps.state import (
    Location,
    LockRecord,
    newest_record,
    pinned_record,
    record_of,
    refresh_after,
    revisions_of,
)
from flowdeps.state.store import ConfigMapView, SetEntry

_NOTES = 800


@dataclass(frozen=True)
class Question:
    """What a resolver is asked: inputs, the digest of the last lock, whether to keep its pins, why
    again.

    `stamp` sets questions apart that would else be equal: a refresh that somebody asked for by
    hand is not answered from memory. Nor is what others may see with their credentials.
    """

    inputs: str
    previous: str
    keep: bool
    stamp: str
    access: Access | None = None


@dataclass(frozen=True, kw_only=True)
class NewLock:
    """A new lock with its record; `refresh`: pins were free to move."""

    lock: Lock
    record: LockRecord
    refresh: bool


def lock_to_serve(
    spec: SetSpec,
    last: tuple[LockRecord, str] | None,
    *,
    home: Location,
    views: Sequence[ConfigMapView],
) -> tuple[tuple[LockRecord, str] | None, Outcome | None]:
    """The lock to serve as long as no other is made, and what spec.revision makes of it.

    Without spec.revision there is nothing to say; a revision that was served because of it gives
    way to the newest.
    """
    found = last
    said = None
    if spec.revision:
        found = pinned_record(home, views, spec.revision)
        said = Outcome.done(Reason.PINNED, f"{spec.revision}, as spec.revision says")
        if found is None:
            kept = [choice_of(view.name) for view in revisions_of(home, views)]
            text = f'spec.revision: there is no revision "{spec.revision}"; '
            text += f"there are: {', '.join(kept)}" if kept else "there is none yet"
            return last, Outcome.failed(Reason.REVISION_NOT_FOUND, text)
    elif last and last[0].pinned:
        found = newest_record(home, views) or last
    if found and last and found[0].digest == last[0].digest:
        # The current ConfigMap knows more of it than its revision, which never changes.
        found = (replace(last[0], pinned=found[0].pinned), found[1])
    elif found and last:
        # Which refresh was met is the set's, not the revision's.
        found = (replace(found[0], refresh=last[0].refresh), found[1])
    return found, said


def ask(
    context: Context,
    entry: SetEntry,
    spec: SetSpec,
    inputs: Inputs,
    *,
    record: LockRecord | None,
    settled: str,
    before: LockText,
) -> NewLock | Failure[Reason] | Outcome:
    """A new lock and its record, a failure, or a step: done where the record holds.

    `record` is the lock in service, `settled` the digest of further inputs that need no new lock
    (those of a proposal, which waits for an approval).
    """
    now = context.now()
    wanted = entry.meta.annotations.get(REFRESH_REQUESTED_ANNOTATION, "")
    due = next_refresh(entry, spec, record)
    changed = record is None or inputs.digest not in {record.inputs, settled}
    # What somebody changed is published; what a refresh moves may have to wait for an approval.
    waits = changed and spec.updates is Updates.MANUAL
    refresh = bool(record and not waits and (wanted != record.refresh or (due and due <= now)))
    if record and not changed and not refresh:
        return resolved(inputs, record)
    stamp = now.isoformat(timespec="microseconds")
    keeps = record if record and not refresh else None
    answer: Resolution | Failure[Reason] | None
    request = inputs.wanted
    if isinstance(request, Lock):
        answer = Resolution(request)
    else:
        question = Question(
            inputs.digest,
            record.digest if record else "",
            keep=keeps is not None,
            stamp=wanted,
            access=inputs.access,
        )
        answer = _resolve(context, entry, question, request, before=before)
    if answer is None:
        return Outcome.waits(Reason.RESOLVING, "uv is looking for versions that fit together")
    if isinstance(answer, Failure):
        return answer
    if problem := too_large(answer.lock):
        return problem
    made = record_of(
        answer.lock,
        inputs=inputs.digest,
        index=inputs.index,
        resolved_at=stamp,
        refreshed_at=keeps.refreshed_at if keeps else stamp,
        refresh=record.refresh if record and waits else wanted,
        notes="; ".join(answer.notes)[:_NOTES],
        image=inputs.image.ref.image if inputs.image else "",
        shadow=spec.shadow if inputs.image else (),
        credentials=inputs.access is not None,
    )
    return NewLock(lock=answer.lock, record=made, refresh=refresh)


def resolved(inputs: Inputs, record: LockRecord) -> Outcome:
    """That there is a lock, and what people should know of it."""
    notes = filter(None, (*inputs.notes, record.notes))
    return Outcome.done(Reason.RESOLVED, "; ".join(notes))


def next_refresh(entry: SetEntry, spec: SetSpec, record: LockRecord | None) -> datetime | None:
    """When pins may move next; None where they never do by themselves."""
    after = refresh_after(entry)
    if after is None or record is None or spec.lock_from:
        return None
    refreshed = parse_time(record.refreshed_at)
    return refreshed + after if refreshed else None


def _resolve(
    context: Context,
    entry: SetEntry,
    question: Question,
    request: LockRequest,
    *,
    before: LockText,
) -> Resolution | Failure[Reason] | None:
    async def find() -> Resolution:
        previous = await before.lock()

        async def answer(one: LockRequest) -> Resolution:
            return await context.resolve(
                one, previous=previous, keep=question.keep, access=question.access
            )

        return await least_vulnerable(request, ask=answer, known=context.vulnerable)

    return context.resolutions.ask(entry.key, question, find)
