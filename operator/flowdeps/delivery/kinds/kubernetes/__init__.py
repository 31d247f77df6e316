"""Work pools of type kubernetes: a run is a Job, whose manifest is in the template.

``merge`` puts a fragment into a template and takes it out, with the other modules as its parts;
``view`` reads what runs get.
"""

from collections.abc import Callable, Sequence

from flowdeps.api.names import mounted_name
from flowdeps.delivery.kinds.kind import Kind
from flowdeps.delivery.kinds.kubernetes.merge import merge, remove
from flowdeps.delivery.kinds.kubernetes.view import view

__all__ = ["KUBERNETES", "merge", "remove", "view"]


def _missing(
    pool: str, key: str, namespaces: Sequence[str], has: Callable[[str, str], bool]
) -> str:
    lacking = [one for one in namespaces if not has(one, mounted_name(key, pool=pool))]
    return "the lock's ConfigMap" if lacking else ""


KUBERNETES = Kind(
    type="kubernetes",
    unlocated="the namespace of the pool's jobs can't be read from its base job template;"
    " name it in workPools[].jobNamespaces of the operator's configuration",
    view=view,
    merge=merge,
    remove=remove,
    missing=_missing,
)
