"""Reads the sources that sets refer to, for the operator.

Each is read by its name, never listed or watched, so the operator's role needs no more than `get`,
and is read again every half minute. A text that has changed is parsed here, beside the event loop,
and never again.
"""

from dataclasses import dataclass

from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.prefect.client import Pools
from flowdeps.gather import sources
from flowdeps.gather.credentials import secret_data
from flowdeps.scheduling.off_loop import off_loop

_REREAD = 30.0
_REREAD_ABSENT = 10.0
"""Seconds until a source is read again: one that is there, and one that is not."""


@dataclass(frozen=True)
class SourceReader:
    """Reads sources from a cluster and from Prefect."""

    cluster: Cluster
    pools: Pools

    async def read(
        self, ref: sources.SourceRef, known: sources.Content | None
    ) -> tuple[sources.Content, float]:
        """Return what a source holds now, and in how many seconds to read it again."""
        found: sources.Content = sources.Absent(f"there is no {ref}; create it")
        match ref:
            case sources.ConfigMapKey(namespace, name):
                body = await self.cluster.get_config_map(namespace, name)
                found = sources.Absent(f"there is no ConfigMap {namespace}/{name}; create it")
                if body is not None:
                    found = await off_loop(sources.key_content, ref, body, known)
            case sources.SecretName(namespace, name):
                if secret := await self.cluster.get_secret(namespace, name):
                    found = sources.Present(secret_data(secret))
            case sources.PrefectVariable(name):
                if variable := await self.pools.variable(name):
                    found = await off_loop(sources.variable_content, variable.value, known)
        return found, _REREAD_ABSENT if isinstance(found, sources.Absent) else _REREAD
