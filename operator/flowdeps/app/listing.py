"""Where our ConfigMaps are, for what lists them: the operator at its start, and the cleanup.

Without watchNamespaces they may be anywhere. With them they are in the watched namespaces and in
those that the configuration names for jobs, and further ones may be known from pools and statuses.
"""

from collections.abc import AsyncIterator, Collection

from flowdeps.api.config import Config
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.kubernetes.transport import Body
from flowdeps.state.store import SELECTOR


def served_namespaces(config: Config) -> frozenset[str]:
    """Return the namespaces that hold our ConfigMaps; empty where any may."""
    jobs = {namespace for pool in config.work_pools for namespace in pool.job_namespaces}
    return frozenset({*config.watch_namespaces, *jobs} if config.watch_namespaces else ())


async def each_lock(
    cluster: Cluster, config: Config, *, elsewhere: Collection[str]
) -> AsyncIterator[Body]:
    """Iterate over the ConfigMaps of all sets; `elsewhere` are namespaces that may hold some, too.

    A template, and so a status, may name any namespace: one that we may not list is left out.
    """
    served = served_namespaces(config)
    async for body in cluster.each_config_map(namespaces=sorted(served), selector=SELECTOR):
        yield body
    for namespace in sorted({*elsewhere} - served) if served else ():
        try:
            async for body in cluster.each_config_map(namespaces=[namespace], selector=SELECTOR):
                yield body
        except ClusterError as error:
            if error.status != 403:
                raise
