"""The rights that are asked for are those that are documented."""

from pathlib import Path

import pytest
import yaml

from flowdeps.api.config import Config
from flowdeps.api.environmentconfig import EnvironmentsConfig
from flowdeps.api.poolconfig import PoolConfig
from flowdeps.clients.kubernetes.rights import (
    CACHES,
    CLUSTER,
    IDENTITY,
    LEASE,
    NODES,
    POLICIES,
    RUNS,
    SETS,
    needed,
)

_MANIFEST = Path(__file__).parents[3] / "docs" / "rbac.yaml"
_EVERYWHERE = "in the whole cluster"


def test_the_documented_roles_grant_what_is_asked_for_and_no_more() -> None:
    """docs/rbac.yaml has each verb on each resource of the code's tables, and none beside."""
    documents = yaml.safe_load_all(_MANIFEST.read_text())
    roles = [one for one in documents if one["kind"] in {"ClusterRole", "Role"}]
    rules = [rule for one in roles for rule in one["rules"]]
    granted = {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == {
        (group, resource, verb)
        for rules in (SETS, CLUSTER, LEASE, POLICIES, NODES, RUNS, CACHES)
        for group, resource, verbs in rules
        for verb in verbs.split()
    } | {(IDENTITY.group, IDENTITY.resource, IDENTITY.verb)}
    [named] = [rule for rule in rules if rule["resources"] == [IDENTITY.resource]]
    assert named["resourceNames"] == [IDENTITY.name]


@pytest.mark.parametrize("watched", [(), ("team-a",)])
def test_what_environments_need_is_asked_for_where_a_policy_gives_them(
    watched: tuple[str, ...],
) -> None:
    """The policy by its name, the nodes, and events where runs are; without a policy no run gets an
    environment, and nothing of that is needed."""
    pools = (PoolConfig(name="a", job_namespaces=("jobs", "team-a")),) if watched else ()

    def rights(policy: str) -> set[str]:
        given = EnvironmentsConfig(repository="registry.example.com/envs", policy=policy)
        config = Config(watch_namespaces=watched, work_pools=pools, environments=given)
        return {f"{one} {one.name}".strip() for one in needed(config)}

    group = "admissionregistration.k8s.io in the whole cluster env"
    where = [f"in namespace {one}" for one in ("team-a", "jobs")] if watched else [_EVERYWHERE]
    assert rights("env") - rights("") == {
        f"get mutatingadmissionpolicies.{group}",
        f"get mutatingadmissionpolicybindings.{group}",
        f"list nodes {_EVERYWHERE}",
        *(f"{verb} events {one}" for verb in ("list", "watch") for one in where),
    }
    assert rights("") <= rights("env")


def test_a_claim_needs_pods_where_runs_are() -> None:
    """Those that put environments on it, in the namespaces of jobs that are no sets' as well."""

    def rights(claim: str) -> set[str]:
        pools = (PoolConfig(name="a", job_namespaces=("jobs",), claim=claim),)
        config = Config(watch_namespaces=("team-a",), work_pools=pools)
        return set(map(str, needed(config)))

    assert rights("environments") - rights("") == {
        *(f"{verb} pods in namespace jobs" for verb in ("get", "create", "delete")),
        "get pods/log in namespace jobs",
    }


@pytest.mark.parametrize("watched", [(), ("team-a",)])
def test_what_caches_need_is_asked_for_where_runs_have_one(watched: tuple[str, ...]) -> None:
    """Whether runs can mount it, in the namespaces where they may be."""

    def rights(delivery: str) -> set[str]:
        pool = PoolConfig(name="a", job_namespaces=("jobs",), delivery=delivery)
        return set(map(str, needed(Config(watch_namespaces=watched, work_pools=(pool,)))))

    where = [f"in namespace {one}" for one in ("team-a", "jobs")] if watched else [_EVERYWHERE]
    claims = {f"get persistentvolumeclaims {one}" for one in where}
    assert rights("Cache") - rights("Install") >= claims
    assert {f"get namespaces {one}" for one in where} <= rights("Cache")
    assert not claims & rights("Install")
