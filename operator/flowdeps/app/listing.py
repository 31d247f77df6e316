"""Where our ConfigMaps and RunEnvironments are, for what lists them: the operator, and the cleanup.

Without watchNamespaces they may be anywhere. With them they are in the watched namespaces and in
those that the configuration names for jobs, and further ones may be known from pools and statuses.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from functools import partial

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
    each = partial(cluster.each_config_map, selector=SELECTOR)
    async for body in _each(lambda where: each(namespaces=where), config, elsewhere):
        yield body


async def each_environments(
    cluster: Cluster, config: Config, *, elsewhere: Collection[str]
) -> AsyncIterator[Body]:
    """Iterate over RunEnvironments in the same namespaces; over none where the resource is not
    installed, or, where no environments are made, may not be listed."""
    try:
        async for body in _each(cluster.each_environments, config, elsewhere):
            yield body
    except ClusterError as error:
        if error.status != 404 and (error.status != 403 or config.environments.repository):
            raise


async def _each(
    each: Callable[[Sequence[str]], AsyncIterator[Body]],
    config: Config,
    elsewhere: Collection[str],
) -> AsyncIterator[Body]:
    served = served_namespaces(config)
    async for body in each(sorted(served)):
        yield body
    for namespace in sorted({*elsewhere} - served) if served else ():
        try:
            async for body in each([namespace]):
                yield body
        except ClusterError as error:
            if error.status != 403:
                raise
