"""Lists and labels that variables give: what runs get of them beside our fragment.

The job manifest is the worker's own, of templates as people have them.
"""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from flowdeps.delivery.kinds.kind import MergeRefusedError
from flowdeps.delivery.kinds.kubernetes.merge import merge, remove
from flowdeps.delivery.kinds.kubernetes.spliced import LIMIT
from tests.cluster import prefect_env
from tests.support.worker import Worker, running
from tests.unit.delivery.samples import (
    Template,
    accepted_by_the_server,
    flow_of,
    fragment,
    pod_of,
    pool,
    same,
)

SECRET = {"secretKeyRef": {"name": "api", "key": "token"}}
WAREHOUSE = {"name": "WAREHOUSE", "valueFrom": SECRET}
TOKEN = {"name": "TOKEN", "valueFrom": SECRET}
PLACES: dict[str, tuple[list[Any], list[Any]]] = {
    "volumes": ([{"name": "results", "emptyDir": {}}], [{"name": "own", "emptyDir": {}}]),
    "initContainers": ([{"name": "certificates", "image": "x"}], [{"name": "own", "image": "x"}]),
    "volumeMounts": (
        [{"name": "results", "mountPath": "/r"}],
        [{"name": "own", "mountPath": "/o"}],
    ),
    "env": ([WAREHOUSE], [TOKEN, {"name": "EMPTY"}, {"name": "A", "value": "1"}]),
}


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with running(prefect_env.bin_directory() / "python") as worker:
        yield worker


def holder(template: Template, key: str) -> Any:
    return flow_of(template) if key in {"volumeMounts", "env"} else pod_of(template)


def by_variable(key: str, **schema: Any) -> Template:
    """A template in which a variable of another name gives a list."""
    template = pool()
    template["variables"]["properties"][f"my_{key}"] = schema
    holder(template, key)[key] = "{{my_" + key + "}}"
    return template


def with_env(
    *, configured: Any = "{{ env }}", placed: Any = "{{ env }}", **schema: Any
) -> Template:
    """A template with this env in job_configuration and in the container."""
    template = pool()
    template["variables"]["properties"]["env"] = schema
    template["job_configuration"]["env"] = configured
    flow_of(template)["env"] = placed
    if configured is None:
        del template["job_configuration"]["env"]
    return template


def merged(template: Template) -> Template:
    """The merged template, which the server takes and which can be undone to the letter."""
    found = merge(template, fragment())
    assert accepted_by_the_server(found) == []
    assert same(remove(found), template)
    assert same(merge(found, fragment()), found)
    return found


def placed(manifest: Any, key: str) -> list[Any]:
    """What others than us and the worker itself have in a list of the manifest."""
    pod = manifest["spec"]["template"]["spec"]
    items = (pod["containers"][0] if key in {"volumeMounts", "env"} else pod).get(key) or []
    ours = ("flowdeps-", "FLOWDEPS_", "PREFECT_", "PYTHONPATH")
    return [one for one in items if not one["name"].startswith(ours)]


@pytest.mark.parametrize("key", PLACES)
def test_a_list_that_a_variable_gives_is_the_runs_own(worker: Worker, key: str) -> None:
    """Its default, what a deployment gives, an empty list or none: all of it and ours."""
    default, own = PLACES[key]
    template = by_variable(key, type="array", default=default)
    found = merged(template)
    given: list[dict[str, Any]] = [{}, {f"my_{key}": own}, {f"my_{key}": []}, {f"my_{key}": None}]
    for one in given:
        without, with_us = worker.manifests((template, one), (found, one))
        assert placed(with_us, key) == placed(without, key)
        assert json.dumps(with_us).count('"flowdeps-install"') == 1
    assert placed(worker.manifests((found, given[1]))[0], key) == own


def test_init_containers_that_a_variable_gives_run_before_ours(worker: Worker) -> None:
    """They may fetch the certificates that ours needs."""
    found = merged(by_variable("initContainers", type="array"))
    [manifest] = worker.manifests((found, {"my_initContainers": [{"name": "own"}]}))
    names = [one["name"] for one in manifest["spec"]["template"]["spec"]["initContainers"]]
    assert names == ["own", "flowdeps-install"]


@pytest.mark.parametrize(
    ("template", "own"),
    [
        (with_env(type="array", default=[WAREHOUSE]), [TOKEN]),
        (with_env(type="array", default=[WAREHOUSE]), [WAREHOUSE | {"value": "x"}, TOKEN, TOKEN]),
        (with_env(type="object", default=[WAREHOUSE]), [TOKEN]),
        (with_env(type="object", default=[WAREHOUSE]), {"A": "1"}),
        (with_env(type="object", configured=[WAREHOUSE]), [TOKEN]),
        (with_env(type="object", configured=[WAREHOUSE]), {"A": "1"}),
        (with_env(type="object", configured=None), [TOKEN]),
        (with_env(type="object", configured=None), {"A": "1"}),
        (with_env(type="object", configured={"A": "1"}), {"B": None}),
        (with_env(type=["object", "array"]), [TOKEN, {"name": "EMPTY"}]),
        (with_env(anyOf=[{"type": "object"}, {"type": "array"}]), [{"name": "A", "value": None}]),
        (with_env(anyOf=[{"type": "object"}, {"type": "array"}]), {"A": "1"}),
        (with_env(), [TOKEN]),
        (with_env(), "{{ prefect.variables.mapping }}"),
        (with_env(), "{{ prefect.variables.entries }}"),
        (with_env(type="object", default="{{ prefect.variables.mapping }}"), {"A": "2"}),
        (with_env(type="array", configured=None, placed=[WAREHOUSE]), [TOKEN]),
    ],
)
def test_env_is_the_runs_own(worker: Worker, template: Template, own: Any) -> None:
    """However pool and deployment give it: what the worker drops without us, and no more."""
    found = merged(template)
    for job in ({}, {"env": own}):
        without, with_us = worker.manifests((template, job), (found, job))
        assert placed(with_us, "env") == placed(without, "env")
        assert "FLOWDEPS_SET" in json.dumps(with_us)


def test_a_variable_in_both_places_reaches_a_run_past_the_default_of_env(worker: Worker) -> None:
    """A default of ``env`` takes the place of the configuration's, whatever is written there."""
    template = with_env(configured="{{ my_env }}", placed="{{ my_env }}", default={"A": "1"})
    template["variables"]["properties"]["my_env"] = {"type": "object"}
    [manifest] = worker.manifests((merged(template), {"my_env": [TOKEN]}))
    assert placed(manifest, "env") == [{"name": "A", "value": "1"}, TOKEN]


@pytest.mark.parametrize("where", ["env", "my_env"])
def test_a_search_path_in_a_deployments_list_wins(worker: Worker, where: str) -> None:
    """It comes after ours, as it comes after the image's without us."""
    template = by_variable("env", type="array", default=[WAREHOUSE])
    if where == "env":
        template = with_env(type="array", default=[WAREHOUSE])
    path = {"name": "PYTHONPATH", "value": "/own"}
    own, plain = worker.manifests((merged(template), {where: [path]}), (merged(template), {}))
    entries = [
        [
            one
            for one in found["spec"]["template"]["spec"]["containers"][0]["env"]
            if one["name"] == "PYTHONPATH"
        ]
        for found in (own, plain)
    ]
    assert entries[0][-1] == path
    assert len(entries[1]) == 1
    assert entries[1][0]["value"].startswith("/opt/flowdeps/")


def test_a_search_path_in_the_default_of_a_list_goes_behind_ours(worker: Worker) -> None:
    """It reaches every run of the pool, so ours has to be in it."""
    default = [{"name": "PYTHONPATH", "value": "/srv"}]
    [manifest] = worker.manifests((merged(by_variable("env", type="array", default=default)), {}))
    env = manifest["spec"]["template"]["spec"]["containers"][0]["env"]
    last = [one["value"] for one in env if one["name"] == "PYTHONPATH"][-1]
    assert re.fullmatch(r"/opt/flowdeps/.*:/srv", last)


@pytest.mark.parametrize("own_list", [True, False])
def test_the_advice_for_a_search_path_by_reference_works_to_the_letter(
    worker: Worker, *, own_list: bool
) -> None:
    """Where the container's env is a list, the entry can go there; its value can be written in any
    case."""
    path = {"name": "PYTHONPATH", "valueFrom": SECRET}
    placed_env: Any = [TOKEN] if own_list else "{{ env }}"
    template = with_env(type="array", default=[WAREHOUSE, path], placed=placed_env)
    with pytest.raises(MergeRefusedError) as caught:
        merge(template, fragment())
    assert (
        "write the value itself, or, if env of the container prefect-job is a list and no "
        "placeholder, move the entry there"
    ) in caught.value.message
    default = template["variables"]["properties"]["env"]["default"]
    if own_list:
        flow_of(template)["env"].append(default.pop())
    else:
        default[1] = {"name": "PYTHONPATH", "value": "/srv"}
    [manifest] = worker.manifests((merged(template), {}))
    env = manifest["spec"]["template"]["spec"]["containers"][0]["env"]
    values = [one.get("value") for one in env if one["name"] == "PYTHONPATH"]
    last = "$(PYTHONPATH)" if own_list else "/srv"
    assert values[-1] == f"/opt/flowdeps/boot:/opt/flowdeps/site:{last}"


@pytest.mark.parametrize("key", PLACES)
def test_a_longer_list_ends_the_run_and_loses_nothing_in_silence(worker: Worker, key: str) -> None:
    """The install container is told of it; the first letter of the choice and white space are what
    it gets otherwise."""
    found = merged(by_variable(key, type="array"))
    long = [{**PLACES[key][1][0], "name": f"N{number}"} for number in range(LIMIT + 1)]
    runs = worker.manifests(*((found, {f"my_{key}": long[:end]}) for end in (LIMIT, LIMIT + 1)))
    beyond = []
    for manifest in runs:
        assert placed(manifest, key) == long[:LIMIT]
        [install] = manifest["spec"]["template"]["spec"]["initContainers"][-1:]
        beyond += [one["value"] for one in install["env"] if one["name"] == "FLOWDEPS_BEYOND"]
    assert [value.strip() == "n" for value in beyond] == [True, False]
    assert beyond[1].startswith("n {")


@pytest.mark.parametrize("key", PLACES)
def test_a_default_that_is_longer_is_refused(key: str) -> None:
    """Else each run that gives no list of its own would end; what the message says helps."""
    item = PLACES[key][1][0]
    default = [{**item, "name": f"N{number}", "mountPath": f"/{number}"} for number in range(101)]
    template = by_variable(key, type="array", default=default)
    with pytest.raises(MergeRefusedError, match="has 101 items") as caught:
        merge(template, fragment())
    assert caught.value.reason == "ListIsPlaceholder"
    assert f".{key}, in place of '{{{{my_{key}}}}}'." in caught.value.message
    holder(template, key)[key] = default
    assert merged(template)
    assert merged(by_variable(key, type="array", default=default[:LIMIT]))


@pytest.mark.parametrize(
    ("pods", "configured"),
    [
        ("{{ labels }}", "{{ labels }}"),
        ("{{ pod_labels }}", None),
        ("{{ pod_labels }}", {"team": "a"}),
        ("{{ pod_labels }}", "{{ labels }}"),
        (None, "{{ labels }}"),
        ({"team": "{{ team }}"}, "{{ labels }}"),
        ("metadata", {"team": "a"}),
        ("metadata", "{{ labels }}"),
    ],
)
def test_labels_of_a_pod_are_the_runs_own(worker: Worker, pods: Any, configured: Any) -> None:
    """Ours is beside them wherever there is a place for it, and two variables leave none."""
    template = pool()
    for name in ("pod_labels", "metadata"):
        template["variables"]["properties"][name] = {"type": "object"}
    template["variables"]["properties"]["team"] = {"type": "string", "default": "b"}
    template["job_configuration"]["labels"] = configured
    where = template["job_configuration"]["job_manifest"]["spec"]["template"]
    where["metadata"] = "{{ metadata }}" if pods == "metadata" else {"labels": pods}
    for parent, key in ((template["job_configuration"], "labels"), (where["metadata"], "labels")):
        if isinstance(parent, dict) and parent[key] is None:
            del parent[key]
    job = {"labels": {"x": "1"}, "pod_labels": {"y": "2"}, "metadata": {"labels": {"z": "3"}}}
    without, with_us = (
        one["spec"]["template"]["metadata"]["labels"]
        for one in worker.manifests((template, job), (merged(template), job))
    )
    nowhere = configured == "{{ labels }}" and pods in ("{{ pod_labels }}", "metadata")
    assert with_us.pop("flowdeps.dev/set", None) == (None if nowhere else "none")
    assert with_us == without


def followed(template: Template, advice: str) -> Template:
    """The template after somebody did what a refusal says, to the letter."""
    changed = copy.deepcopy(template)
    types = re.search(r'write ("type": "\w+") in variables\.properties\.(\w+)', advice)
    if types:
        schema = changed["variables"]["properties"][types[2]]
        schema.update(json.loads("{" + types[1] + "}"))
        if f"and variables.properties.{types[2]}.default as a list" in advice:
            schema["default"] = []
        return changed
    assert "write a list there, with placeholders for its items" in advice
    [path] = re.findall(r"([\w.-]+) is '", advice)
    parent: Any = changed
    *keys, last = path.split(".")
    for key in keys:
        found = [one for one in parent if one["name"] == key] if isinstance(parent, list) else []
        parent = found[0] if found else parent[key]
    parent[last] = ["{{ one }}"]
    changed["variables"]["properties"]["one"] = {"type": "object"}
    return changed


@pytest.mark.parametrize("key", PLACES)
@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"default": []},
        {"type": "string"},
        {"anyOf": [{"type": "string"}, {"type": "array"}]},
        {"anyOf": [{"type": "array"}, {"$ref": "#/definitions/x"}]},
        {"type": "array", "default": "{{ prefect.variables.entries }}"},
        {"default": "{{ prefect.variables.entries }}"},
        None,
    ],
)
def test_the_advice_for_a_variable_that_may_be_text_works_to_the_letter(
    worker: Worker, key: str, schema: dict[str, Any] | None
) -> None:
    """Whoever does what the refusal says can merge, and runs get their list with ours."""
    template = by_variable(key, **(schema or {}))
    variable, own = f"my_{key}", [{**PLACES[key][1][0], "name": "OWN"}]
    if schema is None:  # the server knows no such template, a file may be one
        del template["variables"]["properties"][variable]
    with pytest.raises(MergeRefusedError) as caught:
        merge(template, fragment())
    assert caught.value.reason == "ListIsPlaceholder"
    assert f".{key} is '{{{{my_{key}}}}}'" in caught.value.message
    found = followed(template, caught.value.message)
    job = {variable: own} if schema is not None else {"one": own[0]}
    without, with_us = worker.manifests((found, job), (merged(found), job))
    assert placed(with_us, key) == placed(without, key) == own


def test_the_advice_for_containers_of_a_variable_works_to_the_letter(worker: Worker) -> None:
    """One step is enough: the flow's container is written out, and other values come from runs."""
    template = pool()
    containers = pod_of(template)["containers"]
    pod_of(template)["containers"] = "{{ containers }}"
    template["variables"]["properties"]["containers"] = {"type": "array"}
    with pytest.raises(MergeRefusedError) as caught:
        merge(template, fragment())
    assert "write a list there that begins with the container prefect-job" in caught.value.message
    pod_of(template)["containers"] = [*containers, "{{ sidecar }}"]
    template["variables"]["properties"]["sidecar"] = {"type": "object"}
    job = {"sidecar": {"name": "own", "image": "x"}}
    [manifest] = worker.manifests((merged(template), job))
    names = [one["name"] for one in manifest["spec"]["template"]["spec"]["containers"]]
    assert names == ["prefect-job", "own"]


@pytest.mark.parametrize("key", PLACES)
def test_a_name_of_ours_in_the_default_of_a_list_is_somebody_elses(key: str) -> None:
    """It would come twice in the pod."""
    name = {"env": "FLOWDEPS_SET", "initContainers": "flowdeps-install"}.get(key, "flowdeps-site")
    template = by_variable(key, type="array", default=[{"name": name}])
    with pytest.raises(MergeRefusedError) as caught:
        merge(template, fragment())
    assert caught.value.reason == "NameClash"
    assert key in caught.value.message


def test_what_others_add_to_a_list_that_was_a_variables_stays(worker: Worker) -> None:
    """The variable's items stay beside it, after a removal too, and a removal of theirs heals."""
    template = by_variable("volumes", type="array")
    edited = merge(template, fragment())
    pod_of(edited)["volumes"].append({"name": "theirs", "emptyDir": {}})
    bare = remove(edited)
    assert same(remove(merge(edited, fragment())), bare)
    [manifest] = worker.manifests((bare, {"my_volumes": [{"name": "own", "emptyDir": {}}]}))
    assert [one["name"] for one in manifest["spec"]["template"]["spec"]["volumes"]] == [
        "own",
        "theirs",
    ]
    pod_of(edited)["volumes"].pop()
    del pod_of(edited)["volumes"][3:7]
    assert same(merge(edited, fragment()), merge(template, fragment()))
    assert same(remove(edited), template)
