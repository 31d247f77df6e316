"""What a pool's base job template should carry for its sets, and whether what it has is ours.

Each write of a template carries all of it, and a server or a proxy before it may refuse one of more
than 1 MiB: descriptions of sets are bounded, so that a thousand of them fit, and so are the keys.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flowdeps.api.names import REVISION_LABEL
from flowdeps.api.poolconfig import PoolConfig
from flowdeps.api.spec import WorkPoolRef
from flowdeps.api.wording import listed, shorten
from flowdeps.delivery.choice import LiveFragment
from flowdeps.delivery.kinds.kind import Fragment
from flowdeps.delivery.methods.cache import Cache
from flowdeps.delivery.methods.install import Install
from flowdeps.delivery.methods.method import Method
from flowdeps.delivery.methods.volume import Volume
from flowdeps.locks.index import Index
from flowdeps.state.locations import age
from flowdeps.state.store import ConfigMapView, SetEntry

_SHOWN = 6
_LONGEST = 200
_MOST_BYTES = 64 * 1024
_MOST_KEY_BYTES = 256 * 1024
"""Of the keys, as JSON; a template has them twice."""


@dataclass(frozen=True)
class Signature:
    """All of a set that the templates of its pools are made from."""

    pool_refs: tuple[WorkPoolRef, ...]
    age: tuple[datetime, str, str]
    description: str
    """Whose it is, and what it asks for."""
    published: frozenset[tuple[str, str, bool]]
    """The live ConfigMaps of its lock, by namespace and name, and whether its environment is on a
    claim there."""


def signature_of(entry: SetEntry, views: Sequence[ConfigMapView] = ()) -> Signature:
    """Return the signature of a set with these ConfigMaps."""
    requirements: tuple[str, ...] = ()
    if spec := entry.spec:
        sources = (*spec.requirements_from, *((spec.lock_from,) if spec.lock_from else ()))
        named = (f"what {source.name} lists" for source in sources)
        requirements = (*spec.requirements, *named, *(f"all of {one}" for one in spec.includes))
    return Signature(
        pool_refs=entry.pool_refs,
        age=age(entry.meta),
        description=shorten(f"{entry.key}: {listed(requirements, most=_SHOWN)}", _LONGEST),
        # A revision more or less is nothing to a template.
        published=frozenset(
            (view.namespace, view.name, bool(view.directory))
            for view in views
            if REVISION_LABEL not in view.labels
        ),
    )


def keys_beyond(keys: Collection[str], *, kept: Collection[str]) -> list[str]:
    """Return the keys for which a template has no room: the last ones, but for those in `kept`."""
    room, beyond = _MOST_KEY_BYTES, []
    for key in sorted(keys, key=lambda key: key not in kept):
        room -= len(json.dumps([key]).encode())
        if room < 0:
            beyond.append(key)
    return beyond


def pool_fragment(
    offered: Mapping[str, Signature],
    *,
    pool: str,
    settings: PoolConfig,
    default: str,
    index: Index,
    owner: str,
    cluster: str,
    version: str,
    worker_image: str | None = None,
    claim: str = "",
) -> Fragment:
    """Return what a pool's template should carry: `offered` has a set's signature for each key.

    It gets no more of a set, so that a set whose part in a template changes has another signature,
    by which its pools are requeued. `index` is where extras of a run without a set come from;
    `worker_image` is what a worker takes where neither template nor configuration name an image.
    `claim` has the environments that runs mount; empty: they install.
    """
    descriptions: dict[str, str] = {}
    room = _MOST_BYTES
    for key, one in sorted(offered.items()):
        room -= len(f"{key}: {one.description}\n".encode())
        if room < 0:
            break
        descriptions[key] = one.description
    return Fragment(
        owner=owner,
        cluster=cluster,
        version=version,
        pool=pool,
        variable=settings.variable,
        keys=tuple(sorted(offered)),
        default=default,
        descriptions=descriptions,
        default_image=settings.image or worker_image,
        extras=settings.extra_packages and not claim,  # nothing would install them
        method=_method(settings, index, claim=claim),
    )


def _method(settings: PoolConfig, index: Index, *, claim: str) -> Method:
    if claim:
        return Volume(claim=claim)
    install, cache = settings.install, settings.cache
    context = {"security_context": install.security_context} if install.security_context else {}
    method = Install(
        resources=install.resources or None,
        env=tuple({"name": one.name, "value": one.value} for one in install.env),
        index_urls=index.urls,
        **context,
    )
    if settings.delivery != "Cache":
        return method
    return Cache(
        install=method,
        claim=cache.claim,
        host_path=cache.host_path or "",
        namespace=settings.job_namespaces[0] if cache.host_path else "",
        unused_for=cache.unused_for.total_seconds(),
        most_entries=cache.max_entries,
    )


def is_ours(found: LiveFragment | None, *, owner: str, cluster: str, unnamed: bool) -> bool:
    """Return whether we, of this owner and cluster, may remove a fragment.

    An operator of the same owner in another cluster may have written it, which alone knows its
    sets. An empty `cluster` is not known, and then the owner decides. `unnamed`: whether a
    fragment that names no cluster is ours.
    """
    if found is None or found.owner != owner:
        return False
    if not cluster:
        return True
    return found.cluster == cluster if found.cluster else unnamed
