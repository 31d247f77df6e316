"""Step: which lock a set serves as long as no other is made."""

from flowdeps.api.names import choice_of
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.progress import Progress
from flowdeps.state.locations import primary_location
from flowdeps.state.records import Served, lock_in_service, newest_lock, pinned_lock, revisions_of


async def select_lock(context: Context, progress: Progress) -> Outcome:
    """Choose the lock that spec.revision names, else the one that the set has.

    Fails where the set is at rest, or no other lock may be made for it.
    """
    entry, spec = progress.entry, progress.entry.spec
    home, views = primary_location(entry.key), context.held(entry)
    repository = context.config.environments.repository_of(home.namespace)
    last = lock_in_service(entry, views, now=context.now(), repository=repository)
    progress.served = last
    if spec is None:
        return Outcome.failed(Reason.INVALID_SPEC, entry.problems)
    most = context.config.limits.sets_per_namespace
    if context.store.ranks.rank(entry.meta) >= most:
        return Outcome.failed(
            Reason.TOO_MANY_SETS,
            f"only the {most} oldest sets of a namespace are served, and no more locks are made for"
            f" this one; delete sets of namespace {entry.key.namespace}, or ask those who run"
            " flowdeps to raise limits.setsPerNamespace",
        )
    # A lock that has no location would be made again by each reconcile.
    if last is None and (conflict := context.conflict(entry, home)):
        return conflict
    if spec.suspend:
        return Outcome.failed(Reason.SUSPENDED, "spec.suspend is true; nothing is refreshed")
    if spec.revision:
        found = pinned_lock(home, views, spec.revision, repository=repository)
        if found is None:
            names = [choice_of(view.name) for view in revisions_of(home, views)]
            text = f'spec.revision: there is no revision "{spec.revision}"; '
            text += f"there are: {', '.join(names)}" if names else "there is none yet"
            return Outcome.failed(Reason.REVISION_NOT_FOUND, text)
        progress.served, progress.pinned = _after(found, last), True
        return Outcome.done(Reason.PINNED, f"{spec.revision}, as spec.revision says")
    if last and last.record.pinned:  # a revision that is no longer asked for
        progress.served = _after(newest_lock(home, views, repository=repository) or last, last)
    return Outcome.done(Reason.RESOLVED)


def _after(found: Served, last: Served | None) -> Served:
    """A lock with what is known of the last one in service alone."""
    if last is None:
        return found
    if found.record.digest == last.record.digest:
        # The live ConfigMap says more of it than its revision, which never changes.
        return Served(last.but(pinned=found.record.pinned).record, found.config_map)
    return found.but(refresh=last.record.refresh)  # which is the set's, not the revision's
