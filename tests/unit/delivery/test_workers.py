"""What the oldest supported worker, a middle one and the newest make of a merged template."""

import json
import platform
from collections.abc import Iterator
from typing import Any

import pytest
from packaging.version import Version

from flowdeps.api.names import mounted_name
from flowdeps.clients.prefect.pool import OLDEST
from flowdeps.delivery.kinds.kind import worker_image
from flowdeps.delivery.kinds.kubernetes.merge import merge
from flowdeps.delivery.kinds.kubernetes.spliced import LIMIT
from tests.cluster import prefect_env
from tests.support.worker import Worker, running
from tests.unit.delivery.samples import Template, flow_of, fragment, pod_of

SITE = "/opt/flowdeps/site"
OWN = "registry.example.com/mine:2"


LISTS = ("volumes", "initContainers", "volumeMounts", "env")


def lists_of(template: Template) -> dict[str, Any]:
    """What has each of the lists."""
    flow, of_pod = flow_of(template), pod_of(template)
    return dict(zip(LISTS, (of_pod, of_pod, flow, flow), strict=True))


@pytest.fixture(scope="module", params=prefect_env.WORKERS)
def lock(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def worker(lock: str) -> Iterator[Worker]:
    with running(prefect_env.bin_directory(lock) / "python") as one:
        yield one


@pytest.fixture
def template(lock: str) -> Template:
    """What this worker gives to a new pool: without a default image."""
    found: Template = json.loads(prefect_env.kubernetes_template(lock))
    return found


def pod(manifest: Any) -> Any:
    return manifest["spec"]["template"]["spec"]


def value(manifest: Any, name: str) -> str:
    """Of a variable of the flow's container; of two entries, the later counts."""
    env = {one["name"]: one.get("value") for one in pod(manifest)["containers"][0]["env"]}
    return str(env[name])


def image_of_worker(lock: str) -> str:
    """What is taken here for its choice."""
    python = ".".join(platform.python_version_tuple()[:2])
    return worker_image(prefect=prefect_env.versions(lock)["prefect"], python=python)


def test_the_oldest_is_what_is_called_so() -> None:
    """Two versions are told to people, and both are those of the lock."""
    pins = prefect_env.versions("worker-oldest")
    assert (pins["prefect"], pins["prefect-kubernetes"]) == (OLDEST, "0.6.6")
    versions = [Version(prefect_env.versions(one)["prefect"]) for one in prefect_env.WORKERS]
    assert versions == sorted(versions, reverse=True)


def test_the_choice_reaches_everything_that_hangs_on_it(worker: Worker, template: Template) -> None:
    """Volumes, label, environment and install container of a run that chooses a set."""
    given = {"dependency_set": "ml", "image": OWN, "extra_py_deps": ["httpx", "rich"]}
    [manifest] = worker.manifests((merge(template, fragment(default_image="x:1")), given))
    [install] = pod(manifest)["initContainers"]
    assert (install["image"], pod(manifest)["containers"][0]["image"]) == (OWN, OWN)
    of_install = {one["name"]: one.get("value") for one in install["env"]}
    assert of_install["FLOWDEPS_SET"] == value(manifest, "FLOWDEPS_SET") == "ml"
    assert of_install["FLOWDEPS_EXTRAS"] == " ['httpx', 'rich']"
    [lock, *_] = pod(manifest)["volumes"]
    assert lock["configMap"]["name"] == mounted_name("ml", pool="kubernetes")
    assert manifest["spec"]["template"]["metadata"]["labels"]["flowdeps.dev/set"] == "ml"


def test_a_search_path_of_the_deployment_wins(worker: Worker, template: Template) -> None:
    """It is not lost to ours, which leads that of the pool."""
    template["variables"]["properties"]["env"]["default"] = {"PYTHONPATH": "/app"}
    merged = merge(template, fragment(default_image="x:1"))
    plain, own = worker.manifests((merged, {}), (merged, {"env": {"PYTHONPATH": "/own"}}))
    assert value(plain, "PYTHONPATH").endswith(":/app")
    assert value(plain, "PYTHONPATH").startswith("/opt/flowdeps/")
    assert value(own, "PYTHONPATH") == "/own"


def test_lists_by_variables_are_the_runs_own(worker: Worker, template: Template) -> None:
    """Each worker fills in single items, leaves out those that are missing, and tells of more
    than there is room for."""
    item = {"name": "own", "mountPath": "/own", "value": "1"}
    for key in LISTS:
        template["variables"]["properties"][f"my_{key}"] = {"type": "array", "default": [item]}
        lists_of(template)[key][key] = "{{ my_" + key + " }}"
    merged = merge(template, fragment(default_image="x:1"))
    long = [{**item, "name": f"n{at}"} for at in range(LIMIT + 1)]
    given: list[Any] = [[], None, [item, item | {"name": "b"}], long]
    for own in ({}, *(dict.fromkeys((f"my_{key}" for key in LISTS), one) for one in given)):
        without, with_us = worker.manifests((template, own), (merged, own))
        for key in LISTS:
            before, after = (_others(manifest, key) for manifest in (without, with_us))
            assert after == before[:LIMIT]
        [install] = pod(with_us)["initContainers"][-1:]
        [beyond] = [one["value"] for one in install["env"] if one["name"] == "FLOWDEPS_BEYOND"]
        assert beyond.startswith("n ")
        assert bool(beyond[2:].strip()) == (own.get("my_volumes") is long)


def _others(manifest: Any, key: str) -> list[Any]:
    """What others than us and the worker have in a list of a manifest."""
    ours = ("flowdeps-", "FLOWDEPS_", "PREFECT_", "PYTHONPATH")
    found = lists_of({"job_configuration": {"job_manifest": manifest}})[key].get(key) or []
    return [one for one in found if not one["name"].startswith(ours)]


@pytest.mark.parametrize("place", ["variable", "container"])
def test_a_pool_without_an_image_gives_what_its_worker_would(
    worker: Worker, template: Template, lock: str, place: str
) -> None:
    """Runs that name none get the same image as without us, in both containers."""
    if place == "container":
        del flow_of(template)["image"]
    merged = merge(template, fragment(default_image=image_of_worker(lock)))
    given: list[dict[str, Any]] = [{}, {"image": OWN}] if place == "variable" else [{}]
    for variables in given:
        before, after = worker.manifests((template, variables), (merged, variables))
        wanted = pod(before)["containers"][0]["image"]
        assert wanted == variables.get("image", image_of_worker(lock))
        images = [
            one["image"] for one in (*pod(after)["containers"], *pod(after)["initContainers"])
        ]
        assert images == [wanted, wanted]
