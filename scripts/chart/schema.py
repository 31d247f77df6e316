"""The JSON Schema of the values (draft 7, which every Helm 3 and 4 reads).

Definitions are written out where they are used, since that draft ignores what stands beside a
reference. An empty default means that a value is not given, so it is always allowed. Every mapping
of named values refuses others, and must be there: taking one away (`metrics: null`) would end in a
template's own error.
"""

import json
from collections.abc import Mapping
from typing import Any

from scripts.chart.comments import Value

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}

Schema = dict[str, Any]


def build(values: list[Value], definitions: Mapping[str, Schema]) -> Schema:
    """The schema of the whole."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart flowdeps",
        **_mapping(values, definitions),
    }


def to_text(schema: Schema) -> str:
    """The schema as a file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _mapping(values: list[Value], definitions: Mapping[str, Schema]) -> Schema:
    schema: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {value.path[-1]: _value(value, definitions) for value in values},
    }
    holders = [value.path[-1] for value in values if not value.leaf]
    return {**schema, "required": holders} if holders else schema


def _value(value: Value, definitions: Mapping[str, Schema]) -> Schema:
    described = {"description": value.description} if value.description else {}
    if not value.leaf:
        return {**described, **_mapping(value.children, definitions), **value.schema}
    schema = resolve(value.schema, definitions)
    if "type" not in schema:
        schema = {"type": _TYPES[type(value.default)], **schema}
    if value.default == "":
        schema = _or_empty(schema)
    return {**described, **schema, "default": value.default}


def _or_empty(schema: Schema) -> Schema:
    kept = {name: part for name, part in schema.items() if name != "minLength"}
    return {**kept, "pattern": f"^$|{kept['pattern']}"} if "pattern" in kept else kept


def resolve(schema: Any, definitions: Mapping[str, Schema]) -> Any:
    """A schema with every `use` replaced by what it names; what stands beside it counts more."""
    if isinstance(schema, list):
        return [resolve(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    own = {
        name: part if name in ("examples", "default", "enum") else resolve(part, definitions)
        for name, part in schema.items()
        if name != "use"
    }
    return {**resolve(definitions[schema["use"]], definitions), **own} if "use" in schema else own
