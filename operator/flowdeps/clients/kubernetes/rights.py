"""What the operator's account must be allowed to do, as data: docs/rbac.yaml grants just this.

`needed` lists it for a configuration, so that `flowdeps check` can ask for each right beforehand.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from flowdeps.api.config import Config
from flowdeps.api.names import ENVIRONMENTS_PLURAL, GROUP, PLURAL

Rules = tuple[tuple[str, str, str], ...]

LOCKS: Rules = (
    ("", "configmaps", "get list watch create patch delete"),
    ("", "secrets", "get create patch delete"),
    (GROUP, ENVIRONMENTS_PLURAL, "get list watch create patch delete"),
)
"""In the namespaces of sets, and of jobs: API group, resource, verbs."""

SETS: Rules = (
    (GROUP, PLURAL, "get list watch patch"),
    (GROUP, f"{PLURAL}/status", "patch"),
    ("", "pods", "get list create delete"),
    ("", "pods/log", "get"),
    ("events.k8s.io", "events", "create"),
    *LOCKS,
)
"""In the namespaces of sets."""

JOBS: Rules = (*LOCKS, ("", "pods", "list"))
"""In the namespaces of jobs."""

CLAIMS: Rules = (("", "pods", "get create delete"), ("", "pods/log", "get"))
"""There, where a pool has a claim on which environments are put."""

CLUSTER: Rules = (("apiextensions.k8s.io", "customresourcedefinitions", "list watch"),)
"""Beside SETS everywhere, where all namespaces are watched."""

POLICIES: Rules = tuple(
    ("admissionregistration.k8s.io", kind, "get")
    for kind in ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings")
)
"""On the policy that gives runs their environments, by its name."""

NODES: Rules = (("", "nodes", "list"),)
"""In the whole cluster, where there is such a policy."""

RUNS: Rules = (("", "events", "list watch"),)
"""In the namespaces of runs, where there is such a policy."""

CACHES: Rules = (("", "namespaces", "get"), ("", "persistentvolumeclaims", "get"))
"""In the namespaces of runs, where runs of a pool have a cache."""

LEASE: Rules = (("coordination.k8s.io", "leases", "create get update"),)
"""In the namespace of the Lease."""


@dataclass(frozen=True, kw_only=True)
class Right:
    """A verb on a resource, or on a subresource such as `pods/log`; `namespace` empty: in all."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str = ""

    def __str__(self) -> str:
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        where = f"in namespace {self.namespace}" if self.namespace else "in the whole cluster"
        return f"{self.verb} {kind} {where}"


IDENTITY = Right(verb="get", group="", resource="namespaces", namespace="", name="kube-system")
"""To tell this cluster from others that share a Prefect; where all namespaces are watched."""


def needed(config: Config) -> list[Right]:
    """What an operator with this configuration needs, where it needs it."""
    policy = config.environments.policy
    caches = any(pool.delivery == "Cache" for pool in config.work_pools)
    runs = (*(RUNS if policy else ()), *(CACHES if caches else ()))
    if watched := config.watch_namespaces:
        jobs = {n for pool in config.work_pools for n in pool.job_namespaces}
        found = [right for one in watched for right in _rights((*SETS, *runs), one)]
        only = sorted(jobs - {*watched})
        claims = CLAIMS if any(pool.claim for pool in config.work_pools) else ()
        found += [right for one in only for right in _rights((*JOBS, *claims, *runs), one)]
    else:
        found = [*_rights((*SETS, *runs, *CLUSTER), ""), IDENTITY]
    if policy:
        found += [*_rights(POLICIES, "", policy), *_rights(NODES, "")]
    if config.election.enabled:
        for right in _rights(LEASE, config.election.namespace, config.election.name):
            # Who may create one is never asked for its name.
            found.append(replace(right, name="") if right.verb == "create" else right)
    return found


def _rights(rules: Rules, namespace: str, name: str = "") -> Iterator[Right]:
    for group, resource, verbs in rules:
        for verb in verbs.split():
            yield Right(verb=verb, group=group, resource=resource, namespace=namespace, name=name)
