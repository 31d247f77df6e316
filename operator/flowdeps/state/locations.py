"""Where a set's lock is published, and which of several sets has a location.

A lock goes to the set's own namespace, under the set's name, and for each of its pools to the
namespaces of that pool's jobs, under the set's key there. The pool is part of the name, so that
pools whose jobs share a namespace share no location.

Of several sets that want one key of a pool, the one whose ConfigMaps are there has it, as long as
it wants it and the pool admits it. Only a free one goes to the oldest set.

Where the jobs of a pool run is known once the pool was seen. Before that, as after a restart
without Prefect, a set keeps the copies that it has, and they are brought up to date only where the
operator's configuration names their namespace.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from flowdeps.api.config import Config
from flowdeps.api.names import API_VERSION, KIND, REVISION_LABEL, mounted_name, revision_choice
from flowdeps.api.resource import SetMeta
from flowdeps.api.spec import WorkPoolRef
from flowdeps.state.store import ConfigMapView, PoolView, SetEntry, SetKey, Store

_MOST_OWNERS = 5
_FREE = (1_000_000, 0)
"""The rank of a set that has nothing of a location."""


@dataclass(frozen=True, order=True)
class Location:
    """Where a lock is published: a namespace and what names the lock there."""

    namespace: str
    key: str
    pool: str = ""
    """The pool whose runs mount it; empty: the set's own, which no pool mounts."""

    @property
    def live_name(self) -> str:
        """The name of the ConfigMap that runs mount."""
        return mounted_name(self.key, pool=self.pool)

    def revision(self, short: str) -> str:
        """The name of a revision's ConfigMap."""
        return mounted_name(revision_choice(self.key, short), pool=self.pool)

    def has(self, view: ConfigMapView) -> bool:
        """Return whether a ConfigMap is here, by its name: the live one, or a revision."""
        if view.namespace != self.namespace:
            return False
        return view.name in (self.live_name, self.revision(view.labels.get(REVISION_LABEL, "")))


def primary_location(key: SetKey) -> Location:
    """Return the location in a set's own namespace, which no pool decides."""
    return Location(key.namespace, key.name)


def admitted_pools(
    entry: SetEntry, *, config: Config, pools: Mapping[str, PoolView]
) -> tuple[WorkPoolRef, ...]:
    """Return the pools that admit a set, of those that were seen: all that is done for the pools of
    a set is done for these, and no other pool gives it anything."""
    return tuple(
        ref
        for ref in entry.pool_refs
        if (view := pools.get(ref.name))
        and config.pool(ref.name).admits(entry.key.namespace, jobs=view.job_namespaces)
    )


def locations_of(
    entry: SetEntry, *, config: Config, pools: Mapping[str, PoolView]
) -> list[Location]:
    """Return where a set's lock is published, by the pools that admit it; its own first."""
    found = {primary_location(entry.key): None}
    for ref in admitted_pools(entry, config=config, pools=pools):
        namespaces = pools[ref.name].job_namespaces
        found |= dict.fromkeys(Location(one, ref.key, ref.name) for one in namespaces)
    return list(found)


def owner_of(entry: SetEntry) -> dict[str, str]:
    """Return the owner reference of what is in a set's own namespace, and goes with the set."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": entry.key.name,
        "uid": entry.meta.uid,
    }


def owners_of(entries: Iterable[SetEntry]) -> list[dict[str, str]]:
    """Return the owner references of what several sets of its namespace share, and goes with the
    last of them; of a few, for there may be many."""
    return [owner_of(one) for one in sorted(entries, key=lambda one: one.key)[:_MOST_OWNERS]]


def owners_in(store: Store, namespace: str) -> list[dict[str, str]]:
    """Return the owner references of what is for runs of a namespace: our ConfigMaps there, or else
    its sets. There may be neither, before a lock is there for runs."""
    views = (view for key in store.holders_in(namespace) for view in store.held(key))
    found = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": view.name, "uid": view.uid}
        for view in views
        if view.namespace == namespace
    ]
    if found:
        return found[:_MOST_OWNERS]
    return owners_of(entry for key, entry in store.sets.items() if key.namespace == namespace)


def age(meta: SetMeta) -> tuple[datetime, str, str]:
    """Return what sorts sets oldest first; the same for everybody, also within one second."""
    return (meta.created_at, meta.namespace, meta.name)


class Claims:
    """Which set wants which location, and has it; each worked out once.

    Right for one `version` of the store.
    """

    def __init__(self, store: Store, config: Config) -> None:
        self.version = store.version
        self._store = store
        self._config = config
        self._locations: dict[tuple[SetKey, tuple[WorkPoolRef, ...]], list[Location]] = {}
        self._holders: dict[Location, SetKey | None] = {}

    def locations(self, entry: SetEntry) -> list[Location]:
        """Return where a set's lock may be written, its own namespace first."""
        name = entry.key, entry.pool_refs
        if name not in self._locations:
            found = locations_of(entry, config=self._config, pools=self._store.pools)
            for location in self._kept(entry):
                named = self._config.pool(location.pool).job_namespaces
                found += [location] if location.namespace in named else []
            self._locations[name] = list(dict.fromkeys(found))
        return self._locations[name]

    def namespaces(self, entry: SetEntry) -> dict[str, tuple[str, ...]]:
        """Return where a set's lock is for each of its pools; kept copies count as well."""
        found: dict[str, dict[str, None]] = defaultdict(dict)
        for one in (*self.locations(entry), *self._kept(entry)):
            found[one.pool][one.namespace] = None
        return {pool: tuple(found[pool]) for pool in found if pool}

    def held(self, entry: SetEntry) -> list[ConfigMapView]:
        """Return the ConfigMaps of a set that are where it belongs, by name.

        Whoever makes ConfigMaps elsewhere can give them the same labels.
        """
        locations: dict[str, set[Location]] = defaultdict(set)
        for one in (*self.locations(entry), *self._kept(entry)):
            locations[one.namespace].add(one)
        views = self._store.held(entry.key)
        return [v for v in views if any(one.has(v) for one in locations.get(v.namespace, ()))]

    def holder(self, location: Location) -> SetKey | None:
        """Return the set that has a location."""
        if location not in self._holders:
            find = self._holder if location.pool else self._host
            self._holders[location] = find(location)
        return self._holders[location]

    def competitors(self, key: str) -> list[SetEntry]:
        """Return the sets that want to publish under a key, and could: one that never had a lock is
        in nobody's way if it can't be read, or is one too many in its namespace."""
        store, most = self._store, self._config.limits.sets_per_namespace
        entries = [store.sets[one] for one in store.rivals(key)]
        return [
            one
            for one in entries
            if self.held(one) or (one.spec and store.ranks.rank(one.meta) < most)
        ]

    def _holder(self, location: Location) -> SetKey | None:
        """Return who has a key of a pool, in all of its namespaces alike."""
        wanting = [one for one in self.competitors(location.key) if self._wants(one, location)]
        first = min(
            wanting,
            key=lambda one: (min(self._holds(one, location), default=_FREE), age(one.meta)),
            default=None,
        )
        return first.key if first else None

    def _holds(self, entry: SetEntry, location: Location) -> Iterator[tuple[int, int]]:
        """The ConfigMaps by which a set has a key of a pool, as ranks: the least counts most.

        The namespaces of the pool's jobs come first, in the order in which they are written. Others
        count, as the pool's jobs may have been there, but the set's own is last: whoever makes sets
        there may make ConfigMaps that look so. In each, the live one goes before a revision, which
        is left where somebody has deleted it, and before what earlier versions named without pool.
        """
        pool = self._store.pools.get(location.pool)
        jobs = pool.job_namespaces if pool else (location.namespace,)
        for view in self._store.held(entry.key):
            there = replace(location, namespace=view.namespace)
            before = replace(there, pool="")
            names = [there.live_name, there.revision(view.labels.get(REVISION_LABEL, ""))]
            names += [] if before == primary_location(entry.key) else [before.live_name]
            if view.name in names:
                elsewhere = len(jobs) + (view.namespace == entry.key.namespace)
                where = jobs.index(view.namespace) if view.namespace in jobs else elsewhere
                yield where, names.index(view.name)

    def _host(self, location: Location) -> SetKey | None:
        """Return who has the ConfigMap in a set's own namespace: that set.

        But earlier versions had copies for pools under such names, which runs that they started may
        still mount. A set that has one there keeps it until it has deleted it, which one that
        can't be read never does.
        """
        host = SetKey(location.namespace, location.key)
        view = self._store.config_maps.get((location.namespace, location.live_name))
        guest = self._store.sets.get(view.holder) if view else None
        if guest is None or guest.spec is None or guest.meta.deleting:
            return host
        return guest.key if any(ref.key == location.key for ref in guest.pool_refs) else host

    def _wants(self, entry: SetEntry, location: Location) -> bool:
        if entry.meta.deleting:
            return False
        return location in self.locations(entry) or location in self._kept(entry)

    def _kept(self, entry: SetEntry) -> Iterator[Location]:
        """The copies that a set has for pools that were not seen since the start."""
        unseen = [ref for ref in entry.pool_refs if ref.name not in self._store.pools]
        for view in self._store.held(entry.key) if unseen else ():
            for ref in unseen:
                location = Location(view.namespace, ref.key, ref.name)
                settings = self._config.pool(ref.name)
                # Without any word on where jobs run, they may run in the set's own namespace.
                jobs = settings.job_namespaces or (entry.key.namespace,)
                admitted = settings.admits(entry.key.namespace, jobs=jobs)
                if admitted and view.name == location.live_name:
                    yield location
