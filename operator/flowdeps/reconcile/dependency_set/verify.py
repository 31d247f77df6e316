"""Step: which lock to publish, the new one if it works in its image, else the one in service."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from flowdeps.api.conditions import ConditionType
from flowdeps.api.outcome import Outcome
from flowdeps.api.poolconfig import PoolConfig
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import SetSpec, Updates
from flowdeps.gather.inputs import Inputs
from flowdeps.locks.lock import Lock
from flowdeps.locks.size import with_installed
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.credentials import write_credentials
from flowdeps.reconcile.dependency_set.progress import NO_LOCK, Progress, verified_before
from flowdeps.scheduling.tracking import Failure
from flowdeps.state.config_maps import manifest_of
from flowdeps.state.locations import owner_of, primary_location
from flowdeps.state.records import LockRecord
from flowdeps.state.reported import previous_condition, retry_after, unless_under_way
from flowdeps.state.store import SetEntry
from flowdeps.telemetry.metrics import measured
from flowdeps.trials.image import Image
from flowdeps.trials.verify import Passed, Trial

_FIRST_RETRY = 60.0


async def verify(context: Context, progress: Progress) -> Outcome:
    """Try the new lock, or the one in service in another image; decide which one to publish."""
    progress.record = progress.served.record if progress.served else None
    key, under_way = progress.entry.key, progress.gathered.reason.is_under_way
    with nullcontext() if under_way else context.verifications.asking(key):
        outcome = _verify(context, progress)
    if progress.record and progress.gathered.is_done:
        needs = progress.access is not None
        progress.record = replace(progress.record, credentials=needs)
    return outcome


def _verify(context: Context, progress: Progress) -> Outcome:
    entry, served, spec = progress.entry, progress.record, progress.entry.spec
    if progress.selected.reason is Reason.CONFLICT:
        return progress.selected
    inputs = progress.inputs
    if progress.rests or spec is None or (progress.gathered.is_done and inputs is None):
        return verified_before(served)
    before = _before(entry, served)
    if inputs is None or not progress.resolved.is_done:
        return before
    made = progress.made
    if made is None or (served and made.record.digest == served.digest):
        progress.record = made.record if made else served
        if progress.record is None or progress.pinned:
            return before
        outcome, progress.record = _try(context, progress, progress.record)
        return unless_under_way(entry, ConditionType.VERIFIED, outcome)
    outcome, record = _try(context, progress, made.record, text=made.lock)
    if not outcome.is_done:
        ready = previous_condition(entry, ConditionType.READY)
        # Only a set that was ready with the lock in service stays so, as in a refresh: one that
        # has changed is not, until its new lock is served.
        if before.is_done and not (ready and ready.is_done):
            return outcome
        return unless_under_way(entry, ConditionType.VERIFIED, outcome)
    if served and (progress.pinned or (spec.updates is Updates.MANUAL and made.refresh)):
        progress.proposal = replace(made, record=record)
        # What was asked for is done: the next refresh is an interval away.
        progress.record = replace(served, refreshed_at=record.refreshed_at, refresh=record.refresh)
        return before
    progress.record, progress.text = record, made.lock
    return outcome


def _before(entry: SetEntry, record: LockRecord | None) -> Outcome:
    """What is known without another trial."""
    if record is None:
        return NO_LOCK
    return previous_condition(entry, ConditionType.VERIFIED) or verified_before(record)


def _try(
    context: Context, progress: Progress, record: LockRecord, *, text: Lock | None = None
) -> tuple[Outcome, LockRecord]:
    """How the trial of a lock ended, and its record with the trial that it passed.

    `text`: of a lock that is not published.
    """
    entry, spec, inputs = progress.entry, progress.entry.spec, progress.inputs
    if spec is None or not spec.verify.enabled:
        message = (
            "spec.verify.mode is Disabled: nobody has tried whether the lock works in the image"
        )
        untried = Outcome.done(Reason.VERIFY_DISABLED, message, unknown=True)
        return untried, replace(record, verified="", verify_notes="")
    if inputs is None or inputs.image is None:
        message = "without an image (spec.python.image) there is nothing to try the lock in"
        untried = Outcome.done(Reason.NO_IMAGE_TO_VERIFY, message, unknown=True)
        return untried, replace(record, verified="", verify_notes="")
    image = inputs.image
    trial = Trial(**trial_fields(entry, spec, inputs, image, record))

    def watch(far: str) -> None:
        context.installing[trial] = far
        context.queue.add(entry.key)  # to report it

    async def find() -> Passed:
        given = await prepare_trial(context, progress, inputs, record, text=text)
        try:
            with measured(context.metrics.verifications, well="Verified"):
                return await context.verifier.verify(trial, image=image, watch=watch, **given)
        finally:
            context.installing.pop(trial, None)

    if record.verified == trial.short:
        return _passed(trial, record.verify_notes), record
    answer = context.verifications.ask(entry.key, trial, find)
    if answer is None or (isinstance(answer, Failure) and not answer.message):
        message = f"a pod installs and imports the lock {record.short} in {trial.image}"
        if far := context.installing.get(trial):
            message += f": {far}"
        again = max(1.0, answer.until - context.queue.time()) if answer else None
        return Outcome.waits(Reason.VERIFYING, message, retry_after=again), record
    if isinstance(answer, Failure):
        return _failed(context, entry, image, record, answer), record
    tried = replace(
        record,
        verified=trial.short,
        verify_notes=answer.notes,
        size=with_installed(record.size, answer.installed),
    )
    return _passed(trial, answer.notes), tried


def _passed(trial: Trial, notes: str) -> Outcome:
    message = f"installs, its requirements hold, and it imports in {trial.image}"
    return Outcome.done(Reason.VERIFIED, "; ".join(filter(None, (message, notes))))


def trial_fields(
    entry: SetEntry, spec: SetSpec, inputs: Inputs, image: Image, record: LockRecord
) -> dict[str, Any]:
    """Return the fields of a `Trial` of a lock in an image, as the set asks for it."""
    home = primary_location(entry.key)
    return {
        "namespace": home.namespace,
        "digest": record.digest,
        "image": image.ref.image,
        "image_id": image.id,
        "imports": spec.verify.imports or (),
        "names": inputs.names if spec.verify.imports is None else (),
        "secret": home.live_name if inputs.access else None,
        "install_timeout": round(spec.verify.install_timeout.total_seconds()),
        "timeout": round(spec.verify.timeout.total_seconds()),
        "shadow": record.shadow,
    }


async def prepare_trial(
    context: Context, progress: Progress, inputs: Inputs, record: LockRecord, *, text: Lock | None
) -> dict[str, Any]:
    """Write the credentials that a trial's pod needs; return what else it is given.

    `text`: of a lock that is not published. Raises LookupError where the published one can't be
    read.
    """
    entry = progress.entry
    lock = text or await progress.served_text(context.cluster)
    if lock is None:
        raise LookupError("the lock in service can't be read")
    if inputs.access:
        await write_credentials(context, entry, inputs.access)
    admitted = context.admitted(entry)
    pool = context.config.pool(admitted[0].name) if admitted else PoolConfig()
    return {
        "lock": lock,
        "manifest": manifest_of(entry.key, primary_location(entry.key), record),
        "owner": owner_of(entry),
        "env": [{"name": one.name, "value": one.value} for one in pool.install.env],
    }


def _failed(
    context: Context, entry: SetEntry, image: Image, record: LockRecord, answer: Failure[Reason]
) -> Outcome:
    """Why a lock is not known to work, and when that may be otherwise."""
    reason, name = answer.reason, image.ref.image
    again = max(1.0, answer.until - context.queue.time())
    if reason is not Reason.VERIFY_FAILED:
        text = f"{record.short} was not tried in {name}: {answer.message}"
        return Outcome.failed(reason, text, retry_after=again)
    # Another image fixes it as well: check the image, ever more rarely.
    pause = retry_after(entry, ConditionType.VERIFIED, now=context.now(), least=_FIRST_RETRY)
    context.images.poll_thing(image.ref, older_than=pause)
    text = f"{record.short} does not work in {name}: {answer.message}"
    return Outcome.failed(reason, text, retry_after=min(again, pause))
