"""Base job templates as people make them: Prefect's own, customised in any combination.

Every template can carry the fragment; names and paths of ours never occur in it.
"""

import copy
import json
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from flowdeps.delivery.choice import Choice
from flowdeps.delivery.kinds.kind import Fragment
from flowdeps.delivery.methods.cache import Cache
from flowdeps.delivery.methods.install import Install
from flowdeps.delivery.methods.method import Pieces
from flowdeps.delivery.methods.volume import Volume
from flowdeps.delivery.placeholders import placeholder
from tests.unit.delivery.samples import Template, flow_of, pod_of, pool

ABSENT = object()
_names = st.sampled_from(["alpha", "beta", "gamma", "delta"])
_texts = st.sampled_from(["", "x", "{{ namespace }}", "a {{ name }} b", "$(HOME)/lib", "ünï"])
_json = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | _texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_names, inner, max_size=2),
    max_leaves=4,
)
_paths = st.sampled_from(
    ["", "/srv", ":/srv", "/a:$(PYTHONPATH)", "$(PYTHONPATH)", "{{ name }}:/x"]
)
_references = st.builds(lambda name: {"secretKeyRef": {"name": name, "key": "k"}}, _names)
_variables = st.builds(lambda name, value: {"name": name, "value": value}, _names, _texts)
_secrets = st.builds(lambda name, source: {"name": name, "valueFrom": source}, _names, _references)
_python_paths = st.builds(lambda value: {"name": "PYTHONPATH", "value": value}, _paths) | st.builds(
    lambda source: {"name": "PYTHONPATH", "valueFrom": source}, _references
)
_env_lists = st.lists(_variables | _secrets | _python_paths | st.just("{{ name }}"), max_size=4)
_value_lists = st.lists(
    _variables | _secrets | st.builds(lambda v: {"name": "PYTHONPATH", "value": v}, _paths),
    max_size=3,
)
_env_values = st.dictionaries(_names | st.just("PYTHONPATH"), _paths, max_size=3)
_items = st.lists(
    st.builds(lambda name, more: {"name": name, "more": more}, _names, _json), max_size=3
)
array_schemas: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"type": "array"},
        {"type": ["array", "null"]},
        {"anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "null"}]},
    ]
)


def _is_no_placeholder(value: Any) -> bool:
    return placeholder(value) is None


def _optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.just(ABSENT) | st.none() | strategy


def put(draw: st.DrawFn, parent: dict[str, Any], key: str, value: Any) -> None:
    """Write or take out one key, at the position it has or anywhere."""
    items = [(name, old) for name, old in parent.items() if name != key]
    if value is not ABSENT:
        items.insert(draw(st.integers(0, len(items))), (key, value))
    parent.clear()
    parent.update(items)


def give_by_variable(draw: st.DrawFn, template: Template, parent: Any, key: str) -> None:
    """Let a variable give a list, as people do in several ways."""
    name = draw(st.sampled_from([key, f"my-{key}"]))
    schema = {"title": key, **draw(array_schemas)}
    put(draw, schema, "default", draw(_optional(_items)))
    put(draw, parent, key, draw(st.sampled_from(["{{ %s }}", "{{%s}}"])) % name)
    put(draw, template["variables"]["properties"], name, schema)


@st.composite
def templates(draw: st.DrawFn) -> Template:
    """A template that can carry the fragment."""
    template = pool(image=draw(st.sampled_from(["registry.example.com/a:1", None])))
    configuration, pod, flow = template["job_configuration"], pod_of(template), flow_of(template)
    pod_template = configuration["job_manifest"]["spec"]["template"]
    properties = template["variables"]["properties"]
    labels = st.dictionaries(_names, _texts, max_size=2)
    by_labels = st.sampled_from(["{{ labels }}", "{{ pod_labels }}"])
    metadata = st.just("{{ metadata }}") | st.fixed_dictionaries(
        {}, optional={"labels": labels | by_labels | st.none(), "x": _json}
    )

    put(draw, pod, "volumes", draw(_optional(_items)))
    put(draw, pod, "initContainers", draw(_optional(_items)))
    put(draw, pod, "alpha", draw(_optional(_json)))
    put(draw, flow, "volumeMounts", draw(_optional(_items)))
    put(draw, flow, "env", draw(_optional(st.just("{{ env }}") | _env_lists)))
    put(draw, flow, "envFrom", draw(_optional(_items)))
    put(draw, flow, "securityContext", draw(_optional(_json.filter(_is_no_placeholder))))
    put(draw, flow, "resources", draw(_optional(_json)))
    if draw(st.booleans()):
        put(draw, flow, "image", draw(_optional(st.just("registry.example.com/{{ name }}"))))
    put(draw, pod_template, "metadata", draw(_optional(metadata)))
    put(draw, configuration, "labels", draw(_optional(labels | by_labels)))
    put(draw, properties["env"], "default", draw(_optional(_env_values | _value_lists)))
    put(draw, properties, draw(_names), draw(_json))
    put(draw, template["variables"], "required", draw(_optional(st.lists(_names, max_size=2))))
    put(draw, template, "alpha", draw(_optional(_json)))
    worker_env = st.just("{{ env }}") | _env_values | st.lists(_variables, max_size=2)
    put(draw, configuration, "env", draw(_optional(worker_env)))
    by_variable = draw(st.booleans())
    for parent, key in (
        (pod, "volumes"),
        (pod, "initContainers"),
        (flow, "volumeMounts"),
        (flow, "env"),
    ):
        if by_variable and draw(st.booleans()):
            give_by_variable(draw, template, parent, key)
    undeclared = flow.get("env") != "{{ env }}" or configuration.get("env") == "{{ env }}"
    if (
        not by_variable
        and undeclared
        and flow.get("image") not in {None, "{{ image }}"}
        and draw(st.booleans())
    ):
        if draw(st.booleans()):
            del template["variables"]["properties"]
        else:
            put(draw, template, "variables", draw(_optional(st.just({}))))
    return template


_installs = st.builds(Install, resources=st.none() | st.just({"limits": {"memory": "1Gi"}}))
_methods = _installs | st.builds(
    Cache,
    install=_installs,
    claim=st.sampled_from([None, "cache"]),
    host_path=st.sampled_from(["/var/cache/a", "/var/cache/b"]),
)


@st.composite
def fragments(draw: st.DrawFn) -> Fragment:
    """A fragment of one owner."""
    keys = tuple(sorted(draw(st.sets(st.sampled_from(["etl", "ml", "web"])))))
    return Fragment(
        owner="flowdeps/flowdeps",
        version=draw(st.sampled_from(["0.1.0", "0.2.0"])),
        pool=draw(st.sampled_from(["kubernetes", "other"])),
        variable=draw(st.sampled_from(["dependency_set", "packages"])),
        keys=keys,
        default=draw(st.sampled_from(["none", *keys])),
        default_image=draw(
            st.sampled_from(["registry.example.com/b:1", "registry.example.com/c:1"])
        ),
        method=draw(_methods),
        extras=draw(st.booleans()),
        extras_variable=draw(st.sampled_from(["extra_py_deps", "extras"])),
    )


@dataclass(frozen=True)
class AnyMethod:
    """A method that gives these pieces, whatever the choice is."""

    given: Pieces

    def pieces(self, choice: Choice) -> Pieces:  # noqa: ARG002
        """Return the pieces."""
        return self.given


def _pieces_of(prefix: str, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["lock", "site", "INSTALL", "SET"]).map(lambda name: prefix + name)
    content = st.fixed_dictionaries({"name": names, **more}, optional={"more": _json})
    return st.lists(content, max_size=2, unique_by=lambda one: str(one["name"])).map(tuple)


_directories = st.sampled_from(["/opt/flowdeps", "/opt/flowdeps/site", "/opt/flowdeps/boot"])
_contexts = st.dictionaries(st.sampled_from(["runAsUser", "privileged"]), _json, max_size=2)
_pieces = st.builds(
    Pieces,
    volumes=_pieces_of("flowdeps-"),
    init_containers=_pieces_of("flowdeps-")
    | _pieces_of("flowdeps-", image=_texts, securityContext=_contexts),
    flow_mounts=_pieces_of("flowdeps-", mountPath=_directories),
    flow_env=_pieces_of("FLOWDEPS_", value=_texts),
    python_path=st.lists(_directories, max_size=2, unique=True).map(tuple),
    image_path=st.lists(_directories, max_size=2, unique=True).map(tuple),
    path_source=st.none()
    | st.just({"configMapKeyRef": {"name": "flowdeps-x", "key": "pythonPath"}}),
    labels=st.dictionaries(st.sampled_from(["flowdeps.dev/set", "flowdeps.dev/x"]), _texts),
)
_volumes = st.builds(Volume, claim=_names)


@st.composite
def any_fragments(draw: st.DrawFn) -> Fragment:
    """A fragment of one owner, whose method is Install, Volume or any other."""
    fragment = draw(fragments())
    methods = st.just(fragment.method) | _volumes | st.builds(AnyMethod, _pieces)
    return replace(fragment, method=draw(methods))


def lists_of(template: Template) -> list[list[Any]]:
    """The lists of pod and flow container in which pieces go, as far as they are there."""
    pod, flow = pod_of(template), flow_of(template)
    lists = [pod.get("volumes"), pod.get("initContainers")]
    lists += [flow.get("volumeMounts"), flow.get("env")]
    return [one for one in lists if isinstance(one, list)]


@st.composite
def edits(draw: st.DrawFn, template: Template) -> Template:
    """The merged template after somebody else changed things outside our fragment."""
    edited = copy.deepcopy(template)
    pod, flow = pod_of(edited), flow_of(edited)
    for items in lists_of(edited):
        for number in range(draw(st.integers(0, 2))):
            items.insert(draw(st.integers(0, len(items))), {"name": f"added-{number}"})
    put(draw, edited["variables"]["properties"], "added", draw(_json))
    put(draw, flow, "added", draw(_json))
    pod["containers"].append({"name": "added"})
    if draw(st.booleans()):  # a database may give keys back in its own order
        edited = json.loads(json.dumps(edited, sort_keys=True))
    return edited
