"""Read the placeholders of a base job template as a worker fills them for a run.

A placeholder ``{{ name }}`` that is a whole value becomes the default of ``variables.properties``;
without a default, or with null, the value is absent. Inside a longer text it becomes text.
``{{ prefect.… }}`` is resolved by the worker later, so such a value cannot be known here.
"""

import re
from collections.abc import Mapping
from typing import Any

_PLACEHOLDER = re.compile(r"{{\s*([\w.\-\[\]$]+)\s*}}")


def placeholder(value: object) -> str | None:
    """Return the variable's name where the value is one placeholder and nothing else."""
    found = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    return found[1] if found else None


def placeholder_of(variable: str) -> str:
    """Return the placeholder that becomes the variable's value."""
    return "{{ " + variable + " }}"


def mapping(value: object) -> Mapping[str, Any]:
    """Return the value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def properties(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schemas of the job variables; empty where there are none."""
    found = mapping(mapping(template.get("variables")).get("properties"))
    return {name: mapping(schema) for name, schema in found.items()}


def never_missing(template: Mapping[str, Any]) -> set[str]:
    """Return the variables that no run lacks: with a default, or with a value that is required."""
    required = mapping(template.get("variables")).get("required")
    with_default = {name for name, schema in properties(template).items() if schema.get("default")}
    names = required if isinstance(required, list) else []
    return with_default | {name for name in names if isinstance(name, str)}


def filled(value: object, schemas: Mapping[str, Any]) -> object:
    """Return the value, or the default of the placeholder that it is; None without a default."""
    name = placeholder(value)
    return value if name is None else schemas.get(name, {}).get("default")


def rendered(value: object, schemas: Mapping[str, Any]) -> str | None:
    """Return the text with every default filled in; None if one is missing or comes later."""
    if not isinstance(value, str):
        return None
    for name in _PLACEHOLDER.findall(value):
        default = schemas.get(name, {}).get("default")
        if not isinstance(default, str | int | float):
            return None
    text = _PLACEHOLDER.sub(lambda found: str(schemas[found[1]]["default"]), value)
    return text if text and "{{" not in text else None
