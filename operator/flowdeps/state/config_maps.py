"""The ConfigMaps of a lock as they should be, and which of those that are there are not wanted.

In each place stand two of one shape:

    flowdeps-<key>           what runs mount; at home annotated with what made the lock
    flowdeps-<key>-<digest>  the revision, immutable, kept for its history
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flowdeps.api.names import (
    CONTENT_ANNOTATION,
    INPUTS_ANNOTATION,
    NOTES_ANNOTATION,
    PINNED_ANNOTATION,
    PROPOSED_ANNOTATION,
    REFRESH_HANDLED_ANNOTATION,
    REFRESHED_AT_ANNOTATION,
    RESOLVED_AT_ANNOTATION,
    REVISION_LABEL,
    SUMMARY_ANNOTATION,
    VERIFIED_ANNOTATION,
    revision_choice,
    set_labels,
)
from flowdeps.state.locations import Location, owner_of, primary_location
from flowdeps.state.records import LockRecord, proposals_of, served_revisions
from flowdeps.state.store import (
    DIGEST_FILE,
    LOCK_FILE,
    MANIFEST_FILE,
    ConfigMapView,
    SetEntry,
    content_hash,
)

SUMMARY_LIMIT = 240
"""Characters of a revision's one-line diff."""

_OWNED_ANNOTATIONS = (
    INPUTS_ANNOTATION,
    RESOLVED_AT_ANNOTATION,
    REFRESHED_AT_ANNOTATION,
    REFRESH_HANDLED_ANNOTATION,
    PINNED_ANNOTATION,
    VERIFIED_ANNOTATION,
    NOTES_ANNOTATION,
    PROPOSED_ANNOTATION,
    SUMMARY_ANNOTATION,
)


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
        annotations = {**self.annotations, CONTENT_ANNOTATION: content_hash(data)}
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


def config_maps(
    entry: SetEntry, place: Location, record: LockRecord, *, summary: str, proposed: bool = False
) -> tuple[Desired, Desired]:
    """The revision and the current ConfigMap of a lock in a place, in the order of writing.

    `proposed`: the revision waits for an approval, and is not to become the current one.
    """
    key = entry.key
    labels = set_labels(namespace=key.namespace, name=key.name)
    owner = owner_of(entry) if place.namespace == key.namespace else None
    manifest = {
        "set": str(key),
        "key": place.key,
        "revision": revision_choice(place.key, record.short),
        "digest": record.digest,
        "python": record.python,
        "platforms": list(record.platforms),
        "packages": record.packages,
        "index": dict(record.index),
        **_only_if_there(record),
    }
    at_home = place == primary_location(key)
    revision = Desired(
        namespace=place.namespace,
        name=place.revision(record.short),
        labels={**labels, REVISION_LABEL: record.short},
        annotations={
            **_made(record),
            SUMMARY_ANNOTATION: summary,
            **({VERIFIED_ANNOTATION: record.verified} if record.verified else {}),
            **({PROPOSED_ANNOTATION: "true"} if proposed else {}),
        },
        owner=owner,
        immutable=True,
        manifest=manifest,
    )
    current = Desired(
        namespace=place.namespace,
        name=place.current,
        labels=labels,
        # A refresh that moves no pin touches this one ConfigMap only.
        annotations=_at_home(record) if at_home else {},
        owner=owner,
        immutable=False,
        manifest=manifest,
    )
    return revision, current


def _made(record: LockRecord) -> dict[str, str]:
    return {
        INPUTS_ANNOTATION: record.inputs,
        RESOLVED_AT_ANNOTATION: record.resolved_at,
        REFRESHED_AT_ANNOTATION: record.refreshed_at,
    }


def _at_home(record: LockRecord) -> dict[str, str]:
    told = {
        PINNED_ANNOTATION: "true" if record.pinned else "",
        VERIFIED_ANNOTATION: record.verified,
        NOTES_ANNOTATION: record.notes,
    }
    kept = {name: text for name, text in told.items() if text}
    return {**_made(record), REFRESH_HANDLED_ANNOTATION: record.refresh, **kept}


def _only_if_there(record: LockRecord) -> dict[str, Any]:
    """What the manifests of locks without it go without."""
    found = {
        "image": record.image,
        "shadow": list(record.shadow),
        "credentials": record.credentials,
    }
    return {name: value for name, value in found.items() if value}


def keep_history(desired: Desired, view: ConfigMapView | None) -> Desired:
    """A revision that is there already keeps what it says of its making."""
    if view is None or desired.must_be_replaced(view) or not desired.immutable:
        return desired
    made = [name for name in _OWNED_ANNOTATIONS if name != PROPOSED_ANNOTATION]
    kept = {k: v for k, v in view.annotations.items() if k in made}
    return replace(desired, annotations={**desired.annotations, **kept})


def obsolete(
    wanted: Sequence[Location],
    views: Sequence[ConfigMapView],
    *,
    serving: str,
    limit: int,
    proposals: int = 0,
) -> list[ConfigMapView]:
    """The ConfigMaps of a set to delete: places it left, revisions beyond its history.

    `serving` is the short digest in service, which is kept whatever the limit, as are
    the newest `proposals` that wait for an approval.
    """
    kept: set[tuple[str, str]] = set()
    for place in wanted:
        kept.add((place.namespace, place.current))
        kept |= {(v.namespace, v.name) for v in proposals_of(place, views)[:proposals]}
        revisions = served_revisions(place, views)
        old = [v for v in revisions if v.labels[REVISION_LABEL] != serving]
        kept |= {(v.namespace, v.name) for v in revisions if v not in old}
        kept |= {(v.namespace, v.name) for v in old[:limit]}
    return [v for v in views if (v.namespace, v.name) not in kept]
