"""merge, remove and find on templates as people write them."""

import copy
import json
from typing import Any

import pytest

from flowdeps.api.names import mounted_name
from flowdeps.delivery.choice import find
from flowdeps.delivery.kinds.kubernetes.merge import merge, remove
from flowdeps.delivery.methods.install import RESTRICTED
from tests.unit.delivery.samples import (
    Template,
    accepted_by_the_server,
    customised,
    flow_of,
    fragment,
    pod_of,
    pool,
    same,
    with_flow,
)

HOME = "/opt/flowdeps"
OWN_PATH = f"{HOME}/boot:{HOME}/site:{HOME}/image/0:{HOME}/image/1:{HOME}/image/2:{HOME}/image/3"


def named(items: list[Any], name: str) -> Any:
    [found] = [item for item in items if item["name"] == name]
    return found


def python_path(env: list[Any]) -> list[Any]:
    return [entry for entry in env if entry["name"] == "PYTHONPATH"]


@pytest.mark.parametrize("template", [pool(), customised()], ids=["prefect", "customised"])
def test_removing_restores_the_template_to_the_letter(template: Template) -> None:
    """remove(merge(t, f)) is t, with the order of keys, and merge leaves t itself alone."""
    before = copy.deepcopy(template)
    merged = merge(template, fragment())
    assert merged != template
    assert same(remove(merged), before)
    assert same(template, before)


@pytest.mark.parametrize("template", [pool(), customised()], ids=["prefect", "customised"])
def test_a_fragment_replaces_the_one_before_it(template: Template) -> None:
    """Merging f2 over f1 equals merging f2, and merging the same again changes nothing."""
    first, second = fragment(), fragment(keys=("web",), default="web", version="0.2.0")
    assert same(merge(merge(template, first), second), merge(template, second))
    assert same(merge(merge(template, first), first), merge(template, first))


def test_find_says_what_merge_wrote() -> None:
    """find returns owner, version, variable, keys and default, and None before and after."""
    merged = merge(pool(), fragment(default="ml", variable="packages"))
    found = find(merged)
    assert found is not None
    assert (found.owner, found.version, found.variable) == (
        "flowdeps/flowdeps",
        "0.1.0",
        "packages",
    )
    assert (found.keys, found.default) == (("etl", "ml"), "ml")
    assert find(pool()) is None
    assert find(remove(merged)) is None


def test_the_variable_offers_the_keys_and_says_what_they_are() -> None:
    """Prefect's UI shows a list of none and the keys, and the description names the sets."""
    merged = merge(pool(), fragment(default="ml"))
    schema = merged["variables"]["properties"]["dependency_set"]
    assert schema["anyOf"][0]["enum"] == schema["else"]["enum"] == ["none", "etl", "ml"]
    assert schema["default"] == "ml"
    assert "ml: team-a/ml: pandas, pyarrow" in schema["description"]
    assert "none: the image alone" in schema["description"]


def test_the_server_accepts_the_result_and_checks_the_choice() -> None:
    """Prefect's own validation accepts the template and refuses a key that is not offered."""
    merged = merge(customised(), fragment())
    assert accepted_by_the_server(merged, dependency_set="ml") == []
    assert accepted_by_the_server(merged) == []
    message, *_ = accepted_by_the_server(merged, dependency_set="nope")
    assert "'nope' is not one of ['none', 'etl', 'ml']" in message


@pytest.mark.parametrize(
    "value",
    [
        "{{ prefect.variables.team_set }}",
        "{{prefect.variables.team-set}}",
        "ml-{{ prefect.variables.ml_revision }}",
    ],
)
def test_a_prefect_variable_may_choose_the_set(value: str) -> None:
    """The server takes a text with one, as a deployment's value and as the pool's default."""
    merged = merge(customised(), fragment())
    assert accepted_by_the_server(merged, dependency_set=value) == []
    merged["variables"]["properties"]["dependency_set"]["default"] = value
    assert accepted_by_the_server(merged) == []


@pytest.mark.parametrize("value", ["{{ team_set }}", "{{ prefect.blocks.x.y }}", "", ["ml"], 3])
def test_what_can_be_no_key_is_refused_by_the_server(value: Any) -> None:
    """With the keys in the message, whatever it is."""
    message, *_ = accepted_by_the_server(merge(pool(), fragment()), dependency_set=value)
    assert "is not one of ['none', 'etl', 'ml']" in message


@pytest.mark.parametrize("value", ["httpx>=0.27 rich", ["httpx>=0.27", "rich"], [], ""])
def test_extras_may_be_a_text_or_a_list(value: str | list[str]) -> None:
    """The server takes both, and no list of anything else."""
    merged = merge(customised(), fragment())
    assert accepted_by_the_server(merged, extra_py_deps=value) == []
    for wrong in ([1], {"httpx": "0.27"}, 3):
        assert accepted_by_the_server(merged, extra_py_deps=wrong) != []


def test_the_install_container_has_what_the_worker_does_not_fill_in() -> None:
    """Image, pull policy, user, directory and resources are those of the flow's container."""
    template = with_flow(
        workingDir="/srv", securityContext={"runAsUser": 1000, "runAsNonRoot": True, "tty": 1}
    )
    install = named(pod_of(merge(template, fragment()))["initContainers"], "flowdeps-install")
    assert install["image"] == "{{ image }}"
    assert install["imagePullPolicy"] == "{{ image_pull_policy }}"
    assert install["workingDir"] == "/srv"
    assert install["resources"] == flow_of(template)["resources"]
    assert install["securityContext"] == {
        "runAsUser": 1000,
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@pytest.mark.parametrize("given", [[{"configMapRef": {"name": "settings"}}], "{{ env_from }}"])
def test_the_install_container_has_the_variables_that_the_flow_has_from_elsewhere(
    given: Any,
) -> None:
    """PYTHONPATH may be among them: ours hides it from the flow, so the script has to see it. What
    says what to install is ours alone."""
    template = with_flow(envFrom=given)
    for choice in (fragment(), fragment(extras=False)):
        merged = merge(template, choice)
        install = named(pod_of(merged)["initContainers"], "flowdeps-install")
        assert install["envFrom"] == given
        assert {"FLOWDEPS_SET", "FLOWDEPS_EXTRAS"} <= {one["name"] for one in install["env"]}
        assert same(remove(merged), template)


def with_context_of_runs(**schema: Any) -> Template:
    """A template whose runs choose the whole security context by a variable."""
    template = with_flow(securityContext="{{ security_context }}")
    template["variables"]["properties"]["security_context"] = {"type": "object", **schema}
    return template


@pytest.mark.parametrize(
    ("default", "user"),
    [
        (
            {"runAsUser": 1000, "runAsNonRoot": True, "privileged": False},
            {"runAsUser": 1000, "runAsNonRoot": True},
        ),
        ({}, {}),
    ],
)
def test_a_security_context_that_runs_choose_gives_its_default_user(
    default: dict[str, Any], user: dict[str, Any]
) -> None:
    """A namespace may refuse a pod with one container that does not say that it is no root."""
    template = with_context_of_runs(default=default)
    merged = merge(template, fragment())
    install = named(pod_of(merged)["initContainers"], "flowdeps-install")
    context = install["securityContext"]
    assert {key: value for key, value in context.items() if key.startswith("runAs")} == user
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert flow_of(merged)["securityContext"] == "{{ security_context }}"
    assert same(remove(merged), template)


@pytest.mark.parametrize("schema", [{}, {"default": None}, {"default": "x"}])
def test_a_security_context_without_a_default_is_the_configurations(schema: Any) -> None:
    """Runs of such a pool are served where the configuration knows their user."""
    given = fragment(security_context={"runAsNonRoot": True})
    merged = merge(with_context_of_runs(**schema), given)
    install = named(pod_of(merged)["initContainers"], "flowdeps-install")
    assert install["securityContext"] == {**RESTRICTED, "runAsNonRoot": True}


def test_the_operators_configuration_wins_over_the_flows_container() -> None:
    """Configured resources, security context and variables stand in the install container."""
    proxy = {"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}
    given = fragment(
        resources={"limits": {"memory": "1Gi"}},
        security_context={"runAsUser": 5},
        env=(proxy,),
    )
    template = with_flow(securityContext={"runAsUser": 1000})
    install = named(pod_of(merge(template, given))["initContainers"], "flowdeps-install")
    assert install["resources"] == {"limits": {"memory": "1Gi"}}
    assert install["securityContext"] == {**RESTRICTED, "runAsUser": 5}
    assert proxy in install["env"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, RESTRICTED),
        ({"runAsUser": 5}, {**RESTRICTED, "runAsUser": 5}),
        ({"readOnlyRootFilesystem": False}, {**RESTRICTED, "readOnlyRootFilesystem": False}),
        (
            {"capabilities": {"add": ["NET_RAW"]}},
            {**RESTRICTED, "capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}},
        ),
        ({"capabilities": {"drop": None}}, {**RESTRICTED, "capabilities": {}}),
        (
            {"seccompProfile": {"type": "Localhost", "localhostProfile": "flows.json"}},
            {
                **RESTRICTED,
                "seccompProfile": {"type": "Localhost", "localhostProfile": "flows.json"},
            },
        ),
        (dict.fromkeys(RESTRICTED), {}),
        (
            {"seLinuxOptions": {"level": "s0:c1,c2", "user": None}},
            {**RESTRICTED, "seLinuxOptions": {"level": "s0:c1,c2"}},
        ),
    ],
)
def test_a_security_context_adds_to_the_restricted_one(given: Any, wanted: Any) -> None:
    """What the configuration says is merged over the defaults; null takes a default away."""
    merged = merge(pool(), fragment(security_context=given))
    install = named(pod_of(merged)["initContainers"], "flowdeps-install")
    assert install["securityContext"] == wanted


def test_the_script_reaches_the_container_as_it_is() -> None:
    """Nothing in our command is a Prefect placeholder or a Kubernetes reference."""
    install = named(pod_of(merge(pool(), fragment()))["initContainers"], "flowdeps-install")
    for text in install["command"]:
        for sign in ("{{", "$(", "$$"):
            assert sign not in text


def test_the_install_container_comes_after_the_templates_own() -> None:
    """Init containers of others, which may fetch certificates, run before ours."""
    names = [one["name"] for one in pod_of(merge(customised(), fragment()))["initContainers"]]
    assert names == ["certificates", "flowdeps-install"]


def test_a_pool_may_forbid_extras() -> None:
    """Then neither the variable nor its value in the install container is there."""
    merged = merge(pool(), fragment(extras=False))
    assert "extra_py_deps" not in merged["variables"]["properties"]
    [install] = pod_of(merged)["initContainers"]
    assert named(install["env"], "FLOWDEPS_EXTRAS")["value"] == ""
    assert "extra_py_deps" not in json.dumps(install["env"])
    assert "extra_py_deps" in merge(merged, fragment())["variables"]["properties"]
    assert same(merge(merge(pool(), fragment()), fragment(extras=False)), merged)


def test_the_variable_for_extras_is_empty_text_unless_somebody_sets_it() -> None:
    """Every value that names packages is accepted, and nothing else."""
    merged = merge(pool(), fragment(extras_variable="more"))
    assert merged["variables"]["properties"]["more"]["default"] == ""
    assert accepted_by_the_server(merged, more="httpx>=0.27 rich") == []
    assert accepted_by_the_server(merged, more="{{ prefect.variables.my_packages }}") == []
    assert accepted_by_the_server(merged, more=7) != []


def test_a_fragment_of_the_previous_version_is_replaced() -> None:
    """One without extras and credentials gives way, and its removal restores the template."""
    older = merge(pool(), fragment(extras=False, version="0.1.0"))
    pod = pod_of(older)
    pod["volumes"] = [one for one in pod["volumes"] if one["name"] != "flowdeps-credentials"]
    [install] = pod["initContainers"]
    install["volumeMounts"] = install["volumeMounts"][::2]
    assert "flowdeps-credentials" not in json.dumps([pod["volumes"], install["volumeMounts"]])
    assert same(remove(older), pool())
    newer = fragment(version="0.2.0")
    assert same(merge(older, newer), merge(pool(), newer))


def test_a_missing_config_map_never_keeps_a_run_pending() -> None:
    """Volume and digest are optional, so the install container starts and can say what is wrong."""
    merged = merge(pool(), fragment())
    volume = named(pod_of(merged)["volumes"], "flowdeps-lock")
    assert volume["configMap"] == {
        "name": mounted_name("{{ dependency_set }}", pool="kubernetes"),
        "optional": True,
    }
    digest = named(flow_of(merged)["env"], "FLOWDEPS_LOCK")
    assert digest["valueFrom"]["configMapKeyRef"]["optional"] is True


def test_the_env_placeholder_gives_way_to_a_list() -> None:
    """What the worker fills into {{ env }} it puts before our list, so the list may replace it."""
    assert flow_of(merge(pool(), fragment()))["env"] == [
        {"name": "FLOWDEPS_SET", "value": "{{ dependency_set }}"},
        {
            "name": "FLOWDEPS_LOCK",
            "valueFrom": {
                "configMapKeyRef": {
                    "name": mounted_name("{{ dependency_set }}", pool="kubernetes"),
                    "key": "digest",
                    "optional": True,
                }
            },
        },
        {"name": "PYTHONPATH", "value": OWN_PATH},
    ]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param(
            [{"name": "PYTHONPATH", "value": "/srv:$(LIB)"}],
            [{"name": "PYTHONPATH", "value": f"{HOME}/boot:{HOME}/site:/srv:$(LIB)"}],
            id="value",
        ),
        pytest.param(
            [{"name": "PYTHONPATH", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
            [
                {"name": "PYTHONPATH", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
                {"name": "PYTHONPATH", "value": f"{HOME}/boot:{HOME}/site:$(PYTHONPATH)"},
            ],
            id="reference",
        ),
        pytest.param(
            [
                {"name": "PYTHONPATH", "value": "/a"},
                {"name": "PYTHONPATH", "value": "/b:$(PYTHONPATH)"},
            ],
            [
                {"name": "PYTHONPATH", "value": "/a"},
                {"name": "PYTHONPATH", "value": f"{HOME}/boot:{HOME}/site:/b:$(PYTHONPATH)"},
            ],
            id="twice",
        ),
        pytest.param(
            [
                {"name": "PYTHONPATH", "value": "/a"},
                {"name": "PYTHONPATH", "value": "$(PYTHONPATH)"},
            ],
            [
                {"name": "PYTHONPATH", "value": "/a"},
                {"name": "PYTHONPATH", "value": "$(PYTHONPATH)"},
                {"name": "PYTHONPATH", "value": f"{HOME}/boot:{HOME}/site:$(PYTHONPATH)"},
            ],
            id="itself",
        ),
        pytest.param(
            [{"name": "PYTHONPATH", "value": ""}],
            [
                {"name": "PYTHONPATH", "value": ""},
                {"name": "PYTHONPATH", "value": f"{HOME}/boot:{HOME}/site"},
            ],
            id="empty",
        ),
    ],
)
def test_a_search_path_in_the_containers_list_stays_behind_ours(
    entries: list[Any], expected: list[Any]
) -> None:
    """The last PYTHONPATH in the list decides, so ours leads there, and removing restores it."""
    template = with_flow(env=entries)
    merged = merge(template, fragment())
    assert python_path(flow_of(merged)["env"]) == expected
    assert same(remove(merged), template)


@pytest.mark.parametrize("value", ["/srv/lib", "", ":/srv", "$(PYTHONPATH)"])
def test_a_search_path_in_the_workers_variables_stays_behind_ours(value: str) -> None:
    """The worker drops our entry in favour of its own variables, so ours leads the value there."""
    leading = f"{HOME}/boot:{HOME}/site:{value}" if value else f"{HOME}/boot:{HOME}/site"
    by_default, by_configuration, by_list = pool(), pool(), pool()
    by_default["variables"]["properties"]["env"]["default"] = {"A": "1", "PYTHONPATH": value}
    by_configuration["job_configuration"]["env"] = {"PYTHONPATH": value}
    entry = {"name": "PYTHONPATH", "value": value}
    by_list["variables"]["properties"]["env"]["default"] = [dict(entry)]

    merged = merge(by_default, fragment())
    assert merged["variables"]["properties"]["env"]["default"]["PYTHONPATH"] == leading
    assert same(remove(merged), by_default)
    merged = merge(by_configuration, fragment())
    assert merged["job_configuration"]["env"]["PYTHONPATH"] == leading
    assert same(remove(merged), by_configuration)
    merged = merge(by_list, fragment())
    assert merged["variables"]["properties"]["env"]["default"] == [entry | {"value": leading}]
    assert same(remove(merged), by_list)


def test_a_pool_without_an_image_gets_the_configured_one() -> None:
    """The configured image becomes the pool's default, for both containers, until removal."""
    template = pool(image=None)
    merged = merge(template, fragment(default_image="registry.example.com/base:3"))
    assert merged["variables"]["properties"]["image"]["default"] == "registry.example.com/base:3"
    assert same(remove(merged), template)

    template = with_flow(image=None)
    merged = merge(template, fragment(default_image="registry.example.com/base:3"))
    assert flow_of(merged)["image"] == "registry.example.com/base:3"
    install = named(pod_of(merged)["initContainers"], "flowdeps-install")
    assert install["image"] == "registry.example.com/base:3"
    assert same(remove(merged), template)


def test_an_image_that_somebody_set_meanwhile_stays() -> None:
    """Removal takes our default image out only where it is still ours."""
    merged = merge(pool(image=None), fragment(default_image="registry.example.com/base:3"))
    merged["variables"]["properties"]["image"]["default"] = "registry.example.com/theirs:1"
    assert same(remove(merged), pool(image="registry.example.com/theirs:1"))


def test_a_required_image_needs_no_default() -> None:
    """Where every run has to name its image, the server sees to it that there is one."""
    template = pool(image=None)
    template["variables"]["required"] = ["image"]
    assert same(remove(merge(template, fragment())), template)


@pytest.mark.parametrize("empty", [None, "absent"])
def test_missing_places_are_made_and_taken_away_again(empty: str | None) -> None:
    """Absent and null lists and mappings come back as they were."""
    template = with_flow(image="registry.example.com/flows:1")
    paths: list[tuple[Any, str]] = [
        (template, "variables"),
        (pod_of(template), "volumes"),
        (pod_of(template), "initContainers"),
        (flow_of(template), "env"),
        (flow_of(template), "volumeMounts"),
        (template["job_configuration"]["job_manifest"]["spec"]["template"], "metadata"),
    ]
    for parent, key in paths:
        parent.pop(key, None)
        if empty is None:
            parent[key] = None
    merged = merge(template, fragment())
    assert find(merged) is not None
    assert same(remove(merged), template)


def test_what_others_write_after_us_survives() -> None:
    """Additions, changed defaults and the order of keys are there after re-merge and removal."""
    merged = merge(pool(), fragment())
    merged = json.loads(json.dumps(merged, sort_keys=True))
    pod, flow = pod_of(merged), flow_of(merged)
    pod["volumes"].append({"name": "theirs", "emptyDir": {}})
    pod["initContainers"].append({"name": "theirs"})
    flow["env"].insert(0, {"name": "THEIRS", "value": "1"})
    flow["volumeMounts"].append({"name": "theirs", "mountPath": "/theirs"})
    pod["containers"].append({"name": "sidecar"})
    manifest = merged["job_configuration"]["job_manifest"]
    manifest["spec"]["template"]["metadata"]["labels"]["theirs"] = "yes"
    merged["variables"]["properties"]["namespace"]["default"] = "theirs"

    expected = json.loads(json.dumps(pool(), sort_keys=True))
    pod_of(expected)["volumes"] = [{"name": "theirs", "emptyDir": {}}]
    pod_of(expected)["initContainers"] = [{"name": "theirs"}]
    flow_of(expected)["env"] = [{"name": "THEIRS", "value": "1"}]
    flow_of(expected)["volumeMounts"] = [{"name": "theirs", "mountPath": "/theirs"}]
    pod_of(expected)["containers"].append({"name": "sidecar"})
    manifest = expected["job_configuration"]["job_manifest"]
    manifest["spec"]["template"]["metadata"] = {"labels": {"theirs": "yes"}}
    expected["variables"]["properties"]["namespace"]["default"] = "theirs"

    assert remove(merged) == expected
    assert remove(merge(merged, fragment())) == expected
    assert merge(merged, fragment()) == merge(expected, fragment())


def _without_install(template: Template) -> None:
    del pod_of(template)["initContainers"]


def _without_volumes(template: Template) -> None:
    del pod_of(template)["volumes"][0]


def _with_another_image(template: Template) -> None:
    named(pod_of(template)["initContainers"], "flowdeps-install")["image"] = "x"


def _with_another_path(template: Template) -> None:
    named(flow_of(template)["env"], "PYTHONPATH")["value"] = f"{HOME}/site"


def _without_label(template: Template) -> None:
    metadata = template["job_configuration"]["job_manifest"]["spec"]["template"]["metadata"]
    del metadata["labels"]["flowdeps.dev/set"]


def _with_fewer_keys(template: Template) -> None:
    template["variables"]["properties"]["dependency_set"]["else"]["enum"] = ["none"]


@pytest.mark.parametrize(
    "damage",
    [
        _without_install,
        _without_volumes,
        _with_another_image,
        _with_another_path,
        _without_label,
        _with_fewer_keys,
    ],
)
def test_a_damaged_fragment_is_healed(damage: Any) -> None:
    """What a hand takes out of our fragment, the next merge puts back, and removal still works."""
    whole = merge(pool(), fragment())
    damaged = copy.deepcopy(whole)
    damage(damaged)
    assert damaged != whole
    assert merge(damaged, fragment()) == whole
    assert same(remove(merge(damaged, fragment())), pool())


@pytest.mark.parametrize("replaced", [None, "x", [1], [{"path": "x", "now": 1}], [{"path": []}]])
def test_a_damaged_marker_is_no_error(replaced: Any) -> None:
    """remove takes out what it knows by name, whatever somebody made of the marker."""
    merged = merge(pool(), fragment())
    merged["variables"]["properties"]["dependency_set"]["flowdeps.dev"]["replaced"] = replaced
    left = remove(merged)
    assert find(left) is None
    assert "flowdeps" not in json.dumps(left)


def test_a_container_put_before_the_flows_does_not_stop_removal() -> None:
    """The flow's container is found by its name, also where the worker would not run it."""
    merged = merge(pool(), fragment())
    pod_of(merged)["containers"].insert(0, {"name": "sidecar", "env": []})
    expected = pool()
    pod_of(expected)["containers"].insert(0, {"name": "sidecar", "env": []})
    assert same(remove(merged), expected)


def test_the_name_of_the_variable_may_change() -> None:
    """A fragment under another variable takes the place of the old one, everywhere."""
    template = merge(pool(), fragment())
    renamed = merge(template, fragment(variable="packages"))
    assert "{{ dependency_set }}" not in json.dumps(renamed)
    assert same(remove(renamed), pool())


def test_keys_and_default_are_checked() -> None:
    """A fragment with unsorted keys, with none among them, or an unknown default cannot be made."""
    for wrong in ({"keys": ("b", "a")}, {"keys": ("none",)}, {"default": "nope"}):
        with pytest.raises(ValueError, match=r"keys"):
            fragment(**wrong)
    with pytest.raises(ValueError, match="one name"):
        fragment(extras_variable="dependency_set")
