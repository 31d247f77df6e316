"""Templates that cannot carry the fragment: refused with a reason, and left alone."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from flowdeps.delivery.kinds.kind import MergeRefusedError
from flowdeps.delivery.kinds.kubernetes.merge import merge, remove
from tests.unit.delivery.samples import (
    Template,
    flow_of,
    fragment,
    pod_of,
    pool,
    prefect_template,
    same,
    with_flow,
)


def refused(template: Template, **changes: Any) -> MergeRefusedError:
    before = copy.deepcopy(template)
    with pytest.raises(MergeRefusedError) as caught:
        merge(template, fragment(**changes))
    assert template == before
    assert str(caught.value) == caught.value.message
    return caught.value


def with_pod(**changes: Any) -> Template:
    template = pool()
    pod_of(template).update(changes)
    return template


def changed(change: Callable[[Template], object]) -> Template:
    template = pool()
    change(template)
    return template


def manifest_of(template: Template) -> Any:
    return template["job_configuration"]["job_manifest"]


@pytest.mark.parametrize(
    "template",
    [
        {},
        prefect_template("docker"),
        prefect_template("process"),
        changed(lambda t: manifest_of(t).update(kind="Pod")),
        changed(lambda t: t["job_configuration"].update(job_manifest=[])),
    ],
    ids=["empty", "docker", "process", "pod", "list"],
)
def test_a_template_for_other_infrastructure_is_refused(template: Template) -> None:
    """Only the manifest of a Kubernetes Job can carry the fragment."""
    assert refused(template).reason == "NotKubernetes"


@pytest.mark.parametrize(
    "template",
    [
        changed(lambda t: t["job_configuration"].update(job_manifest="{{ manifest }}")),
        changed(lambda t: manifest_of(t).update(spec="{{ spec }}")),
        changed(lambda t: manifest_of(t)["spec"].update(template="{{ pod }}")),
        changed(lambda t: manifest_of(t)["spec"]["template"].update(spec="{{ pod }}")),
    ],
)
def test_a_manifest_that_is_a_placeholder_is_refused(template: Template) -> None:
    """What a variable's value holds cannot be added to."""
    assert refused(template).reason == "ManifestIsPlaceholder"


@pytest.mark.parametrize(
    ("template", "path"),
    [
        (with_pod(volumes="{{ volumes }}"), "template.spec.volumes"),
        (with_pod(initContainers="{{ init }}"), "template.spec.initContainers"),
        (with_pod(containers="{{ containers }}"), "template.spec.containers"),
        (with_flow(volumeMounts="{{ mounts }}"), "prefect-job.volumeMounts"),
        (with_flow(env="{{ more_env }}"), "prefect-job.env"),
        (
            with_flow(image="x") | {"variables": {"properties": "{{ properties }}"}},
            "variables.properties",
        ),
    ],
)
def test_what_is_a_placeholder_is_refused_by_its_path(template: Template, path: str) -> None:
    """Nothing can be joined with a variable that nobody has declared."""
    error = refused(template)
    assert error.reason == "ListIsPlaceholder"
    assert path in error.message


def test_something_else_than_a_list_is_refused_by_its_path() -> None:
    """A place of the wrong type is named, not overwritten."""
    error = refused(with_pod(volumes={"a": 1}))
    assert (error.reason, "template.spec.volumes must be a list" in error.message) == (
        "Malformed",
        True,
    )


@pytest.mark.parametrize(
    "containers", [None, [], [{"name": "sidecar"}, {"name": "prefect-job"}], ["{{ container }}"]]
)
def test_a_template_without_the_flows_container_is_refused(containers: Any) -> None:
    """The worker runs the flow in the first container, which must be named prefect-job."""
    assert refused(with_pod(containers=containers)).reason == "NoPrefectJob"


@pytest.mark.parametrize(
    ("template", "path"),
    [
        (pool(image=None), "variables.properties.image.default"),
        (pool(image=""), "variables.properties.image.default"),
        (prefect_template(), "variables.properties.image.default"),
        (with_flow(image=None), "containers.prefect-job.image"),
        (with_flow(image=""), "containers.prefect-job.image"),
        (with_flow(image="{{ unknown }}"), "variables.properties.unknown.default"),
    ],
)
def test_runs_without_an_image_are_refused_with_what_helps(template: Template, path: str) -> None:
    """An init container without an image would break runs that worked before. Each advice works:
    an image at the path, and one in the configuration where the template has the place for it."""
    error = refused(template)
    assert error.reason == "NoImage"
    assert path in error.message
    image = "registry.example.com/base:3"
    if "workPools[].image" in error.message:
        merge(template, fragment(default_image=image))
    else:
        assert refused(template, default_image=image).message == error.message
    properties = template["variables"]["properties"]
    if path.startswith("variables"):
        properties.setdefault(path.split(".")[2], {})["default"] = image
    else:
        flow_of(template)["image"] = image
    merge(template, fragment())


@pytest.mark.parametrize(
    "template",
    [
        with_pod(volumes=[{"name": "flowdeps-lock"}]),
        with_pod(volumes=[{"name": "flowdeps-credentials"}]),
        with_pod(initContainers=[{"name": "flowdeps-install"}]),
        changed(lambda t: pod_of(t)["containers"].append({"name": "flowdeps-install"})),
        with_flow(env=[{"name": "FLOWDEPS_SET", "value": "x"}]),
        with_flow(env=[{"name": "PYTHONPATH", "value": "/opt/flowdeps/site"}]),
        with_flow(volumeMounts=[{"name": "x", "mountPath": "/opt/flowdeps"}]),
        changed(lambda t: t["variables"]["properties"].update(dependency_set={"type": "string"})),
        changed(lambda t: t["variables"]["properties"].update(extra_py_deps={"type": "string"})),
        changed(
            lambda t: manifest_of(t)["spec"]["template"].update(
                metadata={"labels": {"flowdeps.dev/set": "x"}}
            )
        ),
        changed(
            lambda t: t["job_configuration"].update(env={"PYTHONPATH": "/opt/flowdeps/site:/x"})
        ),
    ],
)
def test_what_has_our_names_without_our_marker_is_somebody_elses(template: Template) -> None:
    """Nothing that no marker vouches for is overwritten."""
    error = refused(template)
    assert error.reason == "NameClash"
    assert "marker" in error.message


def test_a_variable_of_the_extras_name_can_be_kept() -> None:
    """A team that has such a variable already sees how to go on without ours."""
    template = pool()
    template["variables"]["properties"]["extra_py_deps"] = {"type": "string"}
    assert "extraPackages: Forbidden" in refused(template).message
    assert "extraPackages" not in refused(with_pod(volumes=[{"name": "flowdeps-lock"}])).message
    assert same(remove(merge(template, fragment(extras=False))), template)


def test_another_operators_fragment_is_refused_by_its_owner() -> None:
    """Two operators never fight for a pool without saying so."""
    error = refused(merge(pool(), fragment(owner="other/flowdeps")))
    assert error.reason == "OwnedByAnother"
    assert "other/flowdeps" in error.message


@pytest.mark.parametrize("marker", [{}, {"owner": 1}, "flowdeps/flowdeps", None])
def test_a_marker_that_names_no_owner_is_no_marker(marker: Any) -> None:
    """A fragment that nobody owns is a name clash, not ours."""
    template = merge(pool(), fragment())
    template["variables"]["properties"]["dependency_set"]["flowdeps.dev"] = marker
    assert refused(template).reason == "NameClash"


def test_a_search_path_that_nothing_can_precede_is_refused() -> None:
    """The worker puts references last and drops ours, so the set would have no effect."""
    template = pool()
    template["variables"]["properties"]["env"]["default"] = [
        {"name": "PYTHONPATH", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}}
    ]
    error = refused(template)
    assert error.reason == "PythonPathIsReference"
    assert "variables.properties.env.default" in error.message


def with_search_path(
    where: str, value: str = "{{ path }}", *, required: bool = False, **schema: Any
) -> Template:
    """A template that takes a run's search path from a variable."""
    template = pool()
    if where == "container":
        template = with_flow(env=[{"name": "PYTHONPATH", "value": value}])
    else:
        template["job_configuration"]["env"] = {"PYTHONPATH": value}
    template["variables"]["properties"]["path"] = {"type": "string", **schema}
    template["variables"]["required"] = ["path"] if required else []
    return template


@pytest.mark.parametrize("where", ["container", "configuration"])
@pytest.mark.parametrize("schema", [{}, {"default": None}, {"default": ""}])
def test_a_search_path_that_runs_may_leave_empty_is_refused(where: str, schema: Any) -> None:
    """Behind ours an empty entry would be the working directory, in front of Python's own modules,
    also in runs that choose nothing; and the image's path would be lost."""
    error = refused(with_search_path(where, **schema))
    assert error.reason == "PythonPathMayBeEmpty"
    place = "prefect-job.env: " if where == "container" else "job_configuration.env: "
    assert place in error.message
    assert "variables.properties.path.default" in error.message


@pytest.mark.parametrize("where", ["container", "configuration"])
@pytest.mark.parametrize(
    ("value", "variable"),
    [
        ("{{ path }}", {"default": "/srv"}),
        ("{{ path }}", {"required": True}),
        ("{{ path.to }}", {"required": True}),
        ("/srv:{{ path }}", {}),
        ("{{ prefect.variables.path }}", {}),
        ("{{ $PATH }}", {}),
    ],
)
def test_a_search_path_that_runs_have_goes_behind_ours(
    where: str, value: str, variable: dict[str, Any]
) -> None:
    """A default, a variable that each run has to give, or what Prefect knows."""
    template = with_search_path(where, value, **variable)
    merged = merge(template, fragment())
    assert f"/opt/flowdeps/site:{value}" in json.dumps(merged)
    assert same(remove(merged), template)


@pytest.mark.parametrize("schema", [None, {}, {"default": None}])
def test_a_security_context_that_nobody_knows_is_refused_with_what_helps(schema: Any) -> None:
    """Runs that choose no set would fail too, where a namespace wants to know each one's user."""
    template = with_flow(securityContext="{{ security_context }}")
    if schema is not None:
        template["variables"]["properties"]["security_context"] = schema
    error = refused(template)
    assert error.reason == "SecurityContextIsPlaceholder"
    assert "variables.properties.security_context.default" in error.message
    assert "workPools[].install.securityContext" in error.message
