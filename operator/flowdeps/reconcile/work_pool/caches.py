"""Finds out whether the runs of a pool can mount its cache: a pod that can't would never start."""

from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.reconcile.context import Context

_ALLOWED = ("", "privileged")
_LABEL = "pod-security.kubernetes.io/enforce"


async def cache_problem(context: Context, name: str) -> str:
    """Return why a pool's runs can't mount its cache, and what to do; empty where they can.

    Where the operator may not read claims, they are believed to be there. Raises ClusterError where
    the API server does not say.
    """
    settings = context.config.pool(name)
    if settings.delivery != "Cache":
        return ""
    for namespace in context.store.pools[name].job_namespaces:
        claim = settings.cache.claim
        found = (
            await _claim(context, namespace, claim) if claim else await _host(context, namespace)
        )
        if found:
            return found
    return ""


async def _claim(context: Context, namespace: str, claim: str) -> str:
    try:
        if await context.cluster.has_claim(namespace, claim):
            return ""
    except ClusterError as error:
        if error.status == 403:
            return ""
        raise
    return (
        f"runs in namespace {namespace} can't mount the cache: there is no PersistentVolumeClaim"
        f" {claim} (workPools[].cache.claimName); create it, or set another delivery"
    )


async def _host(context: Context, namespace: str) -> str:
    try:
        labels = await context.cluster.namespace_labels(namespace)
    except ClusterError as error:
        if error.status == 403:
            return (
                f"nobody knows whether runs in namespace {namespace} may mount a directory of their"
                f" node (workPools[].cache.hostPath): grant the operator get on namespaces there"
                f" ({error})"
            )
        raise
    level = labels.get(_LABEL, "")
    if level in _ALLOWED:
        return ""
    return (
        f"runs in namespace {namespace} may mount no directory of their node"
        f" (workPools[].cache.hostPath): the namespace has the label {_LABEL}={level}; name a"
        " PersistentVolumeClaim (workPools[].cache.claimName), or set another delivery"
    )
