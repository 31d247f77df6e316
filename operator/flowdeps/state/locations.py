"""Where a set's lock belongs: at home (its own namespace, its own name) and in each job
namespace of the pools it offers itself to, under the pool's key. Of several sets that want
one place, the oldest has it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from flowdeps.api.config import Config
from flowdeps.api.names import API_VERSION, KIND, mounted_name, revision_choice
from flowdeps.api.resource import SetMeta
from flowdeps.api.status import parse_status
from flowdeps.state.store import PoolView, SetEntry, SetKey


@dataclass(frozen=True, order=True)
class Location:
    """Where a lock is published: a namespace and the key that names it there."""

    namespace: str
    key: str

    @property
    def current(self) -> str:
        """The name of the ConfigMap that runs mount."""
        return mounted_name(self.key)

    def revision(self, short: str) -> str:
        """The name of a revision's ConfigMap."""
        return mounted_name(revision_choice(self.key, short))


def primary_location(key: SetKey) -> Location:
    """The place in a set's own namespace, which no pool decides."""
    return Location(key.namespace, key.name)


def places(entry: SetEntry, *, config: Config, pools: Mapping[str, PoolView]) -> list[Location]:
    """Where a set's lock belongs, home first.

    For a pool not looked at since the start, what the set's status last said
    holds; one that nobody ever saw adds nothing yet.
    """
    found = {primary_location(entry.key): None}
    for ref in entry.offers:
        if not config.pool(ref.name).admits(entry.key.namespace):
            continue
        view = pools.get(ref.name)
        namespaces = view.job_namespaces if view else _told(entry).get(ref.name, ())
        found |= dict.fromkeys(Location(namespace, ref.key) for namespace in namespaces)
    return list(found)


def _told(entry: SetEntry) -> dict[str, tuple[str, ...]]:
    return {pool.name: pool.namespaces for pool in parse_status(entry.body).work_pools}


def owner_of(entry: SetEntry) -> dict[str, str]:
    """The owner reference of what stands in a set's own namespace, and goes with the set."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": entry.key.name,
        "uid": entry.meta.uid,
    }


def age(meta: SetMeta) -> tuple[datetime, str, str]:
    """Sorts sets oldest first; the same for everybody, also within one second."""
    return (meta.created_at, meta.namespace, meta.name)


def holder_of(
    place: Location,
    rivals: Iterable[SetEntry],
    *,
    config: Config,
    pools: Mapping[str, PoolView],
) -> SetKey | None:
    """Of the sets that want a place, the one that serves it: the oldest."""
    wanting = [
        rival
        for rival in rivals
        if not rival.meta.deleting and place in places(rival, config=config, pools=pools)
    ]
    return min(wanting, key=lambda rival: age(rival.meta)).key if wanting else None
