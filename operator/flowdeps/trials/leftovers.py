"""What trials of an operator that was killed have left, and facts of images that no set has."""

from collections.abc import Collection, Iterable, Sequence

from flowdeps.api.resource import MANAGED_BY, MANAGED_BY_LABEL
from flowdeps.cluster import Cluster
from flowdeps.trials.images import PURPOSE_LABEL, ImageRef


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
    ours = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
    trials, facts = (f"{ours},{PURPOSE_LABEL} in ({p})" for p in ("probe, verify", "image"))
    known = {(ref.namespace, ref.facts_name) for ref in images}
    pods = await cluster.list_pods(namespaces=namespaces, selector=trials)
    locks = await cluster.list_config_maps(namespaces=namespaces, selector=trials)
    kept = await cluster.list_config_maps(namespaces=namespaces, selector=facts)
    for delete, bodies, used in (
        (cluster.delete_pod, pods, running),
        (cluster.delete_config_map, locks, running),
        (cluster.delete_config_map, kept, known),
    ):
        for meta in (body["metadata"] for body in bodies):
            where = (meta["namespace"], meta["name"])
            if where not in used:
                await delete(namespace=where[0], name=where[1], uid=meta["uid"])
