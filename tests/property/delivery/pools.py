"""Pools and the job variables of their deployments, in every way that lists are given.

All of them are what Prefect's server takes, so a worker's manifest can be compared.
"""

import copy
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.property.delivery.strategies import ABSENT, array_schemas, put
from tests.unit.delivery.samples import Template, flow_of, pod_of, pool

_names = st.sampled_from(["alpha", "beta", "gamma"])
_env_names = st.sampled_from(["A", "B", "PATH", "PYTHONPATH", "PREFECT_LOGGING_LEVEL"])
_texts = st.sampled_from(["", "x", "/srv:$(A)", "{{ namespace }}"])
_references = st.builds(lambda name: {"secretKeyRef": {"name": name, "key": "k"}}, _names)
_plain = st.builds(lambda name, value: {"name": name, "value": value}, _env_names, _texts)
_secret = st.builds(
    lambda name, source: {"name": name, "valueFrom": source}, _env_names, _references
)
_bare = st.builds(lambda name: {"name": name}, _env_names)
_null = st.builds(lambda name: {"name": name, "value": None}, _env_names)
_env_mappings = st.dictionaries(_env_names, _texts | st.none(), max_size=3)
_env_lists = st.lists(_plain | _secret | _bare | _null, max_size=5)
_valued_lists = st.lists(_plain | _secret, max_size=5)
_label_mappings = st.dictionaries(_names, st.sampled_from(["x", "{{ namespace }}"]), max_size=2)
_volume_lists = st.lists(st.builds(lambda n: {"name": n, "emptyDir": {}}, _names), max_size=3)
_mount_lists = st.lists(st.builds(lambda n: {"name": n, "mountPath": f"/{n}"}, _names), max_size=3)
_container_lists = st.lists(
    st.builds(lambda n: {"name": n, "image": "registry.example.com/init:1"}, _names), max_size=3
)
_env_schemas = st.sampled_from(
    [
        {"anyOf": [{"type": "object"}, {"type": "array"}]},
        {"type": ["array", "object", "null"]},
        {"type": "array"},
    ]
)


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.just(ABSENT) | strategy


@dataclass(frozen=True)
class Case:
    """A pool's template, and what deployments give to it."""

    template: Template
    job_variables: list[dict[str, Any]]


class _Pool:
    """A pool that is being written, and strategies for its job variables by name."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.template = pool()
        self.variables: dict[str, st.SearchStrategy[Any]] = {}

    def declare(
        self, name: str, schemas: st.SearchStrategy[Any], values: st.SearchStrategy[Any]
    ) -> str:
        """Declare a job variable, often with a default, and return its placeholder."""
        schema = copy.deepcopy(self.draw(schemas))
        put(self.draw, schema, "default", self.draw(_maybe(st.none() | values)))
        self.template["variables"]["properties"][name] = schema
        self.variables[name] = values
        return "{{ " + name + " }}"

    def declare_env(self, name: str) -> str:
        """Declare a job variable for env.

        Prefect checks neither a default nor a changed deployment: a list is given for a mapping.
        """
        if self.draw(st.booleans()):
            return self.declare(name, st.just({"type": "object"}), _env_mappings | _valued_lists)
        return self.declare(name, _env_schemas, _env_mappings | _env_lists)

    def list_at(self, parent: Any, key: str, items: st.SearchStrategy[list[Any]]) -> None:
        """Write a list as it is, by its variable, by variables of its items, or not at all."""
        way = self.draw(st.sampled_from(["literal", "variable", "items", "absent", "null"]))
        value: Any = ABSENT
        if way == "literal":
            value = self.draw(items)
        elif way == "variable":
            value = self.declare(f"my_{key}", array_schemas, items)
        elif way == "items":
            one = items.filter(bool).map(lambda found: found[0])
            value = [
                *self.draw(items),
                self.declare(f"one_{key}", st.just({"type": "object"}), one),
            ]
        elif way == "null":
            value = None
        put(self.draw, parent, key, value)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A pool and two deployments."""
    made = _Pool(draw)
    template = made.template
    configuration, pod, flow = template["job_configuration"], pod_of(template), flow_of(template)
    made.list_at(pod, "volumes", _volume_lists)
    made.list_at(pod, "initContainers", _container_lists)
    made.list_at(flow, "volumeMounts", _mount_lists)

    given = _env_mappings | _env_lists
    env, more = (made.declare_env(name) for name in ("env", "more_env"))
    placeholders = st.sampled_from([env, more])
    put(draw, flow, "env", draw(st.just(env) | _maybe(placeholders | st.none() | _env_lists)))
    put(draw, configuration, "env", draw(st.just(env) | _maybe(placeholders | given)))

    own = made.declare("pod_labels", st.just({"type": "object"}), _label_mappings)
    labels = made.declare("labels", st.just({"type": "object"}), _label_mappings)
    metadata = made.declare("metadata", st.just({"type": "object"}), st.just({"x": "y"}))
    labels_of_a_pod = _maybe(st.sampled_from([own, labels]) | _label_mappings)
    put(draw, configuration, "labels", draw(labels_of_a_pod))
    where = configuration["job_manifest"]["spec"]["template"]
    if draw(st.booleans()):
        where["metadata"] = {}
        put(draw, where["metadata"], "labels", draw(labels_of_a_pod))
    elif draw(st.booleans()):
        where["metadata"] = metadata
    deployment = st.fixed_dictionaries({}, optional=made.variables)
    return Case(template, [draw(deployment) for _ in range(2)])
