"""The resource's fields, from the schema in crds/."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from scripts.reference.cel import messages
from scripts.reference.tables import code, table

_RESOURCE = Path(__file__).parents[2] / "crds" / "flowdependencysets.yaml"
_LIMITS = (
    ("minLength", "maxLength", "characters"),
    ("minItems", "maxItems", "items"),
    ("minimum", "maximum", ""),
)
Schema = dict[str, Any]


@cache
def _version() -> Schema:
    document = yaml.safe_load(_RESOURCE.read_text(encoding="utf-8"))
    version: Schema = document["spec"]["versions"][0]
    return version


def _top() -> Schema:
    top: Schema = _version()["schema"]["openAPIV3Schema"]
    return top


def spec() -> str:
    """A section for each field of `spec`, and what its parts may be."""
    own = _top()["properties"]["spec"]
    parts = [own["description"], "\n"]
    rules = [*_told(_top() | {"properties": {}}, "metadata.name")]
    parts += _list([*_told(own | {"properties": {}}, "spec"), *rules])
    for name, field in own["properties"].items():
        parts.append(f"\n### spec.{name}\n\n{field['description']}\n\n{_kind(field)}\n")
        rows = list(_rows(field, name))
        if rows:
            parts.append("\n" + table(("field", "type", "meaning"), rows))
        parts += _list(_told(field, name))
    return "".join(parts)


def status() -> str:
    """All fields of `status` in one table."""
    return table(("field", "type", "meaning"), _rows(_top()["properties"]["status"], "status"))


def columns() -> str:
    """What `kubectl get` shows; with priority only with `-o wide`."""
    rows = [
        (
            one["name"],
            "" if one.get("priority") else "always",
            one.get("description", ""),
            code(one["jsonPath"]),
        )
        for one in _version()["additionalPrinterColumns"]
    ]
    shown = [(name, always or "`-o wide`", path, meaning) for name, always, meaning, path in rows]
    return table(("column", "shown", "from", "meaning"), shown)


def _rows(field: Schema, path: str) -> Iterator[tuple[str, str, str]]:
    """A row for each field below one."""
    within, path = (field["items"], f"{path}[]") if "items" in field else (field, path)
    required = within.get("required", ())
    for name, part in within.get("properties", {}).items():
        needed = "required; " if name in required and not path.startswith("status") else ""
        yield code(f"{path}.{name}"), needed + _kind(part), part.get("description", "")
        yield from _rows(part, f"{path}.{name}")


def _kind(field: Schema) -> str:
    """What a value may be: type, choices, limits and default."""
    items = field.get("items", {})
    kind = f"list of {_plural(items)}" if items else str(field.get("format", field["type"]))
    said = [kind.replace("int32", "integer").replace("int64", "integer")]
    if choices := field.get("enum"):
        said = ["one of " + ", ".join(code(choice) for choice in choices)]
    for low, high, unit in _LIMITS:
        if (most := field.get(high)) is not None and not choices:
            least = field.get(low)
            said.append(f"{'at most ' if least is None else f'{least} to '}{most} {unit}".strip())
    if "maxLength" in items and "enum" not in items:
        said.append(f"each at most {items['maxLength']} characters")
    if "default" in field:
        said.append(f"default {code(str(field['default']).removesuffix('.0'))}")
    return ", ".join(said).replace("default `False`", "default `false`")


def _plural(items: Schema) -> str:
    if choices := items.get("enum"):
        return " and ".join(code(choice) for choice in choices)
    return {"object": "objects"}.get(items["type"], f"{items['type']}s")


def _list(told: Iterable[tuple[str, str]]) -> Iterator[str]:
    """What the API server says to values that a rule refuses."""
    found = list(dict.fromkeys(told))
    if found:
        yield "\nRefused with:\n\n"
        yield from (f"- {code(where)}: {code(message)}\n" for where, message in found)


def _told(field: Schema, path: str) -> Iterator[tuple[str, str]]:
    for rule in field.get("x-kubernetes-validations", ()):
        where = (
            f"{path}{rule['fieldPath']}"
            if path != "metadata.name" and "fieldPath" in rule
            else path
        )
        for message in messages(rule):
            yield where, message.removeprefix("metadata.name: ")
    for name, part in field.get("properties", {}).items():
        yield from _told(part, f"{path}.{name}")
    if "items" in field:
        yield from _told(field["items"], f"{path}[]")
