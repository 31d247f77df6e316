"""What a method may give, and which kinds of pools there are."""

import copy
from typing import Any

import pytest

from flowdeps.api.names import mounted_name
from flowdeps.delivery.choice import Choice, find
from flowdeps.delivery.kinds import for_type, remove, unsupported
from flowdeps.delivery.kinds.kind import MergeRefusedError
from flowdeps.delivery.kinds.kubernetes import KUBERNETES
from flowdeps.delivery.kinds.kubernetes.merge import merge
from flowdeps.delivery.methods.cache import Cache
from flowdeps.delivery.methods.method import Pieces
from flowdeps.delivery.methods.volume import Volume, mounts_claim
from tests.unit.delivery.samples import (
    flow_of,
    fragment,
    pod_of,
    pool,
    prefect_template,
    same,
    with_flow,
)


@pytest.mark.parametrize(
    "pieces",
    [
        {"volumes": ({"name": "scratch"},)},
        {"init_containers": ({"name": "install"},)},
        {"flow_mounts": ({"name": "scratch", "mountPath": "/opt/flowdeps"},)},
        {"flow_mounts": ({"name": "flowdeps-site", "mountPath": "/srv"},)},
        {"flow_mounts": ({"name": "flowdeps-site", "mountPath": "/opt/flowdeps-more"},)},
        {"flow_env": ({"name": "PATH", "value": "/srv"},)},
        {"python_path": ("/srv",)},
        {"python_path": ("/opt/flowdeps/site",), "image_path": ("/srv",)},
        {"path_source": {"configMapKeyRef": {"name": "theirs", "key": "pythonPath"}}},
        {"labels": {"team": "a"}},
    ],
)
def test_a_piece_that_is_not_ours_by_its_name_cannot_be_made(pieces: dict[str, Any]) -> None:
    """Removal goes by names in a marker that anybody can write, and takes out only ours."""
    with pytest.raises(ValueError, match="must be"):
        Pieces(**pieces)


def test_merging_changes_nothing_that_a_method_gave() -> None:
    """One method serves many pools: what it gives is copied into each template."""
    given = fragment(env=({"name": "PROXY", "value": "x"},), resources={"limits": {"cpu": 1}})
    before = copy.deepcopy(given)
    merged = merge(pool(), given)
    pod = merged["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    [install] = pod["initContainers"]
    install["env"].clear()
    install["resources"].clear()
    install["securityContext"]["capabilities"].clear()
    assert given == before
    assert given.method.pieces(given) == before.method.pieces(before)


def test_a_kind_of_pool_is_found_by_prefects_type() -> None:
    """Other types cannot offer sets, and it is said which can."""
    assert for_type("kubernetes") is KUBERNETES
    assert for_type("docker") is None
    assert "docker" in unsupported("docker")
    assert "kubernetes" in unsupported("docker")


def test_a_fragment_in_a_pool_of_another_type_can_be_removed() -> None:
    """Somebody may copy a template, and then it is still found and taken out."""
    merged = merge(pool(), fragment())
    assert find(merged) is not None
    assert same(remove(merged), pool())
    assert same(remove(prefect_template("docker")), prefect_template("docker"))


def test_kubernetes_lacks_a_key_until_each_namespace_has_its_config_map() -> None:
    """The pod mounts it, so a run must not choose the key before."""
    ml, etl = mounted_name("ml", pool="k"), mounted_name("etl", pool="k")
    of_another = mounted_name("ml", pool="other")
    there = {("a", ml), ("b", ml), ("c", etl), ("d", of_another), ("d", mounted_name("ml"))}

    def has(namespace: str, name: str) -> bool:
        return (namespace, name) in there

    assert KUBERNETES.missing("k", "ml", ("a", "b"), has) == ""
    assert "ConfigMap" in KUBERNETES.missing("k", "ml", ("a", "c"), has)
    assert "ConfigMap" in KUBERNETES.missing("k", "ml", ("d",), has)


def test_a_choice_names_its_variables() -> None:
    """That of extras is among them where runs may have extras."""
    choice = Choice(owner="a/b", version="1", pool="k", keys=())
    assert choice.variables == ["dependency_set", "extra_py_deps"]
    assert Choice(owner="a/b", version="1", pool="k", keys=(), extras=False).variables == [
        "dependency_set"
    ]


def test_a_claim_is_mounted_without_an_init_container() -> None:
    """Read-only, one directory of it, which the ConfigMap of the choice names; PYTHONPATH comes
    from there too, so that a run that chooses nothing has that of its image."""
    merged = merge(pool(), fragment(method=Volume(claim="environments"), extras=False))
    pod, flow = pod_of(merged), flow_of(merged)
    assert not pod.get("initContainers")
    volumes = {one["name"]: one for one in pod["volumes"]}
    claim = {"claimName": "environments", "readOnly": True}
    assert volumes["flowdeps-site"]["persistentVolumeClaim"] == claim
    [mount] = flow["volumeMounts"]
    assert mount["mountPath"] == "/opt/flowdeps"
    assert mount["readOnly"] is True
    assert mount["subPathExpr"] == "$(FLOWDEPS_ENVIRONMENT_{{ dependency_set }})"
    env = {one["name"]: one for one in flow["env"]}
    assert env["FLOWDEPS_ENVIRONMENT_none"]["value"] == "none"
    name = mounted_name("{{ dependency_set }}", pool="kubernetes")
    for variable, key in {
        "FLOWDEPS_ENVIRONMENT_{{ dependency_set }}": "environment",
        "FLOWDEPS_LOCK": "digest",
        "PYTHONPATH": "pythonPath",
    }.items():
        source = env[variable]["valueFrom"]["configMapKeyRef"]
        assert source == {"name": name, "key": key, "optional": True}
    live = find(merged)
    assert live is not None
    assert mounts_claim(live)
    installs = find(merge(merged, fragment()))
    assert installs is not None
    assert not mounts_claim(installs)
    assert "extra_py_deps" not in merged["variables"]["properties"]


def test_a_pythonpath_of_the_template_has_ours_before_it_on_a_claim() -> None:
    """As with every method, since the worker and the template go before the image."""
    template = with_flow(env=[{"name": "PYTHONPATH", "value": "/srv"}])
    merged = merge(template, fragment(method=Volume(claim="environments"), extras=False))
    values = [one.get("value") for one in flow_of(merged)["env"] if one["name"] == "PYTHONPATH"]
    assert values == ["/opt/flowdeps/boot:/opt/flowdeps/site:/srv"]
    assert same(remove(merged), template)


def test_a_pythonpath_from_a_config_map_of_ours_without_marker_is_refused() -> None:
    """Somebody wrote it, or took out the marker with all else."""
    source = {"configMapKeyRef": {"name": "flowdeps-x", "key": "pythonPath"}}
    template = with_flow(env=[{"name": "PYTHONPATH", "valueFrom": source}])
    with pytest.raises(MergeRefusedError, match="comes from a ConfigMap of flowdeps"):
        merge(template, fragment())


def test_a_cache_is_one_more_volume_of_an_installation() -> None:
    """Only the install container may write it. All else is that of Install, with more variables."""
    plain = fragment()
    install = plain.method.pieces(plain)
    cached = Cache(claim="cache", unused_for=3600.0, most_entries=5).pieces(plain)
    [volume] = cached.volumes[len(install.volumes) :]
    assert volume == {"name": "flowdeps-cache", "persistentVolumeClaim": {"claimName": "cache"}}
    mount = {"name": "flowdeps-cache", "mountPath": "/opt/flowdeps-cache"}
    assert cached.flow_mounts == (*install.flow_mounts, {**mount, "readOnly": True})
    [before], [container] = install.init_containers, cached.init_containers
    assert container["volumeMounts"] == [*before["volumeMounts"], mount]
    env = [
        *before["env"],
        *({"name": f"FLOWDEPS_CACHE{one}", "value": value} for one, value in ENV),
    ]
    assert container == {**before, "volumeMounts": container["volumeMounts"], "env": env}
    left = ("volumes", "flow_mounts", "init_containers")
    assert {k: v for k, v in vars(cached).items() if k not in left} == {
        k: v for k, v in vars(install).items() if k not in left
    }


ENV = (("", "/opt/flowdeps-cache"), ("_UNUSED", "3600"), ("_ENTRIES", "5"))


def test_a_directory_of_the_node_is_divided_by_namespaces() -> None:
    """The install container writes that of its pod, as the API server says; the flow reads the one
    of the pool. No variable is in between that a run could set: a worker drops ours for its."""
    plain = fragment()
    cache = Cache(host_path="/var/cache/flowdeps", namespace="jobs")
    pieces = cache.pieces(plain)
    assert pieces.volumes[-1]["hostPath"] == {
        "path": "/var/cache/flowdeps",
        "type": "DirectoryOrCreate",
    }
    mount = {"name": "flowdeps-cache", "mountPath": "/opt/flowdeps-cache"}
    [container] = pieces.init_containers
    assert container["volumeMounts"][-1] == {**mount, "subPathExpr": "$(FLOWDEPS_NAMESPACE)"}
    assert pieces.flow_mounts[-1] == {**mount, "subPath": "jobs", "readOnly": True}
    assert pieces.flow_env == plain.method.pieces(plain).flow_env
    [own] = [one for one in container["env"] if one["name"] == "FLOWDEPS_NAMESPACE"]
    assert own["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    assert {"name": "FLOWDEPS_CACHE_NAMESPACE", "value": "jobs"} in container["env"]
