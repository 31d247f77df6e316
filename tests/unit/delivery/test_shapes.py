"""Shapes of base job templates that people have, and what becomes of their runs.

Each is small and written by hand: what is special in it, and nothing else.
"""

import platform
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flowdeps.delivery.kinds.kind import MergeRefusedError, worker_image
from flowdeps.delivery.kinds.kubernetes.merge import merge, remove
from tests.cluster import prefect_env
from tests.support.worker import Worker, running
from tests.unit.delivery.samples import (
    Template,
    accepted_by_the_server,
    flow_of,
    fragment,
    pod_of,
    prefect_template,
    same,
)

Change = Callable[[Template], Any]
PYTHON = ".".join(platform.python_version_tuple()[:2])
OF_WORKER = worker_image(prefect=prefect_env.versions()["prefect"], python=PYTHON)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with running(prefect_env.bin_directory() / "python") as one:
        yield one


def variables(template: Template) -> Any:
    return template["variables"]["properties"]


def _as_prefect_makes_it(_template: Template) -> None:
    pass


def _image_is_missing(template: Template) -> None:
    del flow_of(template)["image"]
    del variables(template)["image"]


def _default_is_null(template: Template) -> None:
    variables(template)["image"]["default"] = None


def _image_may_be_null(template: Template) -> None:
    variables(template)["image"] = {"anyOf": [{"type": "string"}, {"type": "null"}]}


def _image_has_another_variable(template: Template) -> None:
    variables(template)["docker_image"] = variables(template).pop("image")
    flow_of(template)["image"] = "{{ docker_image }}"


def _image_is_required(template: Template) -> None:
    template["variables"]["required"] = ["image"]


def _image_is_composed(template: Template) -> None:
    variables(template)["tag"] = {"type": "string", "default": "1"}
    flow_of(template)["image"] = "registry.example.com/flows:{{ tag }}"


def _image_is_a_prefect_variable(template: Template) -> None:
    variables(template)["image"]["default"] = "{{ prefect.variables.text }}"


def _bare(template: Template) -> None:
    """Nothing that the worker does not insist on."""
    flow = {"name": "prefect-job"}
    spec = {"parallelism": 1, "completions": 1, "restartPolicy": "Never", "containers": [flow]}
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"labels": {}},
        "spec": {"template": {"spec": spec}},
    }
    template["job_configuration"] = {"job_manifest": manifest}
    template["variables"] = {"type": "object", "properties": {}}


def _no_properties(template: Template) -> None:
    _bare(template)
    template["variables"] = {}


def _sidecar_and_init_containers(template: Template) -> None:
    pod = pod_of(template)
    pod["containers"].append({"name": "proxy", "image": "registry.example.com/proxy:1"})
    pod["initContainers"] = [{"name": "certificates", "image": "registry.example.com/certs:1"}]


def _init_container_of_the_flows_image(template: Template) -> None:
    """It has none today in a run that names none, which the API server refuses."""
    pod_of(template)["initContainers"] = [{"name": "migrate", "image": "{{ image }}"}]


def _secrets_and_nodes_by_variable(template: Template) -> None:
    for name in ("image_pull_secrets", "node_selector", "tolerations", "affinity"):
        variables(template)[name] = {"type": "object"}
    pod_of(template)["imagePullSecrets"] = "{{ image_pull_secrets }}"
    pod_of(template)["nodeSelector"] = "{{ node_selector }}"
    pod_of(template)["tolerations"] = "{{ tolerations }}"


def _command_and_shell(template: Template) -> None:
    flow_of(template)["command"] = ["/bin/bash", "-c", "source /venv/bin/activate && exec $0 $@"]


def _pod_metadata(template: Template) -> None:
    template["job_configuration"]["job_manifest"]["spec"]["template"]["metadata"] = {
        "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    }


def _deadline_and_retries(template: Template) -> None:
    spec = template["job_configuration"]["job_manifest"]["spec"]
    spec |= {"backoffLimit": 3, "activeDeadlineSeconds": 3600}


def _other_first_container(template: Template) -> None:
    pod_of(template)["containers"].insert(0, {"name": "proxy", "image": "x:1"})


def _container_without_a_name(template: Template) -> None:
    del flow_of(template)["name"]


def _cron_job(template: Template) -> None:
    template["job_configuration"]["job_manifest"]["kind"] = "CronJob"


def _no_containers(template: Template) -> None:
    pod_of(template)["containers"] = []


@pytest.mark.parametrize(
    "change",
    [
        _as_prefect_makes_it,
        _image_is_missing,
        _default_is_null,
        _image_may_be_null,
        _image_has_another_variable,
        _image_is_required,
        _image_is_composed,
        _image_is_a_prefect_variable,
        _bare,
        _no_properties,
        _sidecar_and_init_containers,
        _init_container_of_the_flows_image,
        _secrets_and_nodes_by_variable,
        _command_and_shell,
        _pod_metadata,
        _deadline_and_retries,
    ],
)
def test_a_shape_that_works_without_us_works_with_us(worker: Worker, change: Change) -> None:
    """It merges without any configuration, a run has the image that it has without us, also in the
    install container, and the removal is exact."""
    template = prefect_template()
    change(template)
    merged = merge(template, fragment(default_image=OF_WORKER))
    assert same(remove(merged), template)
    assert accepted_by_the_server(merged) == []
    image = {"image": "registry.example.com/own:1"}
    chosen = [image] if "image" in variables_of(template) else []
    plain = [] if template["variables"].get("required") else [{}]
    for given in (*plain, *chosen):
        before, after = worker.manifests((template, given), (merged, given))
        wanted = containers(before)[0]["image"]
        assert wanted
        assert containers(after)[0]["image"] == wanted
        install = after["spec"]["template"]["spec"]["initContainers"][-1]
        assert (install["name"], install["image"]) == ("flowdeps-install", wanted)
        assert "{{" not in str(after["spec"]["template"]["spec"]["volumes"])


def variables_of(template: Template) -> Any:
    return template["variables"].get("properties", {})


def containers(manifest: Any) -> Any:
    return manifest["spec"]["template"]["spec"]["containers"]


@pytest.mark.parametrize(
    "change",
    [_other_first_container, _container_without_a_name, _cron_job, _no_containers],
)
def test_a_shape_that_is_refused_works_without_us_no_better(worker: Worker, change: Change) -> None:
    """Prefect's own worker ends its runs with an error."""
    template = prefect_template()
    change(template)
    with pytest.raises(MergeRefusedError):
        merge(template, fragment(default_image=OF_WORKER))
    [answer] = worker.rendered((template, {}))
    assert isinstance(answer, str), answer
