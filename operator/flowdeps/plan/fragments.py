"""What a pool's base job template should carry for the sets that it offers."""

from collections.abc import Mapping
from dataclasses import replace

from flowdeps.api.poolconfig import PoolConfig
from flowdeps.store import SetEntry
from flowdeps.templates import Fragment

_SHOWN = 6


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
