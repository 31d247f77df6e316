"""Step: is the environment of the lock on the claims from which runs of its pools mount it?

Nothing falls back once a run's pod is made, so a copy that runs of such a pool mount is written
only after this. Until then it stays as it is, and the earlier lock goes on; but where the template
still installs, the copy is written. What a ConfigMap says is there is believed, and what was done
without it being written is done again, to the same end.
"""

from collections.abc import Mapping
from dataclasses import replace

from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.build import INSTALLS
from flowdeps.reconcile.dependency_set.progress import NO_LOCK, Progress
from flowdeps.scheduling.tracking import Failure
from flowdeps.state.environment import directory_of
from flowdeps.state.locations import Location
from flowdeps.state.store import PoolKey, SetEntry, Store
from flowdeps.trials.populate import Claim, Populated, Population

_NOTHING_TO_DO = Outcome.done(Reason.READY)


def named_directories(store: Store, namespace: str) -> frozenset[str]:
    """Return which directories on claims ConfigMaps of a namespace name: the others may go."""
    views = store.config_maps.values()
    return frozenset(one.directory for one in views if one.namespace == namespace and one.directory)


async def populate(context: Context, progress: Progress) -> Outcome:
    """Have the environment put on each claim that lacks it; keeps back the copies there."""
    entry, record = progress.entry, progress.record
    if record is None:
        context.populations.need(entry.key, frozenset())
        return NO_LOCK
    asked: dict[Location, Population] = {}
    lacking: dict[Location, Outcome] = {}
    installed: set[Location] = set()
    empty: set[Location] = set()
    for location in context.claims.locations(entry):
        view = context.store.config_maps.get((location.namespace, location.live_name))
        same = view and view.intact and view.manifest.get("digest") == record.digest
        has = view.directory if view and same and view.holder == entry.key else ""
        claim = _claim(context, location, mounted=bool(view and view.directory))
        if claim is None:
            continue
        state = context.pool_states.get(location.pool)
        if view and not view.directory and state and state.looked and not state.by_claim:
            installed.add(location)  # the template does not lead to the claim yet
        elif not (view and view.directory):
            empty.add(location)
        environment = progress.environment
        if environment is None and not has:
            lacking[location] = _without(progress.built, location)
        elif environment and directory_of(environment.reference) != has:
            asked[location] = Population(claim, environment.reference, record.digest)
    context.populations.need(entry.key, frozenset(asked.values()))
    for location, question in asked.items():
        answer = context.populations.get(question)
        if isinstance(answer, Populated):
            progress.populated[location] = answer
        else:
            lacking[location] = _waiting(context, location, question, answer)
            if answer and answer.reason is Reason.ENVIRONMENT_GONE:
                _make_again(context, entry, question.reference)
    lacking |= {at: _waited_for(lacking[at], at) for at in lacking.keys() & empty}
    progress.kept_back = {at: why for at, why in lacking.items() if at not in installed}
    _tell_pools(context, progress.entry, lacking)
    return next(iter(progress.kept_back.values()), _NOTHING_TO_DO)


def _make_again(context: Context, entry: SetEntry, reference: str) -> None:
    """Have an environment made again that is not in its registry any more."""
    known = reference in context.deliveries.gone
    if not (known or context.deliveries.lose(reference, now=context.queue.time())):
        context.requeue([entry.key, *context.deliveries.namespaces_of(entry.key)])


def _claim(context: Context, location: Location, *, mounted: bool) -> Claim | None:
    """The claim from which runs mount what is at a location; None: they install it."""
    if not location.pool:
        return None
    by_claim = context.by_claim(location.pool)
    if by_claim is None:  # not known yet: as it was
        state = context.pool_states.get(location.pool)
        by_claim = state.by_claim if state and state.looked else mounted
    name = context.config.pool(location.pool).claim
    return Claim(location.namespace, name) if by_claim and name else None


def _without(built: Outcome, location: Location) -> Outcome:
    """Why a copy is kept back of a lock that has no environment."""
    why = built.message.removeprefix(INSTALLS).partition("; until it is there")[0]
    text = f'runs of work pool "{location.pool}" mount environments from a claim: {why}'
    if built.reason is Reason.NOT_BUILT:
        return Outcome.failed(Reason.ENVIRONMENT_NEEDED, text)
    if built.reason.is_under_way or built.reason is Reason.BUILT:
        return Outcome.waits(Reason.POPULATING, text)
    return Outcome.failed(built.reason, text, retry_after=built.retry_after)


def _waiting(
    context: Context, location: Location, question: Population, answer: Failure[Reason] | None
) -> Outcome:
    about = f'work pool "{location.pool}"'
    if answer is None or not answer.message:
        return Outcome.waits(Reason.POPULATING, f"{about}: a pod puts {question}")
    again = max(1.0, answer.until - context.queue.time())
    text = f"{about}: nothing is put on {answer.message}; what runs have stays"
    return Outcome.failed(answer.reason, text, retry_after=again)


def _waited_for(why: Outcome, location: Location) -> Outcome:
    """Say what a run does that names a key of which nothing was ever there."""
    text = (
        f'{why.message}; until it is there, a run that names "{location.key}" does not start'
        " (CreateContainerConfigError)"
    )
    return replace(why, message=text)


def _tell_pools(context: Context, entry: SetEntry, lacking: Mapping[Location, Outcome]) -> None:
    """Let pools know why a claim lacks a set, which decides what their templates offer."""
    for ref in entry.pool_refs:
        found = [one for at, one in lacking.items() if at.pool == ref.name]
        where, now = (ref.name, entry.key), found[0] if found else None
        before = context.lacking.get(where)
        if now:
            context.lacking[where] = now
        else:
            context.lacking.pop(where, None)
        if (before and before.reason) != (now and now.reason):
            context.queue.add(PoolKey(ref.name))
