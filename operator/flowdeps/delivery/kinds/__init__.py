"""Kinds of work pools, a folder each, found by the type that Prefect gives to a pool."""

from typing import Any

from flowdeps.delivery.kinds.kind import Kind, Template
from flowdeps.delivery.kinds.kubernetes import KUBERNETES

_KINDS = (KUBERNETES,)


def for_type(pool_type: str) -> Kind | None:
    """Return the kind of pools of this type; None if such pools cannot offer sets."""
    return next((kind for kind in _KINDS if kind.type == pool_type), None)


def unsupported(pool_type: str) -> str:
    """Say that pools of a type cannot offer sets."""
    types = " and ".join(kind.type for kind in _KINDS)
    return f'the pool\'s type is "{pool_type}"; only {types} pools are supported'


def remove(template: Template) -> dict[str, Any]:
    """Return a template without our fragment, whatever kind of pool it was copied from."""
    without = dict(template)
    for kind in _KINDS:
        without = kind.remove(without)
    return without
