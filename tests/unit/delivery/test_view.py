"""What runs of a pool get when they choose nothing."""

from typing import Any

import pytest

from flowdeps.delivery.kinds.kubernetes.merge import merge
from flowdeps.delivery.kinds.kubernetes.view import view
from tests.unit.delivery.samples import (
    Template,
    flow_of,
    fragment,
    pod_of,
    pool,
    prefect_template,
    with_flow,
)


def required(name: str) -> Template:
    """Prefect's template, where each run must give a value to the variable."""
    template = prefect_template()
    template["variables"]["required"] = [name]
    return template


@pytest.mark.parametrize(
    ("template", "image"),
    [
        (pool(), "registry.example.com/flows:1"),
        (prefect_template(), None),
        (with_flow(image="registry.example.com/x:1"), "registry.example.com/x:1"),
        (with_flow(image="registry.example.com/{{ namespace }}"), "registry.example.com/default"),
        (with_flow(image="registry.example.com/{{ name }}"), None),
        (with_flow(image=None), None),
        (pool(image="{{ prefect.variables.image }}"), None),
        (pool(image={"$ref": {"block_document_id": "x"}}), None),
        ({}, None),
        (prefect_template("process"), None),
    ],
)
def test_the_default_image_is_what_the_worker_would_fill_in(
    template: Template, image: str | None
) -> None:
    """A literal, a default or both together; None where a run's image cannot be known."""
    assert view(template).image == image


@pytest.mark.parametrize(
    ("template", "chooses"),
    [
        (prefect_template(), True),
        (pool(image=""), True),
        (with_flow(image=None), True),
        (with_flow(image="{{ unknown }}"), True),
        (pool(), False),
        (pool(image="{{ prefect.variables.image }}"), False),
        (with_flow(image="registry.example.com/x:1"), False),
        (with_flow(image="registry.example.com/{{ name }}"), False),
        (required("image"), False),
        ({}, False),
    ],
)
def test_the_worker_chooses_the_image_where_nothing_of_the_template_does(
    template: Template, chooses: bool
) -> None:
    """Not where runs must name one, and not where a later look finds one."""
    assert view(template).worker_chooses == chooses


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["python", "-I", "-m", "prefect.engine"], "-I"),
        (["/usr/bin/python3.12", "-uE", "-m", "prefect.engine"], "-uE"),
        ("python -W ignore -X dev -I -m prefect.engine", "-I"),
        ("python3 -Xdev -S -m prefect.engine", "-S"),
        (["/bin/sh", "-c", "exec python -sI -m prefect.engine"], "-sI"),
        (["sh", "-c", "echo it's up; python -I flow.py"], "-I"),
        ("{{ command }}", "-I"),
        (["python", "-m", "prefect.engine", "-I"], None),
        (["python", "-c", "import x", "-E"], None),
        (["python", "-WI", "-m", "prefect.engine"], None),
        (["python", "-s", "-u", "-P", "flow.py", "-I"], None),
        (["pythonic", "-I"], None),
        (["tini", "-I", "--", "prefect", "flow-run", "execute"], None),
        ("prefect flow-run execute", None),
        ([5, None, "python"], None),
        (None, None),
    ],
)
@pytest.mark.parametrize("place", ["command", "args", "configuration"])
def test_a_python_that_ignores_its_environment_is_noted(
    place: str, command: Any, option: str | None
) -> None:
    """Wherever the template says how runs start; an option of what Python runs is none of it."""
    template = with_flow(args=None)
    template["variables"]["properties"]["command"]["default"] = "python -I -m prefect.engine"
    template["job_configuration"]["command"] = None
    if place == "configuration":
        template["job_configuration"]["command"] = command
    else:
        flow_of(template)[place] = command
    notes = view(template).notes
    assert [one.split()[5] for one in notes] == ([f"{option},"] if option else [])


def test_a_configured_image_is_the_default_once_it_is_merged() -> None:
    """After merging, the pool's default image is the one that the configuration names."""
    merged = merge(prefect_template(), fragment(default_image="registry.example.com/base:3"))
    assert view(merged).image == "registry.example.com/base:3"


def with_namespace(value: Any, *, default: Any = "default", manifest: Any = None) -> Template:
    template = pool()
    configuration = template["job_configuration"]
    configuration["namespace"] = value
    if value is None:
        del configuration["namespace"]
    if manifest is not None:
        configuration["job_manifest"]["metadata"]["namespace"] = manifest
    template["variables"]["properties"]["namespace"]["default"] = default
    return template


@pytest.mark.parametrize(
    ("template", "namespace"),
    [
        (pool(), "default"),
        (with_namespace("{{ namespace }}", default="jobs"), "jobs"),
        (with_namespace("{{ namespace }}", default=None), "default"),
        (with_namespace("jobs"), "jobs"),
        (with_namespace("{{ namespace }}-jobs", default="a"), "a-jobs"),
        (with_namespace("{{ name }}-jobs"), None),
        (with_namespace("{{ namespace }}", default="{{ prefect.variables.ns }}"), None),
        (with_namespace(None, manifest="jobs"), "jobs"),
        ({}, None),
    ],
)
def test_the_job_namespace_is_where_the_worker_would_create_the_job(
    template: Template, namespace: str | None
) -> None:
    """The configuration's namespace counts, the worker's own default where it has none."""
    assert view(template).location == namespace


@pytest.mark.parametrize(
    ("template", "policy"),
    [
        (pool(), "IfNotPresent"),
        (with_flow(imagePullPolicy="Always"), "Always"),
        (with_flow(imagePullPolicy=None), None),
        ({}, None),
    ],
)
def test_the_pull_policy_is_what_the_worker_would_fill_in(
    template: Template, policy: str | None
) -> None:
    """A literal or a default; None where Kubernetes decides."""
    assert view(template).pull_policy == policy


def with_contexts(flow: Any, pod: Any = None, **defaults: Any) -> Template:
    """Security contexts of container and pod, and variables with these defaults."""
    template = with_flow(securityContext=flow)
    if pod is not None:
        pod_of(template)["securityContext"] = pod
    properties = template["variables"]["properties"]
    properties |= {name: {"default": value} for name, value in defaults.items()}
    return template


CONTEXT = {"runAsUser": 1000, "runAsGroup": 0}


@pytest.mark.parametrize(
    ("template", "ids"),
    [
        (with_contexts(CONTEXT), (1000, 0)),
        (with_contexts(None), (None, None)),
        (with_contexts(None, CONTEXT), (1000, 0)),
        (with_contexts({"runAsUser": 5}, CONTEXT), (5, 0)),
        (with_contexts({"runAsUser": "{{ uid }}"}), (None, None)),
        (with_contexts({"runAsUser": "{{ uid }}"}, CONTEXT), (1000, 0)),
        (with_contexts({"runAsUser": "{{ uid }}"}, CONTEXT, uid=5), (5, 0)),
        (with_contexts({"runAsUser": "{{ uid }}"}, CONTEXT, uid=None), (1000, 0)),
        (with_contexts("{{ context }}", context=CONTEXT), (1000, 0)),
        (with_contexts("{{ context }}", {"runAsUser": 7}, context=None), (7, None)),
        (with_contexts(None, "{{ context }}", context=CONTEXT), (1000, 0)),
        (with_contexts({"runAsUser": "root"}, []), (None, None)),
        ({}, (None, None)),
    ],
)
def test_the_user_is_what_a_run_would_have(
    template: Template, ids: tuple[int | None, int | None]
) -> None:
    """Each number is the container's, else the pod's, with the defaults of variables; None where
    the image decides, or a run."""
    assert view(template).user == ids


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (None, ()),
        ([{"name": "pull"}, {"name": "more"}], ("pull", "more")),
        ([{"name": "{{ namespace }}-pull"}, {"name": "{{ name }}"}, "x", {}], ("default-pull",)),
        ("{{ secrets }}", ()),
    ],
)
def test_the_pull_secrets_of_runs_are_those_that_the_template_tells(
    given: object, names: tuple[str, ...]
) -> None:
    """Others are not known before a run."""
    template = prefect_template()
    pod_of(template)["imagePullSecrets"] = given
    assert view(template).pull_secrets == names
