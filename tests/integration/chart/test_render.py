"""What `helm template` makes of values, without a cluster."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowdeps.api.config import parse_config
from scripts.chart import CHART, ROOT
from tests.integration.chart.helm import (
    CASES,
    Helm,
    case,
    config_of,
    needed,
    of_kind,
    one_of,
    pod_of,
)


def _shown() -> list[str]:
    """The values.yaml in documentation."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    block = re.compile(r"^```ya?ml\n# values.yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [text for page in pages for text in block.findall(page.read_text())]


def test_there_are_values_shown() -> None:
    """docs/chart.md has some."""
    assert len(_shown()) >= 4


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_lint_finds_nothing(path: Path, helm: Helm) -> None:
    """`helm lint --strict` accepts the chart with each of the values in ci/."""
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART, "--values", path)


def test_two_values_are_enough(helm: Helm) -> None:
    """Prefect's address and an image make the operator, its account, roles and the resources; what
    is optional stays away."""
    kinds = sorted(one["kind"] for one in helm.template(needed()))
    assert kinds == [
        *("ClusterRole", "ClusterRole", "ClusterRole", "ClusterRoleBinding", "ConfigMap"),
        *("CustomResourceDefinition", "CustomResourceDefinition"),
        *("Deployment", "Pod", "Pod", "Role", "RoleBinding"),
        *("Service", "ServiceAccount"),
        *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    ]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_every_object_says_where_it_belongs(path: Path, helm: Helm) -> None:
    """Rendered objects may be applied as they are: namespaced ones have their namespace, and all of
    the chart's own the labels by which they are found."""
    for one in helm.template(yaml.safe_load(path.read_text())):
        metadata = one["metadata"]
        cluster_wide = one["kind"].startswith(("Cluster", "Custom", "Validating", "Mutating"))
        assert ("namespace" in metadata) != cluster_wide, one
        if "text" not in metadata["name"] and "more" not in metadata["name"]:
            assert metadata["labels"]["app.kubernetes.io/instance"] == "flowdeps"


_ALONE = {
    "config": {"watchNamespaces": ["flows"]},
    "crds": {"enabled": False},
    "rbac": {"aggregate": False},
}
_POLICY = "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"


@pytest.mark.parametrize(
    ("values", "cluster", "made"),
    [
        ({}, [], True),
        ({}, ["--kube-version", "1.29.0"], False),
        ({}, ["--kube-version", "1.30.0"], True),
        ({}, ["--api-versions", "v1/Pod"], False),
        ({}, ["--api-versions", f"v1/Pod,{_POLICY}"], True),
        ({}, ["--kube-version", "1.29.0", "--api-versions", _POLICY], True),
        (_ALONE, [], False),
        ({**_ALONE, "crds": {"enabled": True}}, [], True),
        ({**_ALONE, "rbac": {"aggregate": True}}, [], True),
        ({**_ALONE, "config": {}}, [], True),
        ({**_ALONE, "config": {}, "rbac": {"aggregate": False, "create": False}}, [], False),
        ({"admissionPolicy": {"enabled": False}}, [], False),
        ({"admissionPolicy": {"enabled": True}}, ["--kube-version", "1.29.0"], True),
        ({**_ALONE, "admissionPolicy": {"enabled": True}}, [], True),
    ],
)
def test_the_policy_is_on_where_it_can_be(
    values: dict[str, Any], cluster: list[str], made: bool, helm: Helm
) -> None:
    """By default it depends on what the cluster serves, without a cluster on its version; and on
    whether the release has cluster-wide objects anyway, so that its installer may make them. The
    same input gives the same text each time."""
    texts = {
        helm("template", "flowdeps", CHART, *cluster, values=needed(**values)) for _ in range(2)
    }
    assert len(texts) == 1
    assert ("kind: ValidatingAdmissionPolicy\n" in texts.pop()) == made


def test_the_policy_knows_the_account_and_what_the_configuration_adds(helm: Helm) -> None:
    """Whichever account runs the operator; labels and annotations of its pods are texts of CEL."""
    config = {"pods": {"labels": {"team": "a"}, "annotations": {"x.example.com/y": "1 'and' \\n"}}}
    values = needed(serviceAccount={"create": False, "name": "mine"}, config=config)
    [policy] = of_kind(helm.template(values), "ValidatingAdmissionPolicy")
    [condition] = policy["spec"]["matchConditions"]
    assert condition["expression"].endswith('== "system:serviceaccount:flowdeps:mine"')
    variables = {one["name"]: one["expression"] for one in policy["spec"]["variables"]}
    added = json.loads(variables["podKeys"].partition("[] : ")[2])
    assert added == [config["pods"]["labels"], config["pods"]["annotations"]]


@pytest.mark.parametrize("pull", ["push", "flows", "other"])
def test_a_secret_may_be_for_packing_and_for_claims(pull: str, helm: Helm) -> None:
    """Neither program is kept from it for the other's sake; where it is for claims alone, what
    packs may not have it."""
    config = {
        "environments": {
            "repository": "registry.example.com/envs",
            "images": True,
            "pushSecretRef": {"name": "push"},
            "pullSecretRef": {"name": pull},
        },
        "pods": {"imagePullSecrets": [{"name": "flows"}]},
        "workPools": [{"name": "a", "volume": {"claimName": "environments"}}],
    }
    [policy] = of_kind(helm.template(needed(config=config)), "ValidatingAdmissionPolicy")
    rules = {one["message"]: one["expression"] for one in policy["spec"]["validations"]}
    [packing] = [rule for says, rule in rules.items() if "which packs environments" in says]
    [claims] = [rule for says, rule in rules.items() if "which puts environments" in says]
    assert '["push","flows"]' in packing
    assert packing.startswith("variables.populates || ") == (pull != "other")
    assert ('!= "other"' in claims) == (pull == "other")


def test_the_network_policy_opens_what_the_values_name(helm: Helm) -> None:
    """The operator's port, to whom they name; with rules for egress those and DNS, and no other."""
    rules = [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 443}]}]
    dns = {"ports": [53, 5353], "to": [{"namespaceSelector": {}}]}
    values = needed(networkPolicy={"enabled": True, "egress": rules, "dns": dns})
    spec = one_of(helm.template(values), "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"ports": [{"port": "http"}]}]
    ports = [{"port": one, "protocol": name} for one in (53, 5353) for name in ("UDP", "TCP")]
    assert spec["egress"] == [{"ports": ports, "to": dns["to"]}, *rules]
    operator = pod_of(helm.template(values))["metadata"]["labels"]
    assert spec["podSelector"]["matchLabels"].items() <= operator.items()
    open_ = one_of(helm.template(needed(networkPolicy={"enabled": True})), "NetworkPolicy")["spec"]
    assert open_["policyTypes"] == ["Ingress"]
    assert "egress" not in open_


def test_the_configuration_is_what_the_values_say(helm: Helm) -> None:
    """Each field of `config` and of `prefect` reaches the file, and the operator accepts it."""
    values = case("everything")
    config = config_of(helm.template(values))
    prefect = {name: values["prefect"][name] for name in ("apiUrl", "pollInterval")}
    lease = {"enabled": True, "namespace": "flowdeps", "name": "flowdeps"}
    values["config"]["environments"]["policy"] = "flowdeps-environments"
    assert config == {
        **values["config"],
        "prefect": prefect,
        "leaderElection": {**lease, **values["leaderElection"]},
    }
    assert parse_config(config).pool("kubernetes-1").variable == "packages"


def test_the_configuration_of_the_least_values_is_accepted(helm: Helm) -> None:
    """Values that are empty stay away from the file, which would be refused with them."""
    config = parse_config(config_of(helm.template(needed())))
    assert config.prefect.api_url == "http://prefect.example.com:4200/api"
    assert config.owner == "flowdeps/flowdeps"
    assert not config.watch_namespaces
    assert not config.work_pools


def test_what_is_kubernetes_own_stays_as_it_is(helm: Helm) -> None:
    """A zero among resources is an amount, not an empty value."""
    resources = {"requests": {"cpu": 0, "memory": "1Gi"}}
    config = config_of(helm.template(needed(config={"pods": {"resources": resources}})))
    assert config["pods"]["resources"] == resources


def test_two_releases_own_different_fragments(helm: Helm) -> None:
    """The owner in templates is the release's namespace and name."""
    assert config_of(helm.template(needed(), release="other"))["owner"] == "flowdeps/other-flowdeps"


def test_secrets_are_references(helm: Helm) -> None:
    """Prefect's credentials reach the operator from the Secret, and stand nowhere else."""
    objects = helm.template(case("everything"))
    (operator,) = pod_of(objects)["spec"]["containers"]
    assert {
        "name": "PREFECT_API_KEY",
        "valueFrom": {"secretKeyRef": {"name": "prefect-api", "key": "key"}},
    } in operator["env"]
    assert "PREFECT" not in yaml.safe_dump(config_of(objects))
    assert not of_kind(objects, "Secret")


def test_a_variable_of_the_users_replaces_ours(helm: Helm) -> None:
    """Names of variables are unique, as server-side apply wants them."""
    values = needed(extraEnv=[{"name": "HOME", "value": "/elsewhere"}])
    (operator,) = pod_of(helm.template(values))["spec"]["containers"]
    assert operator["env"] == [{"name": "HOME", "value": "/elsewhere"}]


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "registry.example.com/flowdeps:0.1.0"),
        ({"tag": "1.2-a"}, "registry.example.com/flowdeps:1.2-a"),
        (
            {"tag": "1.2", "digest": "sha256:" + "a" * 64},
            "registry.example.com/flowdeps@sha256:" + "a" * 64,
        ),
    ],
    ids=["appVersion", "tag", "digest"],
)
def test_the_image_is_named_by_digest_tag_or_version(
    image: dict[str, str], reference: str, helm: Helm
) -> None:
    """The operator and `helm test` run the same image; a digest counts more than a tag."""
    objects = helm.template({**needed(), "image": {**needed()["image"], **image}})
    pods = [pod_of(objects)["spec"], *(one["spec"] for one in of_kind(objects, "Pod"))]
    assert {one["image"] for pod in pods for one in pod["containers"]} == {reference}


def test_a_change_of_the_configuration_restarts_the_operator(helm: Helm) -> None:
    """The pod template changes with the configuration, and not with what only the release has."""
    before, same, other = (
        pod_of(helm.template(values))
        for values in (
            needed(),
            needed(service={"annotations": {"a": "b"}}),
            needed(config={"images": {"recheck": "2h"}}),
        )
    )
    assert before == same
    sums = {one["metadata"]["annotations"].pop("checksum/config") for one in (before, other)}
    assert len(sums) == 2
    assert before == other


def test_a_new_version_of_the_chart_alone_restarts_nothing(helm: Helm) -> None:
    """No label of the pod has the chart's version."""
    objects = helm.template(needed())
    label = one_of(objects, "Deployment")["metadata"]["labels"]["helm.sh/chart"]
    assert label.startswith("flowdeps-")
    assert label not in yaml.safe_dump(pod_of(objects))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_selectors_find_the_operator_alone(path: Path, helm: Helm) -> None:
    """Whatever labels the user adds: Deployment, Service, monitors, policies and budgets select the
    operator's pod, and not the pods of `helm test`."""
    hostile = {"app.kubernetes.io/name": "x", "app.kubernetes.io/component": "test"}
    values = yaml.safe_load(path.read_text())
    objects = helm.template({**values, "podLabels": hostile, "commonLabels": hostile})
    operator = pod_of(objects)["metadata"]["labels"].items()
    tests = [one["metadata"]["labels"].items() for one in of_kind(objects, "Pod")]
    found = 0
    for one in objects:
        name = one["metadata"].get("labels", {}).get("app.kubernetes.io/name", "flowdeps")
        assert name == "flowdeps", one["kind"]
        spec = one.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector")
        if one["kind"] in ("CustomResourceDefinition", "Pod") or selector is None:
            continue
        labels = selector.get("matchLabels", selector).items()
        assert labels <= operator, one["kind"]
        assert not any(labels <= test for test in tests), one["kind"]
        found += 1
    assert found >= 2


def test_spread_is_over_the_operators_own_pods(helm: Helm) -> None:
    """A constraint without a selector gets the operator's; one with a selector keeps it."""
    mine = {"matchLabels": {"a": "b"}}
    spread = {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    values = needed(topologySpreadConstraints=[spread, {**spread, "labelSelector": mine}])
    first, second = pod_of(helm.template(values))["spec"]["topologySpreadConstraints"]
    assert first["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "operator"
    assert second["labelSelector"] == mine


@pytest.mark.parametrize("text", _shown())
def test_values_that_are_shown_are_accepted(text: str, helm: Helm) -> None:
    """What documentation has as values.yaml can be installed, and configures the operator."""
    assert parse_config(config_of(helm.template({**needed(), **yaml.safe_load(text)})))


# The resource


def test_the_resources_are_those_in_crds(helm: Helm) -> None:
    """Rules with braces and all: the chart's CustomResourceDefinitions are those of crds/, but for
    labels and the annotation that keeps them."""
    found = of_kind(helm.template(needed()), "CustomResourceDefinition")
    for one in found:
        metadata = one["metadata"]
        assert metadata.pop("annotations") == {"helm.sh/resource-policy": "keep"}
        metadata.pop("labels")
    files = sorted((ROOT / "crds").iterdir())
    assert len(files) == 2
    assert found == [yaml.safe_load(one.read_text()) for one in files]


def test_the_resource_is_kept_or_left_out_when_asked(helm: Helm) -> None:
    """crds.keep takes the annotation away, crds.enabled the whole."""
    goes = of_kind(helm.template(needed(crds={"keep": False})), "CustomResourceDefinition")
    assert goes
    assert all("annotations" not in one["metadata"] for one in goes)
    none = helm.template(needed(crds={"enabled": False}))
    assert not of_kind(none, "CustomResourceDefinition")


# Rights

_GIVES = "flowdeps-environments"


def test_the_cluster_role_is_the_documented_one(helm: Helm) -> None:
    """docs/rbac.yaml and the chart grant the same, to the operator's account."""
    objects = helm.template(needed(rbac={"aggregate": False}))
    role, binding = one_of(objects, "ClusterRole"), one_of(objects, "ClusterRoleBinding")
    _, documented, documented_binding, *_ = _documented()
    assert _sorted(role["rules"]) == _sorted(documented["rules"])
    assert binding["roleRef"] == documented_binding["roleRef"]
    assert binding["subjects"] == documented_binding["subjects"]
    assert one_of(objects, "ServiceAccount")["metadata"]["name"] == "flowdeps"
    assert pod_of(objects)["spec"]["serviceAccountName"] == "flowdeps"


def test_with_watched_namespaces_nothing_of_the_cluster_is_granted(helm: Helm) -> None:
    """A Role in each watched namespace has the documented rules but those of the cluster's objects;
    in a job namespace it has those for copies of locks, and may list pods. Each is bound to the
    account."""
    objects = helm.template(case("namespaces"))
    assert not [one for one in objects if one["kind"].startswith("Cluster")]
    _, documented, *_ = _documented()
    clusters = (["customresourcedefinitions"], ["namespaces"])
    sets = [rule for rule in documented["rules"] if rule["resources"] not in clusters]
    copies = (["configmaps"], ["secrets"], ["runenvironments"])
    jobs = [rule for rule in sets if rule["resources"] in copies]
    jobs.append({"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]})
    roles = [one for one in of_kind(objects, "Role") if one["metadata"]["name"] == "flowdeps"]
    granted = {one["metadata"]["namespace"]: one["rules"] for one in roles}
    assert granted.keys() == {"flows", "team-a", "jobs"}
    assert len(roles) == 3
    for namespace, rules in granted.items():
        assert _sorted(rules) == _sorted(jobs if namespace == "jobs" else sets)
    bindings = of_kind(objects, "RoleBinding")
    assert {one["metadata"]["namespace"] for one in bindings} == {*granted, "flowdeps"}
    for one in bindings:
        assert one["roleRef"]["kind"] == "Role"
        assert one["subjects"] == [
            {"kind": "ServiceAccount", "name": "flowdeps", "namespace": "flowdeps"}
        ]


def _of_pods(rule: Any) -> bool:
    return any(one.startswith("pods") for one in rule["resources"])


@pytest.mark.parametrize("watched", [[], ["flows", "team-a"]], ids=["cluster", "namespaces"])
def test_what_environments_need_is_documented(watched: list[str], helm: Helm) -> None:
    """Where a policy gives them to runs, the account has the documented rights for that beside all
    others, and where it does not, none of them: those on events and pods in the namespaces of runs,
    if these are known."""

    def rendered(admission: str) -> Any:
        given = {"repository": "registry.example.com/envs", "admission": admission}
        pools = [{"name": "a", "jobNamespaces": ["jobs"]}]
        config = {"watchNamespaces": watched, "workPools": pools, "environments": given}
        return helm.template(needed(rbac={"aggregate": False}, config=config))

    [documented] = [rules for (_, name), rules in _rules(_documented()).items() if name == _GIVES]
    [events] = [rule for rule in documented if rule["resources"] == ["events"]]
    of_cluster = [rule for rule in documented if rule != events or not watched]
    roles = _rules(rendered("Disabled"))
    expected = {**roles, ("", _GIVES): of_cluster}
    for namespace in (*watched, "jobs") if watched else ():
        rules = [*roles[namespace, "flowdeps"], events]
        if namespace == "jobs":  # a pod there tries whether runs can mount an environment
            of_pods = [one for one in roles["flows", "flowdeps"] if _of_pods(one)]
            rules = [*of_pods, *(one for one in rules if not _of_pods(one))]
        expected[namespace, "flowdeps"] = rules
    found = _rules(rendered("Enabled"))
    assert {where: _sorted(rules) for where, rules in found.items()} == {
        where: _sorted(rules) for where, rules in expected.items()
    }
    for objects in (rendered("Enabled"), _documented()):
        bindings = of_kind(objects, "ClusterRoleBinding")
        [binding] = [one for one in bindings if one["metadata"]["name"] == _GIVES]
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("ClusterRole", _GIVES)
        assert [one["name"] for one in binding["subjects"]] == ["flowdeps"]


@pytest.mark.parametrize("watched", [[], ["flows", "team-a"]], ids=["cluster", "namespaces"])
def test_what_caches_need_is_documented(watched: list[str], helm: Helm) -> None:
    """Where runs of a pool have one, the account has the documented right for that where runs may
    be, beside all others; else it has not."""

    def rendered(**more: Any) -> Any:
        pools = [{"name": "a", "jobNamespaces": ["jobs"]}, *({"name": n, **more} for n in "bc")]
        config = {"watchNamespaces": watched, "workPools": pools}
        return _rules(helm.template(needed(rbac={"aggregate": False}, config=config)))

    [right] = _rules(_documented())["", "flowdeps-caches"]
    plain = rendered()
    found = rendered(delivery="Cache", cache={"claimName": "cache"})
    assert right not in [rule for rules in plain.values() for rule in rules]
    gained = {where for where in found if found[where].count(right) == 1}
    assert gained == {(one, "flowdeps") for one in ((*watched, "jobs") if watched else ("",))}
    assert {where: [one for one in found[where] if one != right] for where in found} == plain


def test_nobody_but_the_operator_tells_runs_of_environments(helm: Helm) -> None:
    """People may read RunEnvironments, by Kubernetes' own roles; only roles that are bound to the
    operator or the cleanup write them."""
    objects = helm.template(needed(cleanup={"onUninstall": True}))
    writers, readers = set[str](), set[str]()
    for (_, name), rules in _rules(objects).items():
        for rule in rules:
            if "runenvironments" in rule["resources"]:
                reads = {"get", "list", "watch"} >= {*rule["verbs"]}
                (readers if reads else writers).add(name)
    assert writers == {"flowdeps", "flowdeps-cleanup"}
    assert readers == {"flowdeps-sets-view"}


def _rules(objects: Any) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The rules of each role by its namespace and name."""
    return {
        (one["metadata"].get("namespace", ""), one["metadata"]["name"]): one["rules"]
        for one in objects
        if one["kind"] in {"Role", "ClusterRole"}
    }


def test_rights_may_be_somebody_elses(helm: Helm) -> None:
    """rbac.create and serviceAccount.create leave roles and account to others."""
    values = needed(
        rbac={"create": False, "aggregate": False}, serviceAccount={"create": False, "name": "mine"}
    )
    objects = helm.template(values)
    assert not [one for one in objects if "Role" in one["kind"] or "Account" in one["kind"]]
    assert pod_of(objects)["spec"]["serviceAccountName"] == "mine"


def _documented() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "docs" / "rbac.yaml").read_text()))


def _sorted(rules: Any) -> list[str]:
    return sorted(yaml.safe_dump(rule) for rule in rules)
