"""The ConfigMaps of a lock as they should be, and which of those that are there are not wanted.

Each location has two of one shape, whose names are in `api/names.py`:

    live          what runs mount; the set's own has annotations that say what made the lock
    the revision  immutable, kept for its history; its name ends with `-<digest>`
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flowdeps.api import names
from flowdeps.delivery.methods.volume import FLOW_PATH
from flowdeps.state.locations import Location, owner_of, primary_location
from flowdeps.state.records import LockRecord, proposals_of, served_revisions
from flowdeps.state.store import (
    DIGEST_FILE,
    LOCK_FILE,
    MANIFEST_FILE,
    ConfigMapView,
    SetEntry,
    SetKey,
    content_hash,
)

SUMMARY_LIMIT = 240
"""Characters of a revision's one-line diff."""


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
    directory: str = ""
    """That of the environment on a claim; empty where there is none."""

    def with_summary(self, text: str) -> "Desired":
        """Return the same with a line on what changed."""
        return replace(self, annotations={**self.annotations, names.SUMMARY_ANNOTATION: text})

    def met_by(self, view: ConfigMapView | None) -> bool:
        """Return whether what is there needs no write."""
        return (
            view is not None
            and view.intact
            and view.immutable == self.immutable
            and self._same_data(view)
            and all(view.labels.get(k) == v for k, v in self.labels.items())
            and all(
                view.annotations.get(k) == self.annotations.get(k) for k in names.LOCK_ANNOTATIONS
            )
            and (self.owner is None or self.owner["uid"] in view.owners)
        )

    def must_be_replaced(self, view: ConfigMapView | None) -> bool:
        """Return whether the API server would refuse the write: immutable, other data."""
        return view is not None and view.immutable and not (view.intact and self._same_data(view))

    def _same_data(self, view: ConfigMapView) -> bool:
        return view.manifest == self.manifest and view.directory == self.directory

    def body(self, lock_text: str, *, instead_of: ConfigMapView | None = None) -> dict[str, Any]:
        """Return the ConfigMap to apply, which is refused where another version is there than
        `instead_of`."""
        data = {
            LOCK_FILE: lock_text,
            MANIFEST_FILE: json.dumps(dict(self.manifest), indent=1) + "\n",
            DIGEST_FILE: self.manifest["digest"],
        }
        if self.directory:
            data |= {names.ENVIRONMENT_FILE: self.directory, names.PATH_FILE: FLOW_PATH}
        annotations = {**self.annotations, names.CONTENT_ANNOTATION: content_hash(data)}
        metadata: dict[str, Any] = {
            "name": self.name,
            "namespace": self.namespace,
            "labels": dict(self.labels),
            "annotations": annotations,
        }
        if instead_of:
            metadata |= {
                "uid": instead_of.uid,
                "resourceVersion": instead_of.resource_version,
            }
        if self.owner:
            metadata["ownerReferences"] = [dict(self.owner)]
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        if self.immutable:
            body["immutable"] = True
        return {**body, "data": data}


def config_maps(
    entry: SetEntry,
    location: Location,
    record: LockRecord,
    *,
    summary: str = "",
    proposed: bool = False,
    directory: str = "",
    slower: str = "",
) -> tuple[Desired, Desired]:
    """Return the revision and the live ConfigMap of a lock in a location, in the order of writing.

    `proposed`: the revision waits for an approval, and is not to become the live one. `directory`:
    that of its environment, from which runs there mount it, and how much `slower` they read it.
    """
    key = entry.key
    labels = names.set_labels(namespace=key.namespace, name=key.name)
    owner = owner_of(entry) if location.namespace == key.namespace else None
    manifest = manifest_of(key, location, record)
    made = {
        names.INPUTS_ANNOTATION: record.inputs,
        names.RESOLVED_AT_ANNOTATION: record.resolved_at,
        names.REFRESHED_AT_ANNOTATION: record.refreshed_at,
        **({names.VERIFIED_ANNOTATION: record.verified} if record.verified else {}),
        **({names.VERIFY_NOTES_ANNOTATION: record.verify_notes} if record.verify_notes else {}),
    }
    home = location == primary_location(key)
    if home and record.environment:
        made[names.ENVIRONMENT_ANNOTATION] = record.environment.to_json()
    # A refresh that moves no pin touches this one ConfigMap only.
    at_home = {
        **made,
        names.REFRESH_HANDLED_ANNOTATION: record.refresh,
        **({names.PINNED_ANNOTATION: "true"} if record.pinned else {}),
        **({names.NOTES_ANNOTATION: record.notes} if record.notes else {}),
    }
    at_claim = {names.SLOWER_ANNOTATION: slower} if slower else {}
    revision = Desired(
        namespace=location.namespace,
        name=location.revision(record.short),
        labels={**labels, names.REVISION_LABEL: record.short},
        annotations={
            **made,
            names.SUMMARY_ANNOTATION: summary,
            **({names.PROPOSED_ANNOTATION: "true"} if proposed else {}),
        },
        owner=owner,
        immutable=True,
        manifest=manifest,
        directory=directory,
    )
    live = Desired(
        namespace=location.namespace,
        name=location.live_name,
        labels=labels,
        annotations=at_home if home else at_claim,
        owner=owner,
        immutable=False,
        manifest=manifest,
        directory=directory,
    )
    return revision, live


def manifest_of(key: SetKey, location: Location, record: LockRecord) -> dict[str, Any]:
    """Return what lock.json in a location should say; locks lack the fields that are empty."""
    maybe = {
        "pool": location.pool,
        "image": record.image,
        "shadow": list(record.shadow),
        "credentials": record.credentials,
    }
    return {
        "set": str(key),
        "key": location.key,
        "revision": names.revision_choice(location.key, record.short),
        "digest": record.digest,
        "python": record.python,
        "platforms": list(record.platforms),
        "packages": record.packages,
        "index": dict(record.index),
        **{name: value for name, value in maybe.items() if value},
    }


def is_written_for_a_set(view: ConfigMapView) -> bool:
    """Return whether a ConfigMap is what we write for the set in its labels, by all that it says.

    Labels alone are no reason to delete somebody's object.
    """
    manifest, short = view.manifest, view.labels.get(names.REVISION_LABEL)
    key, pool, digest = (str(manifest.get(name, "")) for name in ("key", "pool", "digest"))
    location = Location(view.namespace, key, pool)
    name = location.live_name if short is None else location.revision(short)
    return (
        manifest.get("set") == str(view.holder)
        and view.name == name
        and (short is None or digest.startswith(f"sha256:{short}"))
    )


def keep_history(desired: Desired, view: ConfigMapView | None) -> Desired:
    """Return a ConfigMap with what one that is there already says of how its lock was made.

    An environment is made after its lock, and perhaps anew. It stays where no other is known, as
    while none are made, and so does its directory on a claim: runs may mount it.
    """
    if view is None or desired.manifest.get("digest") != view.manifest.get("digest"):
        return desired
    if not desired.directory and view.intact:
        desired = replace(desired, directory=view.directory)
    names_kept = {names.ENVIRONMENT_ANNOTATION} - desired.annotations.keys()
    if desired.directory == view.directory:
        names_kept |= {names.SLOWER_ANNOTATION}
    if desired.immutable and not desired.must_be_replaced(view):
        made = {*names.LOCK_ANNOTATIONS} - {names.PROPOSED_ANNOTATION, names.SLOWER_ANNOTATION}
        names_kept |= made - {names.ENVIRONMENT_ANNOTATION}
    kept = {k: v for k, v in view.annotations.items() if k in names_kept}
    return replace(desired, annotations={**desired.annotations, **kept})


def obsolete(
    wanted: Sequence[Location],
    views: Sequence[ConfigMapView],
    *,
    serving: str,
    limit: int,
    proposals: int = 0,
) -> list[ConfigMapView]:
    """Return the ConfigMaps of a set to delete: locations it left, revisions beyond its history.

    `serving` is the short digest in service, which is kept whatever the limit, as are
    the newest `proposals` that wait for an approval.
    """
    kept: set[tuple[str, str]] = set()
    for location in wanted:
        kept.add((location.namespace, location.live_name))
        kept |= {(v.namespace, v.name) for v in proposals_of(location, views)[:proposals]}
        revisions = served_revisions(location, views)
        old = [v for v in revisions if v.labels[names.REVISION_LABEL] != serving]
        kept |= {(v.namespace, v.name) for v in revisions if v not in old}
        kept |= {(v.namespace, v.name) for v in old[:limit]}
    return [v for v in views if (v.namespace, v.name) not in kept]
