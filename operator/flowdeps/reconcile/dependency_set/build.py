"""Step: is there an environment of the lock in service for its image? If not, it is made.

Nothing waits for it, and a set is Ready with or without: until there is one, runs install the lock.
"""

import re
from contextlib import nullcontext
from dataclasses import replace

from flowdeps.api.conditions import ConditionType, find_condition
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.gather.inputs import Inputs
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.progress import NO_LOCK, Progress
from flowdeps.reconcile.dependency_set.verify import prepare_trial, trial_fields
from flowdeps.state.environment import Environment
from flowdeps.state.locations import primary_location
from flowdeps.state.records import LockRecord, environments_of
from flowdeps.state.reported import previous_condition
from flowdeps.state.store import SetEntry, Store
from flowdeps.telemetry.metrics import measured
from flowdeps.trials.build import Build
from flowdeps.trials.image import Image

_DIGEST = re.compile(r"(.*@)?sha256:[0-9a-f]{64}")
INSTALLS = "runs install the lock when they start: "
_MEANWHILE = "is there, runs install it"
_REFUSED, _NOT_MEANWHILE = "pods with its label are refused: ", "is there, its pods are refused"
"""What is so instead where all pods choose by their label alone."""
_RETRY_IMAGE = 3600.0
"""After how many seconds an image is derived anew; until then, the answer is kept."""
_NOT_CONFIGURED = Outcome.done(
    Reason.NO_ENVIRONMENTS,
    "runs install the lock when they start; environments.repository in the operator's configuration"
    " makes starts faster",
    unknown=True,
)


_CACHED = Outcome.done(
    Reason.NOT_BUILT,
    "runs install the lock once, and then take it from their pool's cache: workPools[].delivery of"
    " the operator's configuration is Cache",
    unknown=True,
)


async def build(context: Context, progress: Progress) -> Outcome:
    """Look for the environment of the lock to publish, and have one made where there is none."""
    key, under_way = progress.entry.key, progress.gathered.reason.is_under_way
    with nullcontext() if under_way else context.builds.asking(key):
        outcome = _build(context, progress)
    pools = [context.config.pool(ref.name) for ref in progress.entry.pool_refs]
    if pools and all(pool.labels for pool in pools):
        message = outcome.message.replace(INSTALLS, _REFUSED).replace(_MEANWHILE, _NOT_MEANWHILE)
        return replace(outcome, message=message)
    return outcome


def _build(context: Context, progress: Progress) -> Outcome:
    record, inputs, made = progress.record, progress.inputs, progress.made
    pools = [context.config.pool(ref.name) for ref in progress.entry.pool_refs]
    if pools and all(pool.delivery == "Cache" for pool in pools):
        return _CACHED
    if not context.config.environments.repository:
        return _NOT_CONFIGURED
    if record is None:
        return NO_LOCK
    if pools and not any(pool.takes_environments for pool in pools):
        return _never("workPools[].delivery of the operator's configuration says so")
    other = made is not None and made.record.digest != record.digest and not progress.proposal
    if inputs is None or not progress.resolved.is_done or not progress.verified.is_done or other:
        # The image is not known, or another lock may follow: what there is stays.
        progress.environment = record.environment
        return built_before(progress)
    if inputs.image is None:
        return _never("it is for no image (spec.python.image), and an environment is made for one")
    if not record.verified:
        return _never("it was not tried in its image (spec.verify.mode is Disabled)")
    if len(record.platforms) != 1:
        platforms = ", ".join(record.platforms)
        return _never(f"it is for {platforms}; name one in spec.python.platforms")
    if not record.packages:
        return _never("it has no package: there is nothing to install")
    if not _DIGEST.fullmatch(inputs.image.id):
        return _never(
            f"nodes give {inputs.image.ref.image} no digest, so nobody would notice if it moved;"
            " push it to a registry"
        )
    found = _known(context, progress, record, inputs.image)
    gone, images = context.deliveries.gone, context.config.environments.images
    known = next((one for one in found if one.reference not in gone), None)
    progress.environment = known
    if known and (known.derived or not images):
        return built_outcome(known)
    if not images:  # those are for pools too whose runs can mount nothing
        if why := why_no_use(context, progress.entry):
            return _never(why)
        if why is None:
            return built_before(progress)
    lost = context.deliveries.lost
    times = max((lost[one.reference][0] for one in found if one.reference in lost), default=0)
    asked = _ask(context, progress, record, inputs, inputs.image, lost=times)
    known = progress.environment  # without an image it serves, whatever comes of that
    return _lacks_image(known, asked) if known and not known.derived and images else asked


def _named_locks(store: Store, namespace: str) -> frozenset[str]:
    """Return the digests of the locks that ConfigMaps of a namespace hold, live and revisions."""
    views = store.config_maps.values()
    return frozenset(
        str(one.manifest.get("digest", "")) for one in views if one.namespace == namespace
    )


def why_no_use(context: Context, entry: SetEntry) -> str | None:
    """Return why no work pool of a set can use an environment; empty: one can, None: it is not
    known yet."""
    problems = [
        "" if by_claim else context.deliveries.problem(context.config.pool(name))
        for name, by_claim in ((ref.name, context.by_claim(ref.name)) for ref in entry.pool_refs)
    ]
    if not problems:
        return "no work pool offers it (spec.workPools is empty)"
    if "" in problems:
        return ""
    return None if None in problems else problems[0]


def built_before(progress: Progress) -> Outcome:
    """Return what is known of the environment of a lock while its image is not known."""
    record, status = progress.record, progress.entry.status
    before = find_condition(status.conditions, ConditionType.BUILT)
    same = record and status.lock and status.lock.digest == record.digest
    reason = before.reason if before and same else None
    steps = (progress.gathered, progress.resolved, progress.verified)
    if reason is Reason.BUILDING and not any(step.reason.is_under_way for step in steps):
        return _withdrawn(progress)
    if before and isinstance(reason, Reason) and reason is not Reason.NO_ENVIRONMENTS:
        unknown = before.status == "Unknown"
        return Outcome(before.status != "False", reason, before.message, unknown=unknown)
    if record and record.environment:
        return built_outcome(record.environment)
    return _withdrawn(progress)


def _withdrawn(progress: Progress) -> Outcome:
    if progress.rests:
        return _never(progress.selected.message)
    if progress.gathered.is_done and progress.inputs is None:
        return _never("spec.revision holds it, so nobody looks at its image now")
    return Outcome.waits(Reason.PENDING, "waits for an earlier step")


def _never(why: str) -> Outcome:
    return Outcome.done(Reason.NOT_BUILT, f"{INSTALLS}{why}", unknown=True)


def built_outcome(environment: Environment) -> Outcome:
    """Return what is said where there is an environment."""
    text = f"{environment.reference} is for {environment.image}"
    if environment.underived:
        text += f"; no image with it was derived: {environment.underived}"
    return Outcome.done(Reason.BUILT, text)


def _lacks_image(environment: Environment, asked: Outcome) -> Outcome:
    """Return what is said of an environment without an image that should be there."""
    outcome = built_outcome(environment)
    if not environment.underived and asked.reason not in {Reason.BUILT, Reason.BUILDING}:
        text = f"{outcome.message}; no image with it was derived: {asked.message}"
        outcome = Outcome.done(Reason.BUILT, text)
    return replace(outcome, retry_after=asked.retry_after or _RETRY_IMAGE)


def _known(
    context: Context, progress: Progress, record: LockRecord, image: Image
) -> list[Environment]:
    """The environments of a lock for what its image is now, whichever ConfigMap tells of them;
    one with an image is first where images are asked for."""
    key = progress.entry.key
    repository = context.config.environments.repository_of(key.namespace)
    found = environments_of(
        primary_location(key), context.held(progress.entry), repository=repository
    )
    wanted = (record.digest, image.ref.image, image.id)
    fitting = [one for one in found if (one.lock, one.image, one.image_id) == wanted]
    if not context.config.environments.images:
        return [replace(one, underived="") for one in fitting]
    return sorted(fitting, key=lambda one: not one.derived)


def _ask(
    context: Context,
    progress: Progress,
    record: LockRecord,
    inputs: Inputs,
    image: Image,
    *,
    lost: int,
) -> Outcome:
    entry, spec = progress.entry, progress.entry.spec
    if spec is None:
        return built_before(progress)
    name = image.ref.image
    question = Build(**trial_fields(entry, spec, inputs, image, record), lost=lost)

    async def find() -> Environment:
        async with context.builds.turn(question):
            given = await prepare_trial(context, progress, inputs, record, text=progress.text)
            with measured(context.metrics.builds, well="Built"):
                deletes = context.config.environments.delete_unused
                named = _named_locks(context.store, entry.key.namespace) if deletes else ()
                return await context.builder.build(question, image=image, named=named, **given)

    answer = context.builds.ask(entry.key, question, find)
    if isinstance(answer, Environment):
        progress.environment = answer
        if answer.reference in context.deliveries.gone:
            context.deliveries.restore(answer.reference)
            context.requeue(context.deliveries.namespaces_of(entry.key))
        return built_outcome(answer)
    again = max(1.0, answer.until - context.queue.time()) if answer else None
    about = f"{record.short} in {name}"
    if answer and answer.message:
        if answer.reason is Reason.BUILD_FAILED and again:
            # The image may have moved while it was built, or be fixed: check it, ever more rarely.
            context.images.poll_thing(image.ref, older_than=again)
        text = f"no environment of {about}: {answer.message}; until one {_MEANWHILE}"
        return Outcome.failed(answer.reason, text, retry_after=again)
    before = previous_condition(entry, ConditionType.BUILT)
    if before and not before.is_done and about in before.message:
        return replace(before, retry_after=again)  # it is being tried again
    why = " again, as it is not in its registry any more" if lost else ""
    text = f"a pod makes an environment of {about}{why}; until it {_MEANWHILE}"
    return Outcome.waits(Reason.BUILDING, text, retry_after=again)
