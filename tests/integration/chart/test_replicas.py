"""Several operators, and the hook that cleans up: what `helm template` makes of the values."""

from typing import Any

import pytest
import yaml

from flowdeps.api.config import parse_config
from flowdeps.clients.kubernetes.rights import needed as needed_rights
from scripts.chart import ROOT
from tests.integration.chart.helm import (
    Helm,
    Objects,
    case,
    config_of,
    needed,
    of_kind,
    one_of,
    pod_of,
)

_HOOK = "helm.sh/hook"


def _hooks(objects: Objects) -> Objects:
    return [
        one for one in objects if one["metadata"].get("annotations", {}).get(_HOOK) == "post-delete"
    ]


def _spec(objects: Objects) -> dict[str, Any]:
    spec: dict[str, Any] = one_of(objects, "Deployment")["spec"]
    return spec


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_lease_guards_every_number_of_operators(replicas: int, helm: Helm) -> None:
    """One too: a node that is cut off may still run it. The Lease is the release's, and nobody
    writes two of one name."""
    objects = helm.template(needed(replicas=replicas))
    election = parse_config(config_of(objects)).election
    assert (election.enabled, election.lease) == (True, "flowdeps/flowdeps")
    assert _spec(objects)["replicas"] == replicas
    other = parse_config(config_of(helm.template(needed(), release="other"))).election
    assert other.lease == "flowdeps/other-flowdeps"


def test_the_role_for_the_lease_is_the_documented_one(helm: Helm) -> None:
    """In the release's namespace, for this Lease alone, and with watchNamespaces too."""
    documented = list(yaml.safe_load_all((ROOT / "docs" / "rbac.yaml").read_text()))
    for values in (needed(), needed(config={"watchNamespaces": ["flowdeps"]})):
        objects = helm.template(values)
        for kind in ("Role", "RoleBinding"):
            (want,) = of_kind(documented, kind)
            (found,) = (
                one
                for one in of_kind(objects, kind)
                if one["metadata"]["name"] == want["metadata"]["name"]
            )
            found["metadata"].pop("labels")
            assert found == want


def test_a_rollout_starts_the_new_one_first(helm: Helm) -> None:
    """The Lease lets both run; a volume that one node has at a time would not."""
    assert _spec(helm.template(needed()))["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    claimed = helm.template(needed(cache={"existingClaim": "uv"}))
    assert _spec(claimed)["strategy"] == {"type": "Recreate"}


def test_several_are_spread_and_have_a_budget(helm: Helm) -> None:
    """By default; what the user says of spreading holds instead."""
    one, two = helm.template(needed()), helm.template(needed(replicas=2))
    assert not of_kind(one, "PodDisruptionBudget")
    assert one_of(two, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert "topologySpreadConstraints" not in pod_of(one)["spec"]
    (spread,) = pod_of(two)["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == (
        "kubernetes.io/hostname",
        "ScheduleAnyway",
    )
    mine = {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    (own,) = pod_of(helm.template(needed(replicas=2, topologySpreadConstraints=[mine])))["spec"][
        "topologySpreadConstraints"
    ]
    assert own["topologyKey"] == "zone"


# Cleaning up


def test_nothing_is_cleaned_up_unless_it_is_asked_for(helm: Helm) -> None:
    """Uninstalling an operator changes nothing for runs."""
    assert not _hooks(helm.template(needed()))


@pytest.mark.parametrize("values", [needed(), case("namespaces"), case("everything")])
def test_the_hook_brings_all_that_it_needs(values: dict[str, Any], helm: Helm) -> None:
    """When it runs, the release is gone: its account, roles and configuration are part of the hook,
    are made before the Job, and go when it has succeeded."""
    objects = helm.template({**values, "cleanup": {"onUninstall": True}})
    hooks = _hooks(objects)
    job = one_of(hooks, "Job")
    rest = [one for one in hooks if one is not job]
    for one in hooks:
        annotations = one["metadata"]["annotations"]
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
        assert (annotations.get("helm.sh/hook-weight") == "-10") == (one is not job)
    spec = job["spec"]["template"]["spec"]
    account = one_of(rest, "ServiceAccount")["metadata"]["name"]
    assert spec["serviceAccountName"] == account
    released = {
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"])
        for one in objects
        if one not in hooks
    }
    for one in hooks:
        named = (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"])
        assert named not in released
    for one in rest:
        if one["kind"].endswith("Binding"):
            assert [who["name"] for who in one["subjects"]] == [account]
            role = one["kind"].removesuffix("Binding"), one["roleRef"]["name"]
            assert role in {(r["kind"], r["metadata"]["name"]) for r in rest}
    (mounted,) = (one["configMap"]["name"] for one in spec["volumes"] if "configMap" in one)
    copy = one_of(rest, "ConfigMap")
    assert copy["metadata"]["name"] == mounted
    assert yaml.safe_load(copy["data"]["config.yaml"]) == config_of(
        [one for one in objects if one not in hooks]
    )
    (container,) = spec["containers"]
    (operator,) = pod_of(objects)["spec"]["containers"]
    assert (container["image"], container["env"]) == (operator["image"], operator["env"])
    assert job["spec"]["activeDeadlineSeconds"]


@pytest.mark.parametrize("config", [{}, case("namespaces")["config"]], ids=["all", "some"])
def test_the_hook_may_do_less_than_the_operator(config: dict[str, Any], helm: Helm) -> None:
    """It lists and deletes where the operator does; it makes nothing but the Lease."""
    objects = helm.template(
        needed(config=config, cleanup={"onUninstall": True}, rbac={"aggregate": False})
    )
    hooks = _hooks(objects)
    roles = [one for one in hooks if one["kind"] in {"Role", "ClusterRole"}]
    granted = {
        (verb, resource, one["metadata"].get("namespace", ""))
        for one in roles
        for rule in one["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    operators = {
        (right.verb, right.resource, right.namespace)
        for right in needed_rights(parse_config(config_of([o for o in objects if o not in hooks])))
    }
    more = granted - operators
    assert more == {("delete", "leases", "flowdeps")}
    assert {verb for verb, resource, _ in granted if resource != "leases"} == {
        *("get", "list", "delete", "patch")
    }
    assert {resource for verb, resource, _ in granted if verb == "patch"} == {
        "flowdependencysets",
        "flowdependencysets/status",
    }


def test_somebody_elses_account_is_used_where_roles_are(helm: Helm) -> None:
    """With rbac.create: false the roles are bound to the operator's account; where the chart made
    that one, the hook makes it again."""
    values = needed(rbac={"create": False, "aggregate": False}, cleanup={"onUninstall": True})
    hooks = _hooks(helm.template(values))
    assert sorted(one["kind"] for one in hooks) == ["ConfigMap", "Job", "ServiceAccount"]
    assert one_of(hooks, "ServiceAccount")["metadata"]["name"] == "flowdeps"
    own = {**values, "serviceAccount": {"create": False, "name": "mine"}}
    hooks = _hooks(helm.template(own))
    assert sorted(one["kind"] for one in hooks) == ["ConfigMap", "Job"]
    assert one_of(hooks, "Job")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"
