"""What trials of an operator that was killed have left, and facts of images that no set has."""

from collections.abc import Collection, Iterable, Sequence

from flowdeps.api.names import OURS, PURPOSE_LABEL
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.trials.image import ImageRef


async def sweep(
    cluster: Cluster,
    *,
    namespaces: Sequence[str],
    running: Collection[tuple[str, str]],
    images: Iterable[ImageRef],
) -> None:
    """Delete pods and locks of trials that are not `running`, and facts of other than `images`.

    Raises ClusterError.
    """
    pods = await cluster.list_pods(
        namespaces=namespaces, selector=f"{OURS},{PURPOSE_LABEL} in (probe, verify)"
    )
    config_maps = cluster.each_config_map(
        namespaces=namespaces, selector=f"{OURS},{PURPOSE_LABEL} in (probe, verify, image)"
    )
    metas = [body["metadata"] async for body in config_maps]
    used = {*running, *((ref.namespace, ref.facts_name) for ref in images)}
    for delete, found in (
        (cluster.delete_pod, [body["metadata"] for body in pods]),
        (cluster.delete_config_map, metas),
    ):
        for meta in found:
            where = (meta["namespace"], meta["name"])
            if where not in used:
                await delete(namespace=where[0], name=where[1], uid=meta["uid"])
