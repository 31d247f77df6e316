"""Which lock is in service, and what made it.

Everything is derived from the live ConfigMap in the set's own namespace. Its annotations say which
inputs the lock answers, so what is in the cluster decides whether a set needs another lock, and no
status does. Only where that ConfigMap is lost, the status says which of the revisions it held.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from flowdeps.api import names
from flowdeps.locks.index import Index
from flowdeps.locks.lock import Lock
from flowdeps.locks.size import Size, read_size, size_of
from flowdeps.state.environment import Environment, read_environment
from flowdeps.state.locations import Location, primary_location
from flowdeps.state.reported import lock_before
from flowdeps.state.store import ConfigMapView, SetEntry

_SPREAD = 0.1
"""Share of the interval by which refreshes are spread, so that sets don't wake together."""


@dataclass(frozen=True, kw_only=True)
class LockRecord:
    """What is known of a published lock without its text; times are in RFC 3339."""

    digest: str
    """Of the lock: `sha256:…`."""
    inputs: str
    """The digest of the request that made it."""
    resolved_at: str
    refreshed_at: str
    """When pins were last free to move."""
    refresh: str
    """The refresh annotation that was met."""
    python: str
    platforms: tuple[str, ...]
    packages: int
    index: Mapping[str, Any]
    pinned: bool = False
    """Served because spec.revision asked for it."""
    verified: str = ""
    """The trial that it passed; empty where it was never tried."""
    verify_notes: str = ""
    """What people should know of that trial."""
    size: Size | None = None
    """How large it is, as far as that is known."""
    notes: str = ""
    """What people should know of how it was made."""
    image: str = ""
    """The image that it was made for; empty with python.version."""
    shadow: tuple[str, ...] = ()
    """The packages that it may put before the image's own."""
    credentials: bool = False
    """Whether runs need the Secret of the lock's name."""
    environment: Environment | None = None
    """The lock as it was installed for an image, which may have moved since."""

    @property
    def short(self) -> str:
        """The ten hex digits that name the revision."""
        return self.digest.removeprefix("sha256:")[:10]


@dataclass(frozen=True)
class Served:
    """A published lock that is in service, or may be."""

    record: LockRecord
    config_map: str
    """The ConfigMap in the set's own namespace that holds its text."""

    def but(self, **changes: Any) -> "Served":
        """Return the same lock with other fields of its record."""
        return replace(self, record=replace(self.record, **changes))


def record_of(
    lock: Lock,
    *,
    inputs: str,
    index: Index,
    resolved_at: str,
    refreshed_at: str,
    refresh: str,
    **more: Any,
) -> LockRecord:
    """The record of a lock that was just made; `more` are further fields."""
    return LockRecord(
        digest=lock.digest,
        inputs=inputs,
        resolved_at=resolved_at,
        refreshed_at=refreshed_at,
        refresh=refresh,
        python=lock.target.python,
        platforms=lock.target.platforms,
        packages=len({pin.name for pin in lock.pins}),
        size=size_of(lock),
        index=index.lock_entry(),
        **more,
    )


def lock_in_service(
    entry: SetEntry, views: Sequence[ConfigMapView], *, now: datetime, repository: str = ""
) -> Served | None:
    """Return the lock in service at home.

    Where the live ConfigMap is gone or damaged, an intact revision takes its place: a slip of
    `kubectl delete` must not move a pin. An environment is believed only in `repository`.
    """
    home = primary_location(entry.key)
    live = [v for v in views if (v.namespace, v.name) == (home.namespace, home.live_name)]
    revisions = served_revisions(home, views)
    return _first(live, repository) or _last_served(entry, revisions, now, repository)


def _last_served(
    entry: SetEntry, revisions: Sequence[ConfigMapView], now: datetime, repository: str
) -> Served | None:
    """Return the revision that was served, by the status or else spec.revision; else the newest.

    A revision does not say when its lock was refreshed, and whether because somebody asked. So
    the next refresh is due when the status says, else after an interval, and never because of an
    annotation that was met.
    """
    before = lock_before(entry)
    asked = names.mounted_name(entry.spec.revision) if entry.spec and entry.spec.revision else ""
    found = _first(
        sorted(
            revisions, key=lambda v: (v.manifest.get("digest") != before.digest, v.name != asked)
        ),
        repository,
    )
    if found is None:
        return None
    wanted = entry.meta.annotations.get(names.REFRESH_REQUESTED_ANNOTATION, "")
    met = before.handled_refresh if before.digest else wanted
    due, after = before.next_refresh, refresh_after(entry)
    refreshed = min(now, due - after) if due and after else now
    return found.but(
        pinned=found.config_map == asked,
        refresh=met,
        refreshed_at=refreshed.isoformat(timespec="microseconds"),
    )


def refresh_after(entry: SetEntry) -> timedelta | None:
    """How long after a refresh the next one is due, a little apart for each set; None: never."""
    if entry.spec is None or entry.spec.interval is None:
        return None
    share = int(hashlib.sha256(entry.meta.uid.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    return entry.spec.interval + entry.spec.interval * (_SPREAD * share)


def newest_lock(
    home: Location, views: Sequence[ConfigMapView], *, repository: str = ""
) -> Served | None:
    """Return the lock that was resolved last, whichever is in service."""
    return _first(served_revisions(home, views), repository)


def pinned_lock(
    home: Location, views: Sequence[ConfigMapView], revision: str, *, repository: str = ""
) -> Served | None:
    """Return the lock of a revision by its name, as spec.revision asks for it."""
    named = [v for v in revisions_of(home, views) if v.name == names.mounted_name(revision)]
    found = _first(named, repository)
    return found.but(pinned=True) if found else None


def served_revisions(place: Location, views: Iterable[ConfigMapView]) -> list[ConfigMapView]:
    """The revisions of a place that were in service or are, newest first: no proposals."""
    return [v for v in revisions_of(place, views) if names.PROPOSED_ANNOTATION not in v.annotations]


def proposals_of(place: Location, views: Iterable[ConfigMapView]) -> list[ConfigMapView]:
    """The revisions of a place that wait for an approval, newest first."""
    return [v for v in revisions_of(place, views) if names.PROPOSED_ANNOTATION in v.annotations]


def revisions_of(place: Location, views: Iterable[ConfigMapView]) -> list[ConfigMapView]:
    """The revisions of a place, newest first."""
    found = [
        v
        for v in views
        if v.namespace == place.namespace
        and names.REVISION_LABEL in v.labels
        and v.name == place.revision(v.labels[names.REVISION_LABEL])
    ]
    return sorted(
        found,
        key=lambda v: (v.annotations.get(names.RESOLVED_AT_ANNOTATION, ""), v.name),
        reverse=True,
    )


def references_named(
    views: Iterable[ConfigMapView], *, repository_of: Callable[[str], str]
) -> frozenset[str]:
    """Return the references that a lock or revision of any set still names, live or not.

    `repository_of` gives the repository of a namespace. Whatever else is in these repositories,
    nobody asks for any more, but for runs that have begun.
    """
    named: set[str] = set()
    for view in views:
        home = primary_location(view.holder)
        found = environments_of(home, [view], repository=repository_of(home.namespace))
        for one in found:
            named |= {one.reference, one.derived_reference} - {""}
    return frozenset(named)


def environments_of(
    home: Location, views: Iterable[ConfigMapView], *, repository: str
) -> Iterator[Environment]:
    """Iterate over the environments of all that a set has at home: its lock and its revisions."""
    at_home = (v for v in views if v.namespace == home.namespace)
    records = (record_in(view, repository=repository) for view in at_home)
    yield from (one.environment for one in records if one and one.environment)


def _first(views: Iterable[ConfigMapView], repository: str) -> Served | None:
    for view in views:
        if view.intact and (record := record_in(view, repository=repository)):
            return Served(record, view.name)
    return None


def record_in(view: ConfigMapView, *, repository: str = "") -> LockRecord | None:
    """Return what a ConfigMap says of its lock; None where it says too little.

    An environment is believed only in `repository`, and only of this lock.
    """
    manifest = view.manifest
    text = view.annotations.get(names.ENVIRONMENT_ANNOTATION)
    environment = read_environment(text, repository=repository)
    if environment and environment.lock != manifest.get("digest"):
        environment = None
    try:
        return LockRecord(
            digest=manifest["digest"],
            inputs=view.annotations[names.INPUTS_ANNOTATION],
            resolved_at=view.annotations[names.RESOLVED_AT_ANNOTATION],
            refreshed_at=view.annotations[names.REFRESHED_AT_ANNOTATION],
            refresh=view.annotations.get(names.REFRESH_HANDLED_ANNOTATION, ""),
            python=manifest["python"],
            platforms=tuple(manifest["platforms"]),
            packages=manifest["packages"],
            index=manifest["index"],
            pinned=names.PINNED_ANNOTATION in view.annotations,
            verified=view.annotations.get(names.VERIFIED_ANNOTATION, ""),
            verify_notes=view.annotations.get(names.VERIFY_NOTES_ANNOTATION, ""),
            size=read_size(view.annotations.get(names.SIZE_ANNOTATION)),
            notes=view.annotations.get(names.NOTES_ANNOTATION, ""),
            image=manifest.get("image") or "",
            shadow=tuple(manifest.get("shadow") or ()),
            credentials=bool(manifest.get("credentials")),
            environment=environment,
        )
    except KeyError:
        return None
