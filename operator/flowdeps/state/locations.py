"""Where a set's lock is published, and which of several sets has a location.

A lock goes to the set's own namespace, under the set's name, and to each job namespace of its
pools, under the pool's key. Of several sets that want one location, the oldest has it.

Where the jobs of a pool run is known once the pool was seen. Before that, as after a restart
without Prefect, a set keeps the copies that it has, and they are brought up to date only where the
operator's configuration names their namespace.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from flowdeps.api.config import Config
from flowdeps.api.names import API_VERSION, KIND, mounted_name, revision_choice
from flowdeps.api.resource import SetMeta
from flowdeps.api.spec import WorkPoolRef
from flowdeps.state.store import PoolView, SetEntry, SetKey, Store


@dataclass(frozen=True, order=True)
class Location:
    """Where a lock is published: a namespace and the key that names it there."""

    namespace: str
    key: str

    @property
    def live_name(self) -> str:
        """The name of the ConfigMap that runs mount."""
        return mounted_name(self.key)

    def revision(self, short: str) -> str:
        """The name of a revision's ConfigMap."""
        return mounted_name(revision_choice(self.key, short))


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
        found |= dict.fromkeys(Location(namespace, ref.key) for namespace in namespaces)
    return list(found)


def owner_of(entry: SetEntry) -> dict[str, str]:
    """Return the owner reference of what is in a set's own namespace, and goes with the set."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": entry.key.name,
        "uid": entry.meta.uid,
    }


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
            for ref, location in self._kept(entry):
                named = self._config.pool(ref.name).job_namespaces
                found += [location] if location.namespace in named else []
            self._locations[name] = list(dict.fromkeys(found))
        return self._locations[name]

    def holder(self, location: Location) -> SetKey | None:
        """Return the set that has a location: the oldest of those that want it."""
        if location not in self._holders:
            wanting = [one for one in self.competitors(location.key) if self._wants(one, location)]
            oldest = min(wanting, key=lambda one: age(one.meta), default=None)
            self._holders[location] = oldest.key if oldest else None
        return self._holders[location]

    def competitors(self, key: str) -> list[SetEntry]:
        """Return the sets that want to publish under a key, and could: one that can't be read and
        never had a lock is in nobody's way."""
        entries = [self._store.sets[one] for one in self._store.rivals(key)]
        return [one for one in entries if one.spec or self._store.held(one.key)]

    def _wants(self, entry: SetEntry, location: Location) -> bool:
        if entry.meta.deleting:
            return False
        kept = (one for _, one in self._kept(entry))
        return location in self.locations(entry) or location in kept

    def _kept(self, entry: SetEntry) -> Iterator[tuple[WorkPoolRef, Location]]:
        """The copies that a set has for pools that were not seen since the start."""
        unseen = [ref for ref in entry.pool_refs if ref.name not in self._store.pools]
        for view in self._store.held(entry.key) if unseen else ():
            for ref in unseen:
                location, settings = Location(view.namespace, ref.key), self._config.pool(ref.name)
                # Without any word on where jobs run, they may run in the set's own namespace.
                jobs = settings.job_namespaces or (entry.key.namespace,)
                admitted = settings.admits(entry.key.namespace, jobs=jobs)
                if admitted and view.name == location.live_name:
                    yield ref, location
