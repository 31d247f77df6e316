"""A resource in the cluster that is older than the operator: it declares fewer fields of a status,
and the API server refuses a status with more."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flowdeps.clients.kubernetes.errors import ClusterError

Field = tuple[str, ...]

_UNDECLARED = re.compile(r"\.status((?:\.\w+|\[[^\]]*\])+): field not declared in schema")


def undeclared(error: ClusterError) -> Field | None:
    """Return the names that lead to a field that the API server does not know, from the status on,
    such as ``("lock", "servedSince")``; None where it is not that."""
    found = _UNDECLARED.search(str(error))
    return tuple(re.findall(r"\.(\w+)", found[1])) if found else None


def without(status: Any, fields: Iterable[Field]) -> Any:
    """Return a status without some fields; in a list, each item is without them."""
    for field in fields:
        status = _without(status, field)
    return status


def _without(value: Any, field: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [_without(one, field) for one in value]
    if not isinstance(value, Mapping):
        return value
    name, *below = field
    if not below:
        return {one: content for one, content in value.items() if one != name}
    return {k: _without(one, below) if k == name else one for k, one in value.items()}
