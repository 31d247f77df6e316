"""What Prefect's own Kubernetes worker makes of a merged template.

The job manifest is the worker's, from template and job variables, as for a real flow run.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from flowdeps.api.names import mounted_name
from flowdeps.delivery.in_image.extras import requirements
from flowdeps.delivery.kinds.kubernetes.merge import merge
from flowdeps.delivery.methods.volume import Volume
from tests.cluster import prefect_env
from tests.support.worker import Worker, running
from tests.unit.delivery.samples import (
    Template,
    accepted_by_the_server,
    customised,
    flow_of,
    fragment,
    pool,
    prefect_template,
)

HOME = "/opt/flowdeps"


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with running(prefect_env.bin_directory() / "python") as worker:
        yield worker


def pod(manifest: Any) -> Any:
    return manifest["spec"]["template"]["spec"]


def env(manifest: Any) -> dict[str, Any]:
    """The container's variables as Kubernetes reads them: of two, the later one counts."""
    return {entry["name"]: entry for entry in pod(manifest)["containers"][0]["env"]}


@pytest.fixture(scope="module")
def own_template() -> Template:
    """The template that the worker itself gives to a pool, with an image."""
    template: Template = json.loads(prefect_env.kubernetes_template())
    template["variables"]["properties"]["image"]["default"] = "registry.example.com/flows:1"
    return template


def test_the_worker_fills_in_what_leads_to_a_claim(worker: Worker, own_template: Template) -> None:
    """Where a run's variable gives the directory of the key, and for `none` that with nothing."""
    merged = merge(own_template, fragment(method=Volume(claim="environments"), extras=False))
    chosen = [{"dependency_set": "ml"}, {"dependency_set": "none"}, {}]
    manifests = worker.manifests(*((merged, one) for one in chosen))
    for manifest, key in zip(manifests, ("ml", "none", "none"), strict=True):
        name = mounted_name(key, pool="kubernetes")
        mounts = pod(manifest)["containers"][0]["volumeMounts"]
        [mount] = [one for one in mounts if one["name"] == "flowdeps-site"]
        assert mount["subPathExpr"] == f"$(FLOWDEPS_ENVIRONMENT_{key})"
        entries = pod(manifest)["containers"][0]["env"]
        here = [one for one in entries if one["name"] == f"FLOWDEPS_ENVIRONMENT_{key}"]
        if key == "none":  # an optional key that is missing leaves the value before it
            assert here[0]["value"] == "none"
        assert here[-1]["valueFrom"]["configMapKeyRef"]["name"] == name
        assert env(manifest)["PYTHONPATH"]["valueFrom"]["configMapKeyRef"]["name"] == name


def test_the_worker_fills_in_the_chosen_set(worker: Worker, own_template: Template) -> None:
    """The choice reaches the label, the ConfigMap's name and both containers; the image too."""
    for template in (own_template, pool()):
        chosen = {"dependency_set": "ml-3f9a1c20de", "image": "registry.example.com/mine:2"}
        [manifest] = worker.manifests((merge(template, fragment()), chosen))
        volumes = {volume["name"]: volume for volume in pod(manifest)["volumes"]}
        name = mounted_name("ml-3f9a1c20de", pool="kubernetes")
        assert volumes["flowdeps-lock"]["configMap"]["name"] == name
        labels = manifest["spec"]["template"]["metadata"]["labels"]
        assert labels["flowdeps.dev/set"] == "ml-3f9a1c20de"
        assert "prefect.io/flow-run-id" in labels
        [install] = pod(manifest)["initContainers"]
        assert install["image"] == "registry.example.com/mine:2"
        assert install["imagePullPolicy"] == "IfNotPresent"
        assert {"name": "FLOWDEPS_SET", "value": "ml-3f9a1c20de"} in install["env"]
        variables = env(manifest)
        assert variables["FLOWDEPS_SET"]["value"] == "ml-3f9a1c20de"
        digest = variables["FLOWDEPS_LOCK"]["valueFrom"]["configMapKeyRef"]
        assert digest["name"] == name
        assert variables["PYTHONPATH"]["value"].startswith(f"{HOME}/boot:{HOME}/site:")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("{{ prefect.variables.set }}", "ml"),
        ("ml-{{ prefect.variables.revision }}", "ml-3f9a1c20de"),
        ("{{ prefect.variables.missing }}", ""),
    ],
)
def test_a_set_may_come_from_a_prefect_variable(
    worker: Worker, own_template: Template, given: str, wanted: str
) -> None:
    """What the variable says is the choice everywhere; one that is missing is an empty choice, for
    which the install container has a line."""
    [manifest] = worker.manifests((merge(own_template, fragment()), {"dependency_set": given}))
    labels = manifest["spec"]["template"]["metadata"]["labels"]
    assert labels["flowdeps.dev/set"] == wanted
    volumes = {volume["name"]: volume for volume in pod(manifest)["volumes"]}
    name = mounted_name(wanted, pool="kubernetes")
    assert volumes["flowdeps-lock"]["configMap"]["name"] == name
    [install] = pod(manifest)["initContainers"]
    assert {"name": "FLOWDEPS_SET", "value": wanted} in install["env"]
    assert env(manifest)["FLOWDEPS_SET"]["value"] == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, []),
        ({"extra_py_deps": "httpx>=0.27 rich"}, ["httpx>=0.27", "rich"]),
        ({"extra_py_deps": ["httpx>=0.27", "x; a == 'b'"]}, ["httpx>=0.27", "x; a == 'b'"]),
        ({"extra_py_deps": ["polars", "{{ prefect.variables.one }}"]}, ["polars", "rich"]),
        ({"extra_py_deps": []}, []),
        ({"extra_py_deps": "{{ prefect.variables.text }}"}, ["httpx", "rich"]),
        ({"extra_py_deps": "polars {{ prefect.variables.text }}"}, ["polars", "httpx", "rich"]),
        ({"extra_py_deps": "{{ prefect.variables.list }}"}, ["httpx>=0.27", "x; a == 'b'"]),
        ({"extra_py_deps": "{{ prefect.variables.null }}"}, []),
        ({"extra_py_deps": "{{ prefect.variables.missing }}"}, []),
    ],
)
def test_extras_reach_the_install_container_as_text(
    worker: Worker, own_template: Template, given: dict[str, Any], wanted: list[str]
) -> None:
    """Whatever the variable's value leads to, Kubernetes gets a string and the script reads it."""
    merged = merge(own_template, fragment())
    assert accepted_by_the_server(merged, **given) == []
    [manifest] = worker.manifests((merged, given))
    [install] = pod(manifest)["initContainers"]
    [value] = [one["value"] for one in install["env"] if one["name"] == "FLOWDEPS_EXTRAS"]
    assert isinstance(value, str)
    assert requirements(value) == wanted


def test_the_credentials_of_the_chosen_set_reach_the_install_container_alone(
    worker: Worker, own_template: Template
) -> None:
    """The Secret has the ConfigMap's name, may be missing, and no other container mounts it."""
    [manifest] = worker.manifests((merge(own_template, fragment()), {"dependency_set": "ml"}))
    [volume] = [one for one in pod(manifest)["volumes"] if one["name"] == "flowdeps-credentials"]
    assert volume["secret"] == {
        "secretName": mounted_name("ml", pool="kubernetes"),
        "optional": True,
    }
    [install] = pod(manifest)["initContainers"]
    assert "flowdeps-credentials" in [one["name"] for one in install["volumeMounts"]]
    assert "flowdeps-credentials" not in json.dumps(pod(manifest)["containers"])


def test_the_script_arrives_unchanged(worker: Worker, own_template: Template) -> None:
    """Templating does not touch the command of the install container."""
    merged = merge(own_template, fragment())
    [manifest] = worker.manifests((merged, {}))
    [install] = pod(manifest)["initContainers"]
    spec = merged["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert install["command"] == spec["initContainers"][0]["command"]


def test_who_chooses_nothing_gets_the_default(worker: Worker, own_template: Template) -> None:
    """Without a job variable the default set is mounted, none where there is no default."""
    nothing, default = worker.manifests(
        (merge(own_template, fragment()), {}), (merge(own_template, fragment(default="ml")), {})
    )
    assert env(nothing)["FLOWDEPS_SET"]["value"] == "none"
    assert env(default)["FLOWDEPS_SET"]["value"] == "ml"


def test_the_fragment_changes_nothing_else_in_the_manifest(worker: Worker) -> None:
    """Apart from our pieces, the manifest is the one that the worker made without us."""
    for template in (pool(), customised()):
        job = {"env": {"A": "1"}, "labels": {"x": "y"}, "region": "eu", "cpu_limit": "1"}
        before, after = worker.manifests((template, job), (merge(template, fragment()), job))
        spec = pod(after)
        spec["volumes"] = [one for one in spec["volumes"] if "flowdeps" not in one["name"]]
        spec["initContainers"].pop()
        flow = spec["containers"][0]
        flow["volumeMounts"] = [m for m in flow["volumeMounts"] if m["name"] != "flowdeps-site"]
        ours = {"FLOWDEPS_SET", "FLOWDEPS_LOCK", "PYTHONPATH"}
        flow["env"] = [entry for entry in flow["env"] if entry["name"] not in ours]
        del after["spec"]["template"]["metadata"]["labels"]["flowdeps.dev/set"]
        for parent, key in ((spec, "volumes"), (spec, "initContainers"), (flow, "volumeMounts")):
            if not parent[key]:
                del parent[key]
        assert after == before


def test_the_workers_own_variables_lose_nothing(worker: Worker) -> None:
    """Variables of the pool, the configuration and the deployment all arrive, ours behind them."""
    by_default, by_configuration = pool(), pool()
    by_default["variables"]["properties"]["env"]["default"] = {"A": "1", "PYTHONPATH": "/srv"}
    by_configuration["job_configuration"]["env"] = {"A": "1", "PYTHONPATH": "/srv"}
    for template in (by_default, by_configuration):
        merged = merge(template, fragment())
        plain, own = worker.manifests(
            (merged, {"env": {"B": "2"}}), (merged, {"env": {"PYTHONPATH": "/own"}})
        )
        assert env(plain)["A"]["value"] == "1"
        assert env(plain)["B"]["value"] == "2"
        assert env(plain)["PYTHONPATH"]["value"] == f"{HOME}/boot:{HOME}/site:/srv"
        # A deployment's own search path wins: the worker lets nothing stand before it.
        assert env(own)["PYTHONPATH"]["value"] == "/own"


def test_a_search_path_in_the_containers_list_stays_in_effect(worker: Worker) -> None:
    """Ours leads a value in place; after a reference the second entry refers to the first."""
    value, reference = pool(), pool()
    flow_of(value)["env"] = [{"name": "PYTHONPATH", "value": "/srv"}]
    source = {"configMapKeyRef": {"name": "a", "key": "b"}}
    flow_of(reference)["env"] = [{"name": "PYTHONPATH", "valueFrom": source}]
    one, two = worker.manifests((merge(value, fragment()), {}), (merge(reference, fragment()), {}))
    assert env(one)["PYTHONPATH"]["value"] == f"{HOME}/boot:{HOME}/site:/srv"
    entries = [v for v in pod(two)["containers"][0]["env"] if v["name"] == "PYTHONPATH"]
    assert entries == [
        {"name": "PYTHONPATH", "valueFrom": source},
        {"name": "PYTHONPATH", "value": f"{HOME}/boot:{HOME}/site:$(PYTHONPATH)"},
    ]


def test_a_configured_image_reaches_both_containers(worker: Worker) -> None:
    """Where a pool has no image, the configured one runs the flow and the installation."""
    merged = merge(prefect_template(), fragment(default_image="registry.example.com/base:3"))
    [manifest] = worker.manifests((merged, {}))
    assert pod(manifest)["containers"][0]["image"] == "registry.example.com/base:3"
    assert pod(manifest)["initContainers"][0]["image"] == "registry.example.com/base:3"
