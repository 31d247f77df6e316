"""From inputs to a lock that may be served: gather → resolve → prove. Writes nothing.

What is under way leaves what was said of a step before, so that a refresh or a restart doesn't make
a set that is well look otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flowdeps.api.conditions import ConditionType, find_condition
from flowdeps.api.reasons import UNDER_WAY, Reason
from flowdeps.api.resource import SetSpec, Updates
from flowdeps.api.status import parse_status
from flowdeps.locks.access import Access
from flowdeps.locks.lock import Lock
from flowdeps.reconcile.context import World
from flowdeps.reconcile.dependency_set import inputs as gathering
from flowdeps.reconcile.dependency_set.inputs import Inputs, gather
from flowdeps.reconcile.dependency_set.lock import Made, ask, chosen, resolved
from flowdeps.reconcile.dependency_set.publish import LockText
from flowdeps.reconcile.dependency_set.status import GatherError, Step, patience
from flowdeps.reconcile.dependency_set.verify import Proof, blocked, prove
from flowdeps.scheduling.single_flight import Failure
from flowdeps.state import ANNOTATION_INPUTS, LockRecord, home_of, proposals_of
from flowdeps.state.store import ConfigMapView, SetEntry


@dataclass(kw_only=True)
class Making:
    """How far a set's lock got.

    `record`: the lock to serve, with its text in `new` where it was just made; `proposal`: a lock
    that waits for an approval; `access`: what runs need to install it, None where that isn't known
    (`access_known`).
    """

    resolved: Step
    verified: Step
    record: LockRecord | None
    before: LockText
    new: Lock | None = None
    proposal: Made | None = None
    pinned: bool = False
    access: Access | None = None
    access_known: bool = False
    inputs: Inputs | None = None
    again: list[float] = field(default_factory=list)


def make(
    world: World,
    entry: SetEntry,
    spec: SetSpec,
    *,
    last: tuple[LockRecord, str] | None,
    views: Sequence[ConfigMapView],
) -> Making:
    """The lock that a set should serve now, as far as that is known."""
    home = home_of(entry.key)
    serving, said = chosen(spec, last, home=home, views=views)
    record = serving[0] if serving else None
    making = Making(
        resolved=said or Step(True, Reason.RESOLVED),
        verified=_verified_so_far(entry, record),
        record=record,
        before=LockText(world, home.namespace, serving),
        pinned=said is not None and said.done,
    )
    if said and not said.done:
        return making
    try:
        if making.pinned and record and spec.updates is Updates.AUTOMATIC:
            making.verified = verified_before(record)
            making.access = gathering.access(world, entry, spec)
            making.access_known = True
            return making
        inputs = gather(world, entry, spec)
    except GatherError as error:
        making.resolved = _under_way(entry, ConditionType.RESOLVED, error.step)
        return making
    making.inputs, making.access, making.access_known = inputs, inputs.access, True
    proposals = proposals_of(home, views) if making.pinned else []
    settled = proposals[0].annotations.get(ANNOTATION_INPUTS, "") if proposals else ""
    answer = ask(world, entry, spec, inputs, record=record, settled=settled, before=making.before)
    match answer:
        case Failure():
            making.resolved = _unresolved(spec, answer)
            making.again.append(max(1.0, answer.until - world.queue.time()))
        case Step(done=False):
            making.resolved = _under_way(entry, ConditionType.RESOLVED, answer)
        case Step():
            making.resolved = said or answer
            _prove_served(world, entry, spec, making, inputs)
        case Made():
            _take(world, entry, spec, making, inputs, answer, said=said)
    return making


def _take(
    world: World,
    entry: SetEntry,
    spec: SetSpec,
    making: Making,
    inputs: Inputs,
    made: Made,
    *,
    said: Step | None,
) -> None:
    """Let a new lock take the place of the one in service, or propose it, once it is proven."""
    making.resolved = said or resolved(inputs, made.record)
    served = making.record
    if served and made.lock.digest == served.digest:
        # Only what is said of it is new.
        making.record = replace(made.record, verified=served.verified, pinned=served.pinned)
        _prove_served(world, entry, spec, making, inputs)
        return
    if problem := blocked(world, spec, made.lock):
        making.resolved = problem
        making.again.append(3600.0)
        return

    async def lock() -> Lock:
        return made.lock

    proof = prove(world, entry, spec, inputs, record=made.record, lock=lock)
    if not proof.step.done:
        _failed(world, entry, making, proof)
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
    world: World, entry: SetEntry, spec: SetSpec, making: Making, inputs: Inputs
) -> None:
    """Try the lock in service where its image is another by now, or it was never tried."""
    if making.record is None or making.pinned:
        return
    proof = prove(world, entry, spec, inputs, record=making.record, lock=making.before.lock)
    if proof.step.done:
        making.verified = proof.step
        making.record = replace(making.record, verified=proof.passed)
    else:
        _failed(world, entry, making, proof)


def _failed(world: World, entry: SetEntry, making: Making, proof: Proof) -> None:
    """Say why a lock is not proven, and come back when that may be otherwise.

    Another image mends a failed trial as well: look at it, ever more rarely.
    """
    making.verified = _under_way(entry, ConditionType.VERIFIED, proof.step)
    if proof.until is not None:
        making.again.append(max(1.0, proof.until - world.queue.time()))
    if proof.step.reason is Reason.VERIFY_FAILED and making.inputs and making.inputs.image:
        pause = patience(entry, ConditionType.VERIFIED, now=world.now(), least=60.0)
        world.images.look_at(making.inputs.image.ref, older_than=pause)
        making.again.append(pause)


def _verified_so_far(entry: SetEntry, record: LockRecord | None) -> Step:
    if record is None:
        return Step(False, Reason.PENDING, "waits for a lock")
    return _said(entry, ConditionType.VERIFIED) or verified_before(record)


def verified_before(record: LockRecord) -> Step:
    """What can be said of the lock in service without a new trial."""
    if record.verified:
        return Step(True, Reason.VERIFIED, "it was tried in its image before it was published")
    return Step(True, Reason.NO_IMAGE_TO_VERIFY, "it was published without a trial", unknown=True)


def _unresolved(spec: SetSpec, answer: Failure) -> Step:
    reason, message = Reason.named(answer.reason), answer.message
    if reason is Reason.UNSATISFIABLE:  # which a resolver says of packages, not of fields
        named = {
            "requirements": spec.requirements,
            "requirementsFrom": spec.requirements_from,
            "constraints": spec.constraints,
            "constraintsFrom": spec.constraints_from,
            "includes": spec.includes,
        }
        fields = ", ".join(f"spec.{name}" for name, value in named.items() if value)
        message = f"{fields}: {message.rstrip('. ')}. Widen one side, or correct a name"
    return Step(False, reason, message)


def _under_way(entry: SetEntry, type_: ConditionType, step: Step) -> Step:
    """What was said of this spec before, as long as nothing new is known."""
    return (_said(entry, type_) if step.reason in UNDER_WAY else None) or step


def _said(entry: SetEntry, type_: ConditionType) -> Step | None:
    """What was said of this spec; None where that, too, was under way."""
    status = parse_status(entry.body)
    condition = find_condition(status.conditions, type_)
    told = status.observed_generation == entry.meta.generation
    if condition is None or not told or condition.reason in UNDER_WAY:
        return None
    return Step(
        condition.status != "False",
        Reason.named(condition.reason),
        condition.message,
        unknown=condition.status == "Unknown",
    )
