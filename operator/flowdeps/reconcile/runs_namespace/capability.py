"""Finds out now and then whether the cluster gives runs their environments: the policy in the API
server, and the container runtime of the nodes."""

import logging
import re

from flowdeps.api.config import Config
from flowdeps.api.environmentconfig import EnvironmentsConfig
from flowdeps.api.names import ENVIRONMENTS_PLURAL
from flowdeps.api.wording import listed
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError

log = logging.getLogger(__name__)

_LEAST = {"containerd": (2, 1), "cri-o": (1, 31)}
_RUNTIME = re.compile(r"([a-z-]+)://v?(\d+)\.(\d+)")
_SHOWN = 3


async def admission_problem(cluster: Cluster, settings: EnvironmentsConfig) -> str:
    """Return why no policy gives runs their environments; empty where one does.

    Raises ClusterError where the API server does not say.
    """
    name = settings.policy
    if settings.admission == "Disabled":
        return "environments.admission is Disabled: nothing gives runs their environments"
    if not name:
        return (
            "environments.policy names no admission policy: upgrade the release, if the API server"
            " has such policies (Kubernetes 1.36), or set environments.admission to Enabled"
        )
    if not await cluster.serves(ENVIRONMENTS_PLURAL):
        return (
            "the cluster does not serve RunEnvironments: install crds/runenvironments.yaml, or the"
            " chart with crds.enabled"
        )
    try:
        if await cluster.has_policy(name):
            return ""
    except ClusterError as error:
        if error.status == 403:
            return (
                f"the operator may not read the MutatingAdmissionPolicy {name} or its binding:"
                f" grant it get on both ({error})"
            )
        if error.status == 404:
            return (
                "the API server has no MutatingAdmissionPolicy (v1): it needs Kubernetes 1.36, or"
                " its feature switched on"
            )
        raise
    return (
        f"there is no MutatingAdmissionPolicy {name}, or no binding of that name: upgrade the"
        " release, which makes both"
    )


async def nodes_problem(cluster: Cluster) -> str:
    """Return which nodes can't mount an environment; empty where all can or nobody may tell.

    Raises ClusterError where the API server does not say.
    """
    found, total = [], 0
    try:
        async for node in cluster.each_node():
            if node.takes_pods and not _mounts_images(node.runtime):
                total += 1
                found += [f"{node.name} ({node.runtime or 'unknown'})"] if total <= _SHOWN else []
    except ClusterError as error:
        if error.status != 403:
            raise
        log.info("nodes are not known, so a pod has to tell whether they mount images: %s", error)
        return ""
    if not found:
        return ""
    return (
        f"nodes can't mount images: {listed(found, most=_SHOWN, total=total)}; they need containerd"
        " 2.1 or CRI-O 1.31, or a pool whose runs go to others needs delivery: Image"
    )


def looks(config: Config) -> bool:
    """Return whether there is anything to find out."""
    return bool(config.environments.repository)


def _mounts_images(runtime: str) -> bool:
    found = _RUNTIME.match(runtime)
    if found is None:
        return False
    return (int(found[2]), int(found[3])) >= _LEAST.get(found[1], (10**9, 0))
