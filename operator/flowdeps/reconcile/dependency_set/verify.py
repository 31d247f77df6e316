"""Whether a lock may be served: what is known against it, and whether it works in its image."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from flowdeps.api.names import mounted_name
from flowdeps.api.outcome import Outcome
from flowdeps.api.poolconfig import PoolConfig
from flowdeps.api.reasons import Reason
from flowdeps.api.resource import SetSpec
from flowdeps.gather.inputs import Inputs
from flowdeps.locks.lock import Lock
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.credentials import publish_credentials
from flowdeps.scheduling.tracking import Failure
from flowdeps.state import LockRecord, config_maps, owner_of, primary_location
from flowdeps.state.store import SetEntry
from flowdeps.telemetry.metrics import measured
from flowdeps.trials.verify import Trial

GetLock = Callable[[], Awaitable[Lock | None]]


@dataclass(frozen=True)
class Proof:
    """What a trial says of a lock: the name of the trial that it passed ("": none was made), or
    from when on it is worth another one (queue time)."""

    step: Outcome
    passed: str = ""
    until: float | None = None


def prove(
    context: Context,
    entry: SetEntry,
    spec: SetSpec,
    inputs: Inputs,
    *,
    record: LockRecord,
    lock: GetLock,
) -> Proof:
    """Whether a lock works in its image."""
    if not spec.verify.enabled:
        text = "spec.verify.mode is Disabled: nobody has tried whether the lock works in the image"
        return Proof(Outcome.done(Reason.VERIFY_DISABLED, text, unknown=True))
    image = inputs.image
    if image is None:
        text = "without an image (spec.python.image) there is nothing to try the lock in"
        return Proof(Outcome.done(Reason.NO_IMAGE_TO_VERIFY, text, unknown=True))
    trial = Trial(
        namespace=entry.key.namespace,
        digest=record.digest,
        image=image.ref.image,
        image_id=image.id,
        imports=spec.verify.imports or (),
        names=inputs.names if spec.verify.imports is None else (),
        secret=mounted_name(entry.key.name) if inputs.access else None,
        timeout=round(spec.verify.timeout.total_seconds()),
    )
    if record.verified == trial.short:
        return _passed(trial)
    revision, _ = config_maps(entry, primary_location(entry.key), record, summary="")

    pool = context.config.pool(entry.offers[0].name) if entry.offers else PoolConfig()
    env = [{"name": one.name, "value": one.value} for one in pool.install.env]

    async def find() -> str:
        found = await lock()
        if found is None:
            raise LookupError("the lock in service can't be read")
        if inputs.access:
            await publish_credentials(context, entry, inputs.access)
        with measured(context.metrics.verifications, well="Verified"):
            return await context.verifier.verify(
                trial,
                lock=found,
                image=image,
                manifest=revision.manifest,
                owner=owner_of(entry),
                env=env,
            )

    answer = context.verifications.ask(entry.key, trial, find)
    if answer is None:
        text = f"a pod installs and imports the lock {record.short} in {image.ref.image}"
        return Proof(Outcome.waits(Reason.VERIFYING, text))
    if isinstance(answer, Failure):
        text = f"{record.short} was not tried in {image.ref.image}: {answer.message}"
        if answer.reason is Reason.VERIFY_FAILED:
            text = f"{record.short} does not work in {image.ref.image}: {answer.message}"
            text += "; mend the image, or choose another version; see spec.verify.imports"
        return Proof(Outcome.failed(answer.reason, text), until=answer.until)
    return _passed(trial)


def _passed(trial: Trial) -> Proof:
    text = f"installs, its requirements hold, and it imports in {trial.image}"
    return Proof(Outcome.done(Reason.VERIFIED, text), passed=trial.short)
