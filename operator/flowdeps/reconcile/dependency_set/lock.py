"""Steps: a new lock where one is needed, and when the next one will be.

A new lock is asked for when the inputs have changed, which keeps all pins that may stay, or when a
refresh is due or was asked for, which lets them move. `least_vulnerable` says what becomes of pins
with known vulnerabilities.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from flowdeps.api.names import INPUTS_ANNOTATION, REFRESH_REQUESTED_ANNOTATION
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import SetSpec, Updates
from flowdeps.api.times import parse_time
from flowdeps.api.wording import as_many_as_fit
from flowdeps.gather.inputs import Inputs
from flowdeps.gather.least_vulnerable import least_vulnerable
from flowdeps.gather.refusals import blocked, lock_too_large, unresolved
from flowdeps.locks.access import Access
from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.locks.size import with_installed
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.progress import NewLock, Progress
from flowdeps.resolver.resolve import Resolution
from flowdeps.scheduling.tracking import RETRY_SETTLED, Failure
from flowdeps.state.locations import primary_location
from flowdeps.state.records import LockRecord, proposals_of, record_of, refresh_after
from flowdeps.state.store import SetEntry

_NOTES = 800


@dataclass(frozen=True)
class Question:
    """What a resolver is asked; equal questions have one answer."""

    inputs: str
    previous: str
    """The digest of the lock in service."""
    keep: bool
    """Whether its pins are kept."""
    stamp: str
    """Sets a refresh that somebody asked for by hand apart: memory does not answer it."""
    access: Access | None = None
    """Nor what others may see with their credentials."""


async def resolve(context: Context, progress: Progress) -> Outcome:
    """Make a new lock where one is needed; done as well where the one in service is right."""
    spec, inputs = progress.entry.spec, progress.inputs
    if not progress.gathered.is_done or spec is None or inputs is None:
        if not progress.gathered.reason.is_under_way:  # else the question may be the same
            context.resolutions.withdraw(progress.entry.key)
        return progress.gathered
    served = progress.served.record if progress.served else None
    with context.resolutions.asking(progress.entry.key):
        found = _new_lock(context, progress, spec, inputs, served)
    if isinstance(found, Outcome):
        return found
    record = found.record if found else served
    if found and served and found.lock.digest == served.digest:
        # Only what is known of it is new.
        record = replace(
            found.record,
            verified=served.verified,
            verify_notes=served.verify_notes,
            size=with_installed(found.record.size, served.size),
            pinned=served.pinned,
        )
        found = replace(found, record=record)
    elif found and (problem := blocked(spec, context.vulnerable(found.lock))):
        return replace(problem, retry_after=RETRY_SETTLED)
    progress.made = found
    if progress.pinned or record is None:
        return progress.selected
    return Outcome.done(Reason.RESOLVED, "; ".join(filter(None, (*inputs.notes, record.notes))))


async def schedule_refresh(context: Context, progress: Progress) -> Outcome:
    """Work out when pins may move next."""
    spec, due = progress.entry.spec, None
    if spec and not progress.rests and not (progress.pinned and spec.updates is Updates.AUTOMATIC):
        due = next_refresh(progress.entry, spec, progress.record)
    progress.next_refresh = due
    left = (due - context.now()).total_seconds() if due else 0.0
    # One that is due is under way, or has failed for now.
    return Outcome.done(Reason.RESOLVED, retry_after=left if left > 0 else None)


def next_refresh(entry: SetEntry, spec: SetSpec, record: LockRecord | None) -> datetime | None:
    """Return when pins may move next; None where they never do by themselves."""
    after = refresh_after(entry)
    if after is None or record is None or spec.lock_from:
        return None
    refreshed = parse_time(record.refreshed_at)
    return refreshed + after if refreshed else None


def _new_lock(
    context: Context,
    progress: Progress,
    spec: SetSpec,
    inputs: Inputs,
    served: LockRecord | None,
) -> NewLock | Outcome | None:
    """A new lock, None where the one in service is right, or why there is none."""
    entry, now = progress.entry, context.now()
    wanted = entry.meta.annotations.get(REFRESH_REQUESTED_ANNOTATION, "")
    due = next_refresh(entry, spec, served)
    answered = {served.inputs} if served else set()
    if progress.pinned:  # the inputs of a proposal need no new lock either
        proposals = proposals_of(primary_location(entry.key), context.held(entry))
        answered |= {one.annotations.get(INPUTS_ANNOTATION, "") for one in proposals[:1]}
    changed = inputs.digest not in answered
    # What somebody changed is published; what a refresh moves may have to wait for an approval.
    waits = changed and spec.updates is Updates.MANUAL
    refresh = bool(served and not waits and (wanted != served.refresh or (due and due <= now)))
    if served and not changed and not refresh:
        return None
    keeps = served if served and not refresh else None
    answer: Resolution | Failure[Reason] | None
    if isinstance(inputs.wanted, Lock):
        answer = Resolution(inputs.wanted)
    else:
        question = Question(
            inputs.digest,
            served.digest if served else "",
            keep=keeps is not None,
            stamp=wanted,
            access=inputs.access,
        )
        answer = _resolution(context, progress, question, inputs.wanted)
    if answer is None:
        return Outcome.waits(Reason.RESOLVING, "uv is looking for versions that fit together")
    if isinstance(answer, Failure):
        again = max(1.0, answer.until - context.queue.time())
        return replace(unresolved(spec, answer.reason, answer.message), retry_after=again)
    if problem := lock_too_large(answer.lock):
        return problem
    stamp = now.isoformat(timespec="microseconds")
    record = record_of(
        answer.lock,
        inputs=inputs.digest,
        index=inputs.index,
        resolved_at=stamp,
        refreshed_at=keeps.refreshed_at if keeps else stamp,
        refresh=served.refresh if served and waits else wanted,
        notes=as_many_as_fit(answer.notes, _NOTES),
        image=inputs.image.ref.image if inputs.image else "",
        shadow=spec.shadow if inputs.image else (),
        credentials=inputs.access is not None,
    )
    return NewLock(lock=answer.lock, record=record, refresh=refresh)


def _resolution(
    context: Context, progress: Progress, question: Question, request: LockRequest
) -> Resolution | Failure[Reason] | None:
    async def find() -> Resolution:
        previous = await progress.served_text(context.cluster)

        async def ask(one: LockRequest) -> Resolution:
            async with context.resolutions.turn(question):
                return await context.resolve(
                    one, previous=previous, keep=question.keep, access=question.access
                )

        return await least_vulnerable(request, ask=ask, known=context.vulnerable)

    return context.resolutions.ask(progress.entry.key, question, find)
