"""From inputs to a lock that may be served: gather → resolve → prove. Writes nothing.

What is under way leaves what was said of a step before, so that a refresh or a restart doesn't make
a set that is well look otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flowdeps.api.conditions import ConditionType, find_condition
from flowdeps.api.names import INPUTS_ANNOTATION
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.resource import SetSpec, Updates
from flowdeps.api.status import parse_status
from flowdeps.gather.inputs import Inputs, gather, gather_access
from flowdeps.gather.refusals import blocked, unresolved
from flowdeps.locks.access import Access
from flowdeps.locks.lock import Lock
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.inputs import OperatorLookup
from flowdeps.reconcile.dependency_set.lock import NewLock, ask, lock_to_serve, resolved
from flowdeps.reconcile.dependency_set.publish import LockText
from flowdeps.reconcile.dependency_set.status import retry_after
from flowdeps.reconcile.dependency_set.verify import Proof, prove
from flowdeps.scheduling.tracking import Failure
from flowdeps.state import LockRecord, primary_location, proposals_of
from flowdeps.state.store import ConfigMapView, SetEntry


@dataclass(kw_only=True)
class LockAttempt:
    """How far a set's lock got.

    `record`: the lock to serve, with its text in `new` where it was just made; `proposal`: a lock
    that waits for an approval; `access`: what runs need to install it, None where that isn't known
    (`access_known`).
    """

    resolved: Outcome
    verified: Outcome
    record: LockRecord | None
    before: LockText
    new: Lock | None = None
    proposal: NewLock | None = None
    pinned: bool = False
    access: Access | None = None
    access_known: bool = False
    inputs: Inputs | None = None
    again: list[float] = field(default_factory=list)


def make(
    context: Context,
    entry: SetEntry,
    spec: SetSpec,
    *,
    last: tuple[LockRecord, str] | None,
    views: Sequence[ConfigMapView],
) -> LockAttempt:
    """The lock that a set should serve now, as far as that is known."""
    home = primary_location(entry.key)
    serving, said = lock_to_serve(spec, last, home=home, views=views)
    record = serving[0] if serving else None
    making = LockAttempt(
        resolved=said or Outcome.done(Reason.RESOLVED),
        verified=_verified_so_far(entry, record),
        record=record,
        before=LockText(context, home.namespace, serving),
        pinned=said is not None and said.is_done,
    )
    if said and not said.is_done:
        return making
    lookup = OperatorLookup(context, entry)
    if making.pinned and record and spec.updates is Updates.AUTOMATIC:
        making.verified = verified_before(record)
        access = gather_access(lookup, spec)
        if isinstance(access, Outcome):
            making.resolved = _under_way(entry, ConditionType.RESOLVED, access)
        else:
            making.access, making.access_known = access, True
        return making
    inputs = gather(lookup, spec)
    if isinstance(inputs, Outcome):
        making.resolved = _under_way(entry, ConditionType.RESOLVED, inputs)
        return making
    making.inputs, making.access, making.access_known = inputs, inputs.access, True
    proposals = proposals_of(home, views) if making.pinned else []
    settled = proposals[0].annotations.get(INPUTS_ANNOTATION, "") if proposals else ""
    answer = ask(context, entry, spec, inputs, record=record, settled=settled, before=making.before)
    match answer:
        case Failure():
            making.resolved = unresolved(spec, answer.reason, answer.message)
            making.again.append(max(1.0, answer.until - context.queue.time()))
        case Outcome(is_done=False):
            making.resolved = _under_way(entry, ConditionType.RESOLVED, answer)
        case Outcome():
            making.resolved = said or answer
            _prove_served(context, entry, spec, making, inputs)
        case NewLock():
            _take(context, entry, spec, making, inputs, answer, said=said)
    return making


def _take(
    context: Context,
    entry: SetEntry,
    spec: SetSpec,
    making: LockAttempt,
    inputs: Inputs,
    made: NewLock,
    *,
    said: Outcome | None,
) -> None:
    """Let a new lock take the place of the one in service, or propose it, once it is proven."""
    making.resolved = said or resolved(inputs, made.record)
    served = making.record
    if served and made.lock.digest == served.digest:
        # Only what is said of it is new.
        making.record = replace(made.record, verified=served.verified, pinned=served.pinned)
        _prove_served(context, entry, spec, making, inputs)
        return
    if problem := blocked(spec, context.vulnerable(made.lock)):
        making.resolved = problem
        making.again.append(3600.0)
        return

    async def lock() -> Lock:
        return made.lock

    proof = prove(context, entry, spec, inputs, record=made.record, lock=lock)
    if not proof.step.is_done:
        _failed(context, entry, making, proof)
        return
    made = replace(made, record=replace(made.record, verified=proof.passed))
    if served and (making.pinned or (spec.updates is Updates.MANUAL and made.refresh)):
        making.proposal = made
        # What was asked for is done: the next refresh is an interval away.
        making.record = replace(
            served, refreshed_at=made.record.refreshed_at, refresh=made.record.refresh
        )
        return
    making.verified, making.record, making.new = proof.step, made.record, made.lock


def _prove_served(
    context: Context, entry: SetEntry, spec: SetSpec, making: LockAttempt, inputs: Inputs
) -> None:
    """Try the lock in service where its image is another by now, or it was never tried."""
    if making.record is None or making.pinned:
        return
    proof = prove(context, entry, spec, inputs, record=making.record, lock=making.before.lock)
    if proof.step.is_done:
        making.verified = proof.step
        making.record = replace(making.record, verified=proof.passed)
    else:
        _failed(context, entry, making, proof)


def _failed(context: Context, entry: SetEntry, making: LockAttempt, proof: Proof) -> None:
    """Say why a lock is not proven, and come back when that may be otherwise.

    Another image mends a failed trial as well: look at it, ever more rarely.
    """
    making.verified = _under_way(entry, ConditionType.VERIFIED, proof.step)
    if proof.until is not None:
        making.again.append(max(1.0, proof.until - context.queue.time()))
    if proof.step.reason is Reason.VERIFY_FAILED and making.inputs and making.inputs.image:
        pause = retry_after(entry, ConditionType.VERIFIED, now=context.now(), least=60.0)
        context.images.poll_thing(making.inputs.image.ref, older_than=pause)
        making.again.append(pause)


def _verified_so_far(entry: SetEntry, record: LockRecord | None) -> Outcome:
    if record is None:
        return Outcome.waits(Reason.PENDING, "waits for a lock")
    return _said(entry, ConditionType.VERIFIED) or verified_before(record)


def verified_before(record: LockRecord) -> Outcome:
    """What can be said of the lock in service without a new trial."""
    if record.verified:
        return Outcome.done(Reason.VERIFIED, "it was tried in its image before it was published")
    return Outcome.done(Reason.NO_IMAGE_TO_VERIFY, "it was published without a trial", unknown=True)


def _under_way(entry: SetEntry, type_: ConditionType, step: Outcome) -> Outcome:
    """What was said of this spec before, as long as nothing new is known."""
    return (_said(entry, type_) if step.reason.is_under_way else None) or step


def _said(entry: SetEntry, type_: ConditionType) -> Outcome | None:
    """What was said of this spec; None where that, too, was under way."""
    status = parse_status(entry.body)
    condition = find_condition(status.conditions, type_)
    told = status.observed_generation == entry.meta.generation
    if condition is None or not told or condition.is_under_way:
        return None
    if not isinstance(condition.reason, Reason):
        return None
    return Outcome(
        condition.status != "False",
        condition.reason,
        condition.message,
        unknown=condition.status == "Unknown",
    )
