"""What should be, and the writes that are missing. Pure: what is comes in, data goes out.

For a set, `places` says where its lock belongs: at home (its own namespace, its
own name) and in each job namespace of the pools it offers itself to, under the
pool's key. In each place stand two ConfigMaps of one shape:

    flowdeps-<key>           what runs mount; annotated with what made the lock
    flowdeps-<key>-<digest>  the revision, immutable, kept for its history

The current ConfigMap at home is where everything else is derived from: it alone
tells whether the inputs have changed, so a set is settled or not by what stands
in the cluster, never by what a status claims.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flowdeps.api.config import Config
from flowdeps.api.poolconfig import PoolConfig
from flowdeps.api.resource import (
    API_VERSION,
    KIND,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    NAMESPACE_LABEL,
    SET_LABEL,
    SetMeta,
)
from flowdeps.api.status import parse_status
from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.store import (
    ANNOTATION_CONTENT,
    DIGEST_FILE,
    LOCK_FILE,
    MANIFEST_FILE,
    REVISION_LABEL,
    ConfigMapView,
    PoolView,
    SetEntry,
    SetKey,
    content_hash,
)
from flowdeps.templates import Fragment

ANNOTATION_INPUTS = "flowdeps.dev/inputs"
ANNOTATION_RESOLVED_AT = "flowdeps.dev/resolved-at"
ANNOTATION_REFRESHED_AT = "flowdeps.dev/refreshed-at"
ANNOTATION_REFRESH = "flowdeps.dev/refresh-handled"
ANNOTATION_SUMMARY = "flowdeps.dev/summary"
_OWNED_ANNOTATIONS = (
    ANNOTATION_INPUTS,
    ANNOTATION_RESOLVED_AT,
    ANNOTATION_REFRESHED_AT,
    ANNOTATION_REFRESH,
    ANNOTATION_SUMMARY,
)

SUMMARY_LIMIT = 240
_SHOWN = 6


@dataclass(frozen=True, order=True)
class Place:
    """Where a lock is published: a namespace and the key that names it there."""

    namespace: str
    key: str

    @property
    def current(self) -> str:
        """The name of the ConfigMap that runs mount."""
        return f"flowdeps-{self.key}"

    def revision(self, short: str) -> str:
        """The name of a revision's ConfigMap."""
        return f"flowdeps-{self.key}-{short}"


@dataclass(frozen=True, kw_only=True)
class LockRecord:
    """A lock in service, without its text.

    `digest` as of the lock (`sha256:…`), `inputs` the digest of the request that
    made it; `resolved_at` and `refreshed_at` (when pins were last free to move)
    in RFC 3339 with microseconds; `refresh` the refresh annotation that was met.
    """

    digest: str
    inputs: str
    resolved_at: str
    refreshed_at: str
    refresh: str
    python: str
    platforms: tuple[str, ...]
    packages: int
    index: Mapping[str, Any]

    @property
    def short(self) -> str:
        """The ten hex digits that name the revision."""
        return self.digest.removeprefix("sha256:")[:10]


@dataclass(frozen=True, kw_only=True)
class Desired:
    """A ConfigMap as it should be, all but the text of its lock."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner: Mapping[str, Any] | None
    immutable: bool
    manifest: Mapping[str, Any]

    def met_by(self, view: ConfigMapView | None) -> bool:
        """Whether what is there needs no write."""
        return (
            view is not None
            and view.intact
            and view.immutable == self.immutable
            and view.manifest == self.manifest
            and all(view.labels.get(k) == v for k, v in self.labels.items())
            and all(view.annotations.get(k) == self.annotations.get(k) for k in _OWNED_ANNOTATIONS)
            and (self.owner is None or self.owner["uid"] in view.owners)
        )

    def must_be_replaced(self, view: ConfigMapView | None) -> bool:
        """Whether the API server would refuse the write: immutable, other data."""
        return (
            view is not None
            and view.immutable
            and not (view.intact and view.manifest == self.manifest)
        )

    def body(self, lock_text: str) -> dict[str, Any]:
        """The ConfigMap to apply."""
        data = {
            LOCK_FILE: lock_text,
            MANIFEST_FILE: json.dumps(dict(self.manifest), indent=1) + "\n",
            DIGEST_FILE: self.manifest["digest"],
        }
        annotations = {**self.annotations, ANNOTATION_CONTENT: content_hash(data)}
        metadata: dict[str, Any] = {
            "name": self.name,
            "namespace": self.namespace,
            "labels": dict(self.labels),
            "annotations": annotations,
        }
        if self.owner:
            metadata["ownerReferences"] = [dict(self.owner)]
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        if self.immutable:
            body["immutable"] = True
        return {**body, "data": data}


# Records


def record_of(
    lock: Lock,
    request: LockRequest,
    *,
    resolved_at: str,
    refreshed_at: str,
    refresh: str,
) -> LockRecord:
    """The record of a lock that was just made for a request."""
    index = request.index
    return LockRecord(
        digest=lock.digest,
        inputs=request.digest,
        resolved_at=resolved_at,
        refreshed_at=refreshed_at,
        refresh=refresh,
        python=lock.target.python,
        platforms=lock.target.platforms,
        packages=len({pin.name for pin in lock.pins}),
        index={"url": index.url, "extraUrls": list(index.extra_urls)},
    )


def last_record(home: Place, views: Iterable[ConfigMapView]) -> tuple[LockRecord, str] | None:
    """The lock in service at home, and the name of the ConfigMap that holds it.

    Where the current ConfigMap is gone or damaged, the newest intact revision
    stands in: a slip of `kubectl delete` must not move a pin.
    """
    here = [v for v in views if v.namespace == home.namespace and v.intact]
    current = [v for v in here if v.name == home.current]
    revisions = [v for v in here if v.name.startswith(f"{home.current}-") and v.immutable]
    revisions.sort(key=lambda v: v.annotations.get(ANNOTATION_RESOLVED_AT, ""), reverse=True)
    for view in [*current, *revisions]:
        if record := _record(view):
            return record, view.name
    return None


def _record(view: ConfigMapView) -> LockRecord | None:
    manifest = view.manifest
    try:
        return LockRecord(
            digest=manifest["digest"],
            inputs=view.annotations[ANNOTATION_INPUTS],
            resolved_at=view.annotations[ANNOTATION_RESOLVED_AT],
            refreshed_at=view.annotations[ANNOTATION_REFRESHED_AT],
            refresh=view.annotations.get(ANNOTATION_REFRESH, ""),
            python=manifest["python"],
            platforms=tuple(manifest["platforms"]),
            packages=manifest["packages"],
            index=manifest["index"],
        )
    except KeyError:
        return None


# Where


def home_of(key: SetKey) -> Place:
    """The place in a set's own namespace, which no pool decides."""
    return Place(key.namespace, key.name)


def places(entry: SetEntry, *, config: Config, pools: Mapping[str, PoolView]) -> list[Place]:
    """Where a set's lock belongs, home first.

    For a pool not looked at since the start, what the set's status last said
    holds; one that nobody ever saw adds nothing yet.
    """
    found = {home_of(entry.key): None}
    told = {pool.name: pool.namespaces for pool in parse_status(entry.body).work_pools}
    for ref in entry.offers:
        if not config.pool(ref.name).admits(entry.key.namespace):
            continue
        view = pools.get(ref.name)
        namespaces = view.job_namespaces if view else told.get(ref.name, ())
        found |= dict.fromkeys(Place(namespace, ref.key) for namespace in namespaces)
    return list(found)


def age(meta: SetMeta) -> tuple[datetime, str, str]:
    """Sorts sets oldest first; the same for everybody, also within one second."""
    return (meta.created_at, meta.namespace, meta.name)


def holder_of(
    place: Place,
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


# What


def config_maps(
    entry: SetEntry, place: Place, record: LockRecord, *, summary: str
) -> tuple[Desired, Desired]:
    """The revision and the current ConfigMap of a lock in a place, in the order of writing."""
    key = entry.key
    labels = {
        MANAGED_BY_LABEL: MANAGED_BY,
        SET_LABEL: key.name,
        NAMESPACE_LABEL: key.namespace,
    }
    owner = None
    if place.namespace == key.namespace:
        owner = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": key.name,
            "uid": entry.meta.uid,
        }
    manifest = {
        "set": str(key),
        "key": place.key,
        "revision": f"{place.key}-{record.short}",
        "digest": record.digest,
        "python": record.python,
        "platforms": list(record.platforms),
        "packages": record.packages,
        "index": dict(record.index),
    }
    made = {
        ANNOTATION_INPUTS: record.inputs,
        ANNOTATION_RESOLVED_AT: record.resolved_at,
        ANNOTATION_REFRESHED_AT: record.refreshed_at,
    }
    at_home = place == home_of(key)
    revision = Desired(
        namespace=place.namespace,
        name=place.revision(record.short),
        labels={**labels, REVISION_LABEL: record.short},
        annotations={**made, ANNOTATION_SUMMARY: summary},
        owner=owner,
        immutable=True,
        manifest=manifest,
    )
    current = Desired(
        namespace=place.namespace,
        name=place.current,
        labels=labels,
        # A refresh that moves no pin touches this one ConfigMap only.
        annotations={**made, ANNOTATION_REFRESH: record.refresh} if at_home else {},
        owner=owner,
        immutable=False,
        manifest=manifest,
    )
    return revision, current


def keep_history(desired: Desired, view: ConfigMapView | None) -> Desired:
    """A revision that is there already keeps what it says of its making."""
    if view is None or desired.must_be_replaced(view) or not desired.immutable:
        return desired
    kept = {k: v for k, v in view.annotations.items() if k in _OWNED_ANNOTATIONS}
    return replace(desired, annotations={**desired.annotations, **kept})


def revisions_of(place: Place, views: Iterable[ConfigMapView]) -> list[ConfigMapView]:
    """The revisions of a place, newest first."""
    found = [
        v
        for v in views
        if v.namespace == place.namespace
        and REVISION_LABEL in v.labels
        and v.name == place.revision(v.labels[REVISION_LABEL])
    ]
    return sorted(
        found, key=lambda v: (v.annotations.get(ANNOTATION_RESOLVED_AT, ""), v.name), reverse=True
    )


def obsolete(
    wanted: Sequence[Place],
    views: Sequence[ConfigMapView],
    *,
    serving: str,
    limit: int,
) -> list[ConfigMapView]:
    """The ConfigMaps of a set to delete: places it left, revisions beyond its history.

    `serving` is the short digest in service, which is kept whatever the limit.
    """
    kept: set[tuple[str, str]] = set()
    for place in wanted:
        kept.add((place.namespace, place.current))
        revisions = revisions_of(place, views)
        old = [v for v in revisions if v.labels[REVISION_LABEL] != serving]
        kept |= {(v.namespace, v.name) for v in revisions if v not in old}
        kept |= {(v.namespace, v.name) for v in old[:limit]}
    return [v for v in views if (v.namespace, v.name) not in kept]


# Pools


def pool_fragment(
    offered: Mapping[str, SetEntry],
    *,
    settings: PoolConfig,
    default: str,
    owner: str,
    version: str,
) -> Fragment:
    """What a pool's template should carry: `offered` says which set each key stands for."""
    install = settings.install
    fragment = Fragment(
        owner=owner,
        version=version,
        variable=settings.variable,
        keys=tuple(sorted(offered)),
        default=default,
        descriptions={key: _describe(entry) for key, entry in offered.items()},
        default_image=settings.image,
        resources=install.resources or None,
        env=tuple({"name": one.name, "value": one.value} for one in install.env),
    )
    if install.security_context:
        return replace(fragment, security_context=install.security_context)
    return fragment


def _describe(entry: SetEntry) -> str:
    requirements = entry.spec.requirements if entry.spec else ()
    shown = ", ".join(requirements[:_SHOWN])
    more = f" and {len(requirements) - _SHOWN} more" if len(requirements) > _SHOWN else ""
    return f"{entry.key}: {shown}{more}"
