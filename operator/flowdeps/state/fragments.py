"""What a pool's base job template should carry for the sets that it offers.

Each write of a template carries all of it, and a server or a proxy before it may refuse one of more
than 1 MiB: descriptions of sets are bounded, so that a thousand of them fit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flowdeps.api.names import REVISION_LABEL
from flowdeps.api.poolconfig import PoolConfig
from flowdeps.api.spec import SetSpec, WorkPoolRef
from flowdeps.api.wording import listed, shorten
from flowdeps.delivery.kinds.kind import Fragment
from flowdeps.delivery.methods.install import Install
from flowdeps.locks.index import Index
from flowdeps.state.store import ConfigMapView, SetEntry

_SHOWN = 6
_LONGEST = 200
_MOST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Signature:
    """All of a set that the templates of its pools depend on."""

    pool_refs: tuple[WorkPoolRef, ...]
    requirements: tuple[str, ...]
    """What the set asks for, which the template describes."""
    published: frozenset[tuple[str, str]]
    """The live ConfigMaps of its lock, by namespace and name."""


def signature_of(entry: SetEntry, views: Sequence[ConfigMapView]) -> Signature:
    """Return the signature of a set with these ConfigMaps."""
    return Signature(
        pool_refs=entry.pool_refs,
        requirements=_requirements(entry.spec) if entry.spec else (),
        # A revision more or less is nothing to a template.
        published=frozenset(
            (view.namespace, view.name) for view in views if REVISION_LABEL not in view.labels
        ),
    )


def pool_fragment(
    offered: Mapping[str, SetEntry],
    *,
    settings: PoolConfig,
    default: str,
    index: Index,
    owner: str,
    cluster: str,
    version: str,
) -> Fragment:
    """Return what a pool's template should carry: `offered` has the set of each key, `index` is
    where extras of a run without a set come from."""
    install = settings.install
    context = {"security_context": install.security_context} if install.security_context else {}
    return Fragment(
        owner=owner,
        cluster=cluster,
        version=version,
        variable=settings.variable,
        keys=tuple(sorted(offered)),
        default=default,
        descriptions=_descriptions(offered),
        default_image=settings.image,
        extras=settings.extra_packages,
        method=Install(
            resources=install.resources or None,
            env=tuple({"name": one.name, "value": one.value} for one in install.env),
            index_urls=index.urls,
            **context,
        ),
    )


def _descriptions(offered: Mapping[str, SetEntry]) -> dict[str, str]:
    """A description of each set, by its key, as far as there is room."""
    found: dict[str, str] = {}
    room = _MOST_BYTES
    for key, entry in sorted(offered.items()):
        text = _describe(entry)
        room -= len(f"{key}: {text}\n".encode())
        if room < 0:
            break
        found[key] = text
    return found


def _requirements(spec: SetSpec) -> tuple[str, ...]:
    """What a set asks for, in words where it says so elsewhere."""
    sources = (*spec.requirements_from, *((spec.lock_from,) if spec.lock_from else ()))
    named = tuple(f"what {source.name} lists" for source in sources)
    return (*spec.requirements, *named, *(f"all of {name}" for name in spec.includes))


def _describe(entry: SetEntry) -> str:
    requirements = _requirements(entry.spec) if entry.spec else ()
    return shorten(f"{entry.key}: {listed(requirements, most=_SHOWN)}", _LONGEST)
