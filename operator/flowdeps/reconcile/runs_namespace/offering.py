"""Which lines a set has in the namespaces of runs, by its own ConfigMaps and by its pools."""

from collections import defaultdict

from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.gathering import named_image
from flowdeps.reconcile.runs_namespace.lines import Line, line_key
from flowdeps.state.environment import Environment
from flowdeps.state.locations import Location, primary_location
from flowdeps.state.records import record_in, revisions_of
from flowdeps.state.store import RunsKey, SetEntry, SetKey
from flowdeps.trials.image import ImageRef


def offer_lines(context: Context, key: SetKey) -> None:
    """Requeue the namespaces of runs where a set has other lines than it had, or none any more."""
    entry = context.store.sets.get(key)
    lines = lines_of(context, entry) if entry else {}
    context.requeue(context.deliveries.offer(key, lines))
    if entry is None:
        context.deliveries.reconciled.discard(key)


def lines_of(context: Context, entry: SetEntry) -> dict[str, list[Line]]:
    """Return the lines of a set by namespace: for each ConfigMap that its runs mount and whose lock
    has an environment.

    Only those for the image that the set's lock is made for: others are not looked at any more.
    """
    repository = context.config.environments.repository_of(entry.key.namespace)
    found: dict[str, list[Line]] = defaultdict(list)
    if not repository or entry.meta.deleting:
        return found
    views, home = context.held(entry), primary_location(entry.key)
    live = [v for v in views if (v.namespace, v.name) == (home.namespace, home.live_name)]
    known: dict[str, tuple[Environment, str]] = {}
    image: str | None = None
    for view in [*live, *revisions_of(home, views)]:
        record = record_in(view, repository=repository) if view.intact else None
        if record:
            image = record.image if image is None else image
            if record.environment and record.environment.image == image:
                known.setdefault(record.digest, (record.environment, record.resolved_at))
    going = context.deliveries.going.get(entry.key, {})
    if not known or not image:
        return found
    ref = image_of(context, entry, image)
    for pool in entry.pool_refs:
        if not context.config.pool(pool.name).takes_environments or context.by_claim(pool.name):
            continue
        for view in views:
            location = Location(view.namespace, pool.key, pool.name)
            digest = view.manifest.get("digest", "")
            if not view.intact or digest not in known or digest in going:
                continue
            if location.has(view) and context.claims.holder(location) == entry.key:
                environment, resolved_at = known[digest]
                found[view.namespace].append(
                    Line(
                        set=entry.key,
                        pool=pool.name,
                        choice=line_key(view.name),
                        resolved_at=resolved_at,
                        environment=environment,
                        image=ref,
                    )
                )
    return found


def image_of(context: Context, entry: SetEntry, name: str) -> ImageRef | None:
    """Return an image as the pods of a set get it; None while a pool of it was not seen."""
    if any(ref.name not in context.store.pools for ref in entry.pool_refs):
        return None
    return named_image(context, entry, name)


def namespaces_known(context: Context) -> list[RunsKey]:
    """Return all namespaces of runs of which something is known."""
    known = context.deliveries.states.keys() | context.deliveries.lines.keys()
    return [RunsKey(namespace) for namespace in known]
