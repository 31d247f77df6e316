"""Reads the sources that sets refer to, for the operator.

Each is read by its name, never listed or watched, so the operator's role needs no more than `get`,
and is read again every half minute.
"""

from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.prefect.client import Pools
from flowdeps.gather.credentials import secret_data
from flowdeps.gather.sources import (
    Absent,
    ConfigMapKey,
    Content,
    PrefectVariable,
    Present,
    SecretName,
    SourceRef,
    key_content,
)

_REREAD = 30.0
_REREAD_ABSENT = 10.0
"""Seconds until a source is read again: one that is there, and one that is not."""


class SourceReader:
    """Reads sources from a cluster and from Prefect."""

    def __init__(self, cluster: Cluster, pools: Pools) -> None:
        self._cluster = cluster
        self._pools = pools

    async def read(self, ref: SourceRef, _known: Content | None) -> tuple[Content, float]:
        """Return what a source holds now, and in how many seconds to read it again."""
        content = await self._content(ref)
        return content, _REREAD_ABSENT if isinstance(content, Absent) else _REREAD

    async def _content(self, ref: SourceRef) -> Content:
        match ref:
            case ConfigMapKey(namespace, name):
                body = await self._cluster.get_config_map(namespace, name)
                if body is None:
                    return Absent(f"there is no ConfigMap {namespace}/{name}; create it")
                return key_content(ref, body)
            case SecretName(namespace, name):
                if body := await self._cluster.get_secret(namespace, name):
                    return Present(secret_data(body))
            case PrefectVariable(name):
                if found := await self._pools.variable(name):
                    return Present(found.value)
        return Absent(f"there is no {ref}; create it")
