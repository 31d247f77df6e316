"""What is: sets, ConfigMaps and pools as last seen, in memory.

Lists fill the store at the start, then watches, polls and the answers to our own writes, which may
overtake each other. An older version of an object never replaces a newer one, an object that is
gone never comes back, and a list, which takes seconds to be read, never removes what came
meanwhile. ConfigMaps are kept without their locks, so that ten thousand sets fit into memory; a
hash says whether one is what we wrote. Whoever may write objects with our labels decides how many
there are and how long they are, not how much of each is kept: only what is known here, up to limits
that nothing that we write reaches.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

from flowdeps.api.names import (
    CONTENT_ANNOTATION,
    ENVIRONMENT_ANNOTATION,
    ENVIRONMENT_FILE,
    KIND,
    LOCK_ANNOTATIONS,
    LOCK_LABELS,
    NAMESPACE_LABEL,
    OURS,
    PATH_FILE,
    PURPOSE_LABEL,
    REVISION_LABEL,
    SET_LABEL,
    choice_of,
    is_managed,
)
from flowdeps.api.problems import InvalidError
from flowdeps.api.resource import SetMeta, parse_meta, parse_spec
from flowdeps.api.spec import SetSpec, WorkPoolRef
from flowdeps.api.status import SetStatus, parse_status
from flowdeps.state.environment import known_directory
from flowdeps.state.kept import essentials, known_manifest
from flowdeps.state.ranks import Ranks

SELECTOR = f"{OURS},{PURPOSE_LABEL} notin (probe, verify, build, mount, populate, image)"
"""Selects the ConfigMaps of sets, and those by which earlier versions told runs of
environments."""

LOCK_FILE = "requirements.txt"
MANIFEST_FILE = "lock.json"
DIGEST_FILE = "digest"
_FILES = (LOCK_FILE, MANIFEST_FILE, DIGEST_FILE, ENVIRONMENT_FILE, PATH_FILE)

_ANNOTATION_LENGTH = 1024
_ENVIRONMENT_LENGTH = 4096
_MOST_OWNERS = 8
_UID_LENGTH = 64

Body = Mapping[str, Any]


@dataclass(frozen=True, order=True)
class SetKey:
    """Names a dependency set."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, order=True)
class PoolKey:
    """Names a work pool."""

    name: str

    def __str__(self) -> str:
        return f"work pool {self.name}"


@dataclass(frozen=True, order=True)
class RunsKey:
    """Names a namespace in which runs are."""

    namespace: str

    def __str__(self) -> str:
        return f"runs in {self.namespace}"


@dataclass(frozen=True, kw_only=True)
class SetEntry:
    """One version of a set; `spec` is None where it can't be used, see `problems`."""

    key: SetKey
    meta: SetMeta
    spec: SetSpec | None
    problems: str
    body: Body

    @property
    def spec_id(self) -> tuple[str, int]:
        """Names the spec, also of a set that was deleted and made again."""
        return self.meta.uid, self.meta.generation

    @cached_property
    def status(self) -> SetStatus:
        """What earlier reconciles reported. See `state.reported` for what may be read from it."""
        return parse_status(self.body)

    @cached_property
    def pool_refs(self) -> tuple[WorkPoolRef, ...]:
        """The pools that the set names.

        Read leniently where the spec can't be used: a mistake in a requirement
        must not take a set that is in service out of its pools.
        """
        if self.spec:
            return self.spec.work_pools
        spec = self.body.get("spec")
        refs = spec.get("workPools") if isinstance(spec, dict) else None
        return tuple(
            WorkPoolRef(ref["name"], key or self.key.name, ref.get("default") is True)
            for ref in (refs if isinstance(refs, list) else ())
            if isinstance(ref, dict)
            and isinstance(ref.get("name"), str)
            and isinstance(key := ref.get("key", ""), str)
        )


@dataclass(frozen=True, kw_only=True)
class ConfigMapView:
    """One of our ConfigMaps as last seen, without the lock itself.

    `intact`: our files are what we wrote, by the hash in an annotation; files that
    others add beside them are theirs.
    `labels`, `annotations`: those that we write. `owners`: the uids of the sets among them.
    `manifest`: the fields of lock.json that we write, and whether there is anything else; empty
    where it can't be parsed.
    `directory`: that of its environment on a claim, where runs are told of one.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owners: tuple[str, ...]
    immutable: bool
    intact: bool
    manifest: Mapping[str, Any]
    directory: str = ""

    @property
    def holder(self) -> SetKey:
        """The set that this ConfigMap was written for."""
        return SetKey(self.labels.get(NAMESPACE_LABEL, ""), self.labels.get(SET_LABEL, ""))

    @property
    def key(self) -> str:
        """The key in its name, whichever pool's, without the revision."""
        return choice_of(self.name).removesuffix(f"-{self.labels.get(REVISION_LABEL, '')}")


@dataclass(frozen=True, kw_only=True)
class PoolView:
    """Where a pool's jobs run, and in which image, when it was last read; nowhere and in none
    where there is no such pool."""

    name: str
    job_namespaces: tuple[str, ...]
    image: str | None = None
    pull_policy: str | None = None
    user: tuple[int | None, int | None] = (None, None)
    pull_secrets: tuple[str, ...] = ()
    """Those of its runs."""
    by_worker: bool = False
    """Whether the image is the worker's choice, as runs name none."""


@dataclass
class Store:
    """Sets, ConfigMaps and pools by name, with the look-ups that reconciles need.

    `version` grows with each change that may decide which set has which location.
    """

    sets: dict[SetKey, SetEntry] = field(default_factory=dict)
    config_maps: dict[tuple[str, str], ConfigMapView] = field(default_factory=dict)
    pools: dict[str, PoolView] = field(default_factory=dict)
    ranks: Ranks = field(default_factory=Ranks)
    version: int = 0
    _by_key: dict[str, set[SetKey]] = field(default_factory=lambda: defaultdict(set))
    _by_pool: dict[str, set[SetKey]] = field(default_factory=lambda: defaultdict(set))
    _by_included: dict[SetKey, set[SetKey]] = field(default_factory=lambda: defaultdict(set))
    _by_holder: dict[SetKey, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    _by_namespace: dict[str, dict[SetKey, int]] = field(default_factory=lambda: defaultdict(dict))
    _fresh: set[SetKey | tuple[str, str]] = field(default_factory=set)
    _gone: set[str] = field(default_factory=set)  # uids of sets

    # Sets

    def put_set(self, body: Body) -> SetKey | None:
        """Keep a set as it is now; None where what we have is as new, or the set is gone."""
        body = essentials(body)
        meta = parse_meta(body)
        key = SetKey(meta.namespace, meta.name)
        if meta.uid in self._gone:
            return None
        known = self.sets.get(key)
        if known and not _newer(meta.resource_version, known.meta.resource_version):
            return None
        spec, problems = _spec_of(body, known)
        entry = SetEntry(key=key, meta=meta, spec=spec, problems=problems, body=body)
        for look_up in self._look_ups(known):
            look_up.discard(key)
        for look_up in self._look_ups(entry):
            look_up.add(key)
        if known:
            self.ranks.discard(known.meta)
        self.ranks.add(meta)
        self.sets[key] = entry
        self._fresh.add(key)
        if known is None or _claims_of(known) != _claims_of(entry):
            self.version += 1
        return key

    def remove_set(self, key: SetKey) -> SetEntry | None:
        """Remove a set; returns what was known of it."""
        entry = self.sets.pop(key, None)
        for look_up in self._look_ups(entry):
            look_up.discard(key)
        if entry:
            self.ranks.discard(entry.meta)
            self._gone.add(entry.meta.uid)
            self.version += 1
        return entry

    def rivals(self, key: str) -> set[SetKey]:
        """Return the sets that want to publish under `key`, wherever."""
        return self._by_key.get(key, set())

    def offering(self, pool: str) -> set[SetKey]:
        """Return the sets whose spec names `pool`."""
        return self._by_pool.get(pool, set())

    def named_pools(self) -> set[str]:
        """Return the names of all pools that a set names, whether they exist or not."""
        return {name for name, keys in self._by_pool.items() if keys}

    def includers(self, key: SetKey) -> set[SetKey]:
        """Return the sets that include a set, directly or through others."""
        found: set[SetKey] = set()
        waiting = [key]
        while waiting:
            direct = self._by_included.get(waiting.pop(), set()) - found
            found |= direct
            waiting += direct
        return found - {key}

    def _look_ups(self, entry: SetEntry | None) -> Iterator[set[SetKey]]:
        """The look-ups that a set is in."""
        if entry is None:
            return
        for name in (entry.key.name, *(ref.key for ref in entry.pool_refs)):
            yield self._by_key[name]
        for ref in entry.pool_refs:
            yield self._by_pool[ref.name]
        for name in entry.spec.includes if entry.spec else ():
            yield self._by_included[SetKey(entry.key.namespace, name)]

    # Pools

    def put_pool(self, view: PoolView) -> bool:
        """Keep what a pool is like now; returns whether that is news."""
        news = self.pools.get(view.name) != view
        self.pools[view.name] = view
        self.version += news
        return news

    # ConfigMaps

    def put_config_map(self, body: Body) -> ConfigMapView | None:
        """Keep one of our ConfigMaps; None where what we have is as new, or it isn't ours."""
        return self._put_view(view_config_map(body))

    def _put_view(self, view: ConfigMapView) -> ConfigMapView | None:
        if not is_managed(view.labels) or SET_LABEL not in view.labels:
            return None  # what is held without a set is deleted: be sure
        where = (view.namespace, view.name)
        known = self.config_maps.get(where)
        if known and not _newer(view.resource_version, known.resource_version):
            return None
        if known:
            self._leave(known)
        self.config_maps[where] = view
        self._fresh.add(where)
        self._by_holder[view.holder].add(where)
        there = self._by_namespace[view.namespace]
        there[view.holder] = there.get(view.holder, 0) + 1
        if known is None or known.holder != view.holder:
            self._holders_changed(view, known)
        return view

    def remove_config_map(self, namespace: str, name: str, uid: str) -> ConfigMapView | None:
        """Remove a ConfigMap; None where another of its name is known by now, or none."""
        where = (namespace, name)
        view = self.config_maps.get(where)
        if view is None or view.uid != uid:
            return None
        del self.config_maps[where]
        self._fresh.add(where)
        self._leave(view)
        self._holders_changed(view)
        return view

    def _leave(self, view: ConfigMapView) -> None:
        """Take a ConfigMap out of the look-ups."""
        self._by_holder[view.holder].discard((view.namespace, view.name))
        there = self._by_namespace[view.namespace]
        there[view.holder] -= 1
        if not there[view.holder]:
            del there[view.holder]

    def _holders_changed(self, *views: ConfigMapView | None) -> None:
        for view in filter(None, views):
            # What a set has decides nothing where all of its pools are known and nobody else wants
            # the key.
            entry = self.sets.get(view.holder)
            known = entry and entry.spec and all(r.name in self.pools for r in entry.pool_refs)
            if not known or self.rivals(view.key) - {view.holder}:
                self.version += 1

    def held(self, key: SetKey) -> list[ConfigMapView]:
        """Return the ConfigMaps written for a set, wherever they are, by name."""
        return [self.config_maps[where] for where in sorted(self._by_holder.get(key, ()))]

    def holders_in(self, namespace: str) -> list[SetKey]:
        """Return the sets that have ConfigMaps in a namespace, in order."""
        return sorted(self._by_namespace.get(namespace, ()))

    # Everything at once

    def begin_list(self) -> None:
        """Mark that full lists are about to be asked for: what comes from now on is newer."""
        self._fresh.clear()

    def replace(self, *, sets: Iterable[Body], config_maps: Iterable[ConfigMapView]) -> set[SetKey]:
        """Replace everything by full lists, but for what came since `begin_list`.

        Returns the sets that have changed, or one of whose ConfigMaps has.
        """
        fresh, self._fresh = self._fresh, set()
        changed: set[SetKey] = set()
        seen_sets: set[SetKey] = set()
        for body in sets:
            meta = body["metadata"]
            seen_sets.add(SetKey(meta["namespace"], meta["name"]))
            if key := self.put_set(body):
                changed.add(key)
        seen_maps: set[tuple[str, str]] = set()
        for view in config_maps:
            where = (view.namespace, view.name)
            seen_maps.add(where)
            if where in fresh and where not in self.config_maps:
                continue  # deleted since
            known = self.config_maps.get(where)
            if self._put_view(view):
                changed |= {one.holder for one in (known, view) if one}
        for where in self.config_maps.keys() - seen_maps - fresh:
            view = self.config_maps[where]
            self.remove_config_map(*where, view.uid)
            changed.add(view.holder)
        for key in self.sets.keys() - seen_sets - fresh:
            self.remove_set(key)
            changed.add(key)
        self._gone.clear()
        return changed


def view_config_map(body: Body) -> ConfigMapView:
    """Return a view of a ConfigMap."""
    meta = body["metadata"]
    data = {name: text for name, text in (body.get("data") or {}).items() if name in _FILES}
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    owners = (one["uid"] for one in meta.get("ownerReferences") or () if one.get("kind") == KIND)
    return ConfigMapView(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        labels={name: labels[name] for name in LOCK_LABELS if name in labels},
        annotations={
            name: annotations[name]
            for name in LOCK_ANNOTATIONS
            if name in annotations and len(annotations[name]) <= _longest(name)
        },
        owners=tuple(uid[:_UID_LENGTH] for uid in islice(owners, _MOST_OWNERS)),
        immutable=bool(body.get("immutable")),
        intact=annotations.get(CONTENT_ANNOTATION) == content_hash(data),
        manifest=known_manifest(data.get(MANIFEST_FILE, "")),
        directory=known_directory(data.get(ENVIRONMENT_FILE, "")),
    )


def _longest(annotation: str) -> int:
    return _ENVIRONMENT_LENGTH if annotation == ENVIRONMENT_ANNOTATION else _ANNOTATION_LENGTH


def content_hash(data: Mapping[str, str]) -> str:
    """Return a hash of a ConfigMap's data, which shows whether it is what we wrote."""
    return hashlib.sha256(json.dumps(dict(data), sort_keys=True).encode()).hexdigest()


def _spec_of(body: Body, known: SetEntry | None) -> tuple[SetSpec | None, str]:
    """The spec of a body, and what is wrong with it; parsed only where it is another than known."""
    if known and known.body.get("spec") == body.get("spec"):
        return known.spec, known.problems
    try:
        return parse_spec(body), ""
    except InvalidError as error:
        return None, "; ".join(f"{p.path}: {p.message}" for p in error.problems)


def _claims_of(entry: SetEntry) -> tuple[object, ...]:
    """All of a set that decides which locations it has."""
    meta = entry.meta
    return meta.uid, meta.created_at, meta.deleting, entry.spec is None, entry.pool_refs


def _newer(version: str, known: str) -> bool:
    try:
        return int(version) > int(known)
    except ValueError:
        return version != known
