"""The rights that are asked for are those that are documented."""

from pathlib import Path

import yaml

from flowdeps.clients.kubernetes.rights import CLUSTER, IDENTITY, LEASE, SETS

_MANIFEST = Path(__file__).parents[3] / "docs" / "rbac.yaml"


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
        for rules in (SETS, CLUSTER, LEASE)
        for group, resource, verbs in rules
        for verb in verbs.split()
    } | {(IDENTITY.group, IDENTITY.resource, IDENTITY.verb)}
    [named] = [rule for rule in rules if rule["resources"] == [IDENTITY.resource]]
    assert named["resourceNames"] == [IDENTITY.name]
