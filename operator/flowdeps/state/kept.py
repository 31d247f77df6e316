"""What is kept of an object: what is known here, up to limits that none of ours reaches."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from flowdeps.api.names import FINALIZER, REFRESH_REQUESTED_ANNOTATION
from flowdeps.api.status import REQUEST_LIMIT

_MANIFEST_FIELDS: Mapping[str, type] = {
    "set": str,
    "key": str,
    "pool": str,
    "revision": str,
    "digest": str,
    "python": str,
    "platforms": list,
    "packages": int,
    "index": dict,
    "image": str,
    "shadow": list,
    "credentials": bool,
}
"""Those of `manifest_of`; lists are of texts, and mappings have texts, nulls and such lists."""
_MORE = ""
"""Stands for what else a manifest has, so that it equals none that we write."""
_MOST_PACKAGES = 1_000_000
_MANIFEST_BYTES = 32 * 1024
_MOST_ITEMS = 64

_META_FIELDS = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
)


def known_manifest(text: str) -> dict[str, Any]:
    """Return what lock.json says, as far as we write it; nothing of what is no such file."""
    if len(text) > _MANIFEST_BYTES:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # the latter of what is nested without end
        return {}
    if not isinstance(found, dict):
        return {}
    fields = _MANIFEST_FIELDS.items()
    known = {name: found[name] for name, kind in fields if _is_a(kind, found.get(name))}
    return known if len(known) == len(found) else {**known, _MORE: True}


def _is_a(kind: type, value: object) -> bool:
    if not isinstance(value, kind):
        return False
    if isinstance(value, int):
        return 0 <= value < _MOST_PACKAGES  # a status has room for no other
    items: Iterable[object] = ()
    if isinstance(value, list):
        items = value
    elif isinstance(value, dict):
        items = (item for item in value.values() if item is not None and not _is_a(list, item))
    sized = not isinstance(value, list | dict) or len(value) <= _MOST_ITEMS
    return sized and all(isinstance(item, str) for item in items)


def essentials(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a set's body with what is kept of it: of its metadata only what is read."""
    meta = body["metadata"]
    kept = {name: meta[name] for name in _META_FIELDS if name in meta}
    if FINALIZER in (meta.get("finalizers") or ()):
        kept["finalizers"] = [FINALIZER]
    if asked := (meta.get("annotations") or {}).get(REFRESH_REQUESTED_ANNOTATION):
        # The status has room for no more.
        kept["annotations"] = {REFRESH_REQUESTED_ANNOTATION: asked[:REQUEST_LIMIT]}
    return {**body, "metadata": kept}
