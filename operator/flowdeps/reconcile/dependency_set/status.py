"""The status that a reconcile amounts to. Pure, so that a state reads the same each time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from flowdeps.api.conditions import (
    Condition,
    ConditionType,
    Status,
    find_condition,
    merge_conditions,
)
from flowdeps.api.names import (
    PROPOSED_ANNOTATION,
    RESOLVED_AT_ANNOTATION,
    SUMMARY_ANNOTATION,
    revision_choice,
)
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.status import (
    DerivedImageStatus,
    EnvironmentStatus,
    ImageStatus,
    LockStatus,
    PoolStatus,
    ProposedStatus,
    RevisionStatus,
    SetStatus,
    VulnerabilityStatus,
)
from flowdeps.api.times import format_time, parse_time
from flowdeps.api.wording import POOL_NOTE, counted
from flowdeps.locks.size import warn_of_size
from flowdeps.reconcile.context import PoolState, Verdict
from flowdeps.reconcile.dependency_set.build import built_outcome
from flowdeps.reconcile.dependency_set.progress import NO_LOCK, Progress
from flowdeps.reconcile.runs_namespace.deliveries import Delivery
from flowdeps.state.environment import Environment
from flowdeps.state.fragments import Signature, signature_of
from flowdeps.state.locations import primary_location
from flowdeps.state.records import LockRecord, revisions_of
from flowdeps.state.reported import unless_under_way
from flowdeps.state.store import ConfigMapView, SetEntry
from flowdeps.trials.image import Image
from flowdeps.vulnerabilities.matches import vulnerabilities_text

_DOES = {
    "Install": "installs",
    "Volume": "mounts a claim",
    "Pending": "has its pods refused, which only have a label",
}
"""What runs of a pool do that do not get an environment in the best way."""
PATIENCE = timedelta(minutes=15)
"""How long a set may wait for something that somebody has to make, until it is Stalled."""


def build_status(
    progress: Progress,
    *,
    views: Sequence[ConfigMapView],
    namespaces: Mapping[str, Sequence[str]],
    states: Mapping[str, PoolState],
    deliveries: Mapping[str, Delivery | None],
    pull_failure: str = "",
    warn_above: int = 0,
    now: datetime,
) -> SetStatus:
    """Return the status of a set with these ConfigMaps, by its progress and its pools.

    `namespaces`: where its lock is for the pools that admit it. `deliveries`: how runs of a pool
    get it (None: not known yet); empty where there are no environments. `pull_failure`: what is
    known of runs that could not pull its environment. `warn_above`: bytes above which it is large.
    """
    entry, record = progress.entry, progress.record
    old, home = entry.status, primary_location(entry.key)
    pool_statuses, synced = _pools(progress, signature_of(entry, views), namespaces, states)
    if deliveries:
        pool_statuses = tuple(
            replace(one, delivery=_way(deliveries.get(one.name), old, one)) for one in pool_statuses
        )
    revisions = tuple(
        RevisionStatus(
            name=view.manifest.get("revision", view.name),
            digest=view.manifest.get("digest", ""),
            created_at=parse_time(view.annotations.get(RESOLVED_AT_ANNOTATION))
            or entry.meta.created_at,
            summary=view.annotations.get(SUMMARY_ANNOTATION, ""),
            proposed=PROPOSED_ANNOTATION in view.annotations,
        )
        for view in revisions_of(home, views)
    )
    newest = next((one for one in revisions if one.proposed), None)
    proposed = None
    if newest:
        proposed = ProposedStatus(
            revision=newest.name,
            digest=newest.digest,
            proposed_at=newest.created_at,
            summary=newest.summary,
        )
    built = _built(progress, deliveries, pull_failure)
    environment = progress.environment if progress.built.reason is Reason.BUILT else None
    large = ""
    if record:
        large = warn_of_size(record.size, limit=warn_above, mounted=environment is not None)
    conditions = _conditions(progress, synced, proposed, built, large=large, now=now)
    image = progress.inputs.image if progress.inputs else None
    versioned = entry.spec is not None and entry.spec.target is not None
    vulnerabilities = progress.vulnerabilities
    return SetStatus(
        observed_generation=entry.meta.generation,
        conditions=merge_conditions(
            old.conditions, conditions, generation=entry.meta.generation, now=now
        ),
        lock=_lock(record, revision=_revision(entry, record), old=old.lock, now=now)
        if record
        else None,
        image=_image(image) if image else None if versioned else old.image,
        environment=_environment(environment) if environment else None,
        images=_images(environment) if environment else (),
        proposed=proposed,
        vulnerabilities=None
        if vulnerabilities is None
        else tuple(
            VulnerabilityStatus(
                id=one.id,
                package=one.package,
                version=one.version,
                fixed=one.fixed,
                summary=one.summary,
            )
            for one in vulnerabilities
        ),
        revisions=revisions,
        work_pools=pool_statuses,
        next_refresh_at=progress.next_refresh,
        last_handled_refresh_at=(record.refresh or None) if record else None,
    )


def patience_left(status: SetStatus, *, now: datetime) -> float | None:
    """Return in how many seconds a set is Stalled if nothing changes; None where it never is, or
    already is."""
    ready = find_condition(status.conditions, ConditionType.READY)
    since = _unready_since(status)
    if since is None or ready is None or not isinstance(ready.reason, Reason):
        return None
    left = (since + PATIENCE - now).total_seconds()
    return left if ready.reason.may_be_missing and left > 0 else None


def _unready_since(status: SetStatus) -> datetime | None:
    for one in status.conditions:
        if one.get("type") == ConditionType.READY and one.get("status") == "False":
            return parse_time(one.get("lastTransitionTime"))
    return None


def _conditions(
    progress: Progress,
    synced: Outcome,
    proposed: ProposedStatus | None,
    built: Condition,
    *,
    large: str,
    now: datetime,
) -> list[Condition]:
    entry, record, published = progress.entry, progress.record, progress.published
    resolved = progress.resolved
    if progress.selected.is_done:  # else it is at rest, or ended in an error, which is no progress
        resolved = unless_under_way(entry, ConditionType.RESOLVED, resolved)
    steps = {
        ConditionType.RESOLVED: resolved,
        ConditionType.VERIFIED: progress.verified,
        ConditionType.PUBLISHED: published,
        ConditionType.POOLS_SYNCED: synced,
    }
    accepted = progress.accepted
    if accepted:
        accepted = unless_under_way(entry, ConditionType.AUTHORIZED, accepted)
    if accepted and not accepted.reason.is_under_way:
        steps[ConditionType.AUTHORIZED] = accepted
    conditions = [
        Condition(type_, _status(step), step.reason, step.message) for type_, step in steps.items()
    ]
    if vulnerable := _vulnerable(progress):
        conditions.append(vulnerable)
    conditions.append(built)
    failed = next((step for step in steps.values() if not step.is_done), None)
    if failed is None:
        packages = record.packages if record else 0
        pools = counted(len(entry.pool_refs), "work pool")
        text = f"{counted(packages, 'package')}, offered by {pools}"
        text += f"; {large}" if large else ""
        if resolved.reason is Reason.RESOLVED and resolved.message:
            text += f"; {resolved.message}"
        if synced.reason is Reason.SYNCED and synced.message:
            text += f"; {synced.message}"
        text += f"; a refresh waits for approval: {proposed.revision}" if proposed else ""
        return [Condition(ConditionType.READY, "True", Reason.READY, text), *conditions]
    serving = f" (in service: {_revision(entry, record)})" if record else ""
    ready = Condition(ConditionType.READY, "False", failed.reason, f"{failed.message}{serving}")
    if failed.reason is Reason.SUSPENDED:
        # Asked for, so neither under way nor in need of anybody.
        if published.is_done:
            ready = replace(ready, status="True")
        elif record:
            text = f"{failed.message}; {published.message}{serving}"
            ready = replace(ready, message=text)
        return [ready, *conditions]
    since = _unready_since(entry.status)
    waited = failed.reason.may_be_missing and since is not None and now - since >= PATIENCE
    stalled = failed.reason.is_stalled or waited
    state = ConditionType.STALLED if stalled else ConditionType.RECONCILING
    return [ready, Condition(state, "True", failed.reason, failed.message), *conditions]


def _way(delivery: Delivery | None, old: SetStatus, pool: PoolStatus) -> str:
    """How runs of a pool get the packages: while that is not known, what it was before."""
    if delivery:
        return delivery.way
    return next((one.delivery for one in old.work_pools if one.name == pool.name), "") or "Install"


def _built(
    progress: Progress, deliveries: Mapping[str, Delivery | None], pull_failure: str
) -> Condition:
    """Whether there is an environment, and whether runs get it."""
    built, record = progress.built, progress.record
    if built.reason is Reason.PULL_FAILED and record and record.environment:  # as it was reported
        built = built_outcome(record.environment)
    found = Condition(ConditionType.BUILT, _status(built), built.reason, built.message)
    if built.reason is not Reason.BUILT:
        return found
    message = built.message.partition(POOL_NOTE)[0]
    before = find_condition(progress.entry.status.conditions, ConditionType.BUILT)
    if pull_failure:
        return replace(found, status="False", reason=Reason.PULL_FAILED, message=pull_failure)
    if before and None in deliveries.values():
        same = before.message.partition(POOL_NOTE)[0] == message
        return before if same or before.reason is Reason.PULL_FAILED else found
    notes = [
        f'{POOL_NOTE}"{name}" {_DOES[one.way]}: {one.why}'
        for name, one in deliveries.items()
        if one and one.why
    ]
    return replace(found, message="".join((message, *notes)))


def _status(step: Outcome) -> Status:
    if step.unknown:
        return "Unknown"
    return "True" if step.is_done else "False"


def _vulnerable(progress: Progress) -> Condition | None:
    found, checked = progress.vulnerabilities, progress.checked
    if found is None and checked.is_done:
        return None
    if found is None:
        return Condition(ConditionType.VULNERABLE, "Unknown", checked.reason, checked.message)
    text = vulnerabilities_text(found) if found else "the database knows of none"
    text += "" if checked.is_done else f"; {checked.message}"
    reason = Reason.VULNERABILITIES_FOUND if found else Reason.NO_VULNERABILITIES
    return Condition(ConditionType.VULNERABLE, "True" if found else "False", reason, text)


def _image(image: Image) -> ImageStatus:
    facts = image.facts
    return ImageStatus(
        name=image.ref.image,
        id=image.id,
        python=facts.full_version or facts.python,
        packages=len(facts.distributions),
    )


def _environment(environment: Environment) -> EnvironmentStatus:
    return EnvironmentStatus(
        digest=environment.digest,
        reference=environment.reference,
        image=environment.image,
        size=environment.size,
        files=environment.files,
        import_seconds=round(environment.import_seconds, 2),
    )


def _images(environment: Environment) -> tuple[DerivedImageStatus, ...]:
    if not environment.derived:
        return ()
    one = DerivedImageStatus(
        image=environment.image,
        reference=environment.derived_reference,
        digest=environment.derived,
        size=environment.derived_size,
    )
    return (one,)


def _revision(entry: SetEntry, record: LockRecord) -> str:
    return revision_choice(primary_location(entry.key).key, record.short)


def _pools(
    progress: Progress,
    signature: Signature,
    namespaces: Mapping[str, Sequence[str]],
    states: Mapping[str, PoolState],
) -> tuple[tuple[PoolStatus, ...], Outcome]:
    entry, old = progress.entry, progress.entry.status
    before = {pool.name: pool for pool in old.work_pools}
    same = old.observed_generation == entry.meta.generation
    statuses: list[PoolStatus] = []
    failures: list[tuple[str, Verdict]] = []
    for ref in entry.pool_refs:
        state, known = states.get(ref.name), before.get(ref.name)
        verdict = state.verdict(entry.key, signature) if state else None
        if verdict is None and known and same:
            # Not seen since the start: what was reported last still holds.
            statuses.append(known)
            if not known.synced:
                failures.append((ref.name, _previous_verdict(old, known)))
            continue
        verdict = verdict or Verdict(Reason.PENDING, "waits for the first look at the pool")
        statuses.append(
            PoolStatus(
                name=ref.name,
                key=ref.key,
                synced=verdict.synced,
                namespaces=tuple(namespaces.get(ref.name, ())),
                message=verdict.message,
            )
        )
        if not verdict.synced:
            failures.append((ref.name, verdict))
    if not entry.pool_refs:
        return (), Outcome.done(
            Reason.NO_POOLS, "spec.workPools is empty: no run can choose the set"
        )
    if not failures:
        notes = [_at(one.name, one.message) for one in statuses if one.message]
        return tuple(statuses), Outcome.done(Reason.SYNCED, "; ".join(notes))
    # What a person must fix comes before what ends by itself.
    name, worst = min(failures, key=lambda failure: not failure[1].reason.is_stalled)
    message = _at(name, worst.message)
    if progress.record is None and worst.reason is Reason.PENDING:
        message = NO_LOCK.message
    return tuple(statuses), Outcome.failed(worst.reason, message)


def _previous_verdict(old: SetStatus, pool: PoolStatus) -> Verdict:
    """Of several pools, the condition has the reason of the one that it names."""
    condition = find_condition(old.conditions, ConditionType.POOLS_SYNCED)
    own = _at(pool.name, pool.message.removesuffix("…"))  # the pool's own message is shorter
    reported = condition and (
        condition.message.startswith(own) or condition.message == NO_LOCK.message
    )
    reason = condition.reason if condition and reported else None
    return Verdict(reason if isinstance(reason, Reason) else Reason.PENDING, pool.message)


def _at(pool: str, message: str) -> str:
    return f'work pool "{pool}": {message}'


def _lock(
    record: LockRecord, *, revision: str, old: LockStatus | None, now: datetime
) -> LockStatus | None:
    resolved_at = parse_time(record.resolved_at)
    if resolved_at is None:
        return None
    since = now
    if old and old.digest == record.digest:  # an earlier version did not say since when
        since = parse_time(old.served_since) or resolved_at
    return LockStatus(
        digest=record.digest,
        revision=revision,
        packages=record.packages,
        python=record.python,
        platforms=record.platforms,
        resolved_at=resolved_at,
        inputs_digest=record.inputs,
        image=record.image,
        served_since=format_time(since),
        download_size=record.size.download if record.size else 0,
        installed_size=record.size.installed if record.size else 0,
    )
