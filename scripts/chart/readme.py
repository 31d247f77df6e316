"""The tables of values in the chart's README: one a section, between two marks.

A list of mappings has a row for each of their fields, `config.workPools[].name`, but where the
whole list is a definition: those are Kubernetes' own types.
"""

import json
from collections.abc import Iterator
from typing import Any

from scripts.chart.comments import Value, leaves

BEGIN, END = "<!-- values: made by python -m scripts.chart -->", "<!-- end of values -->"


def with_tables(text: str, values: list[Value], schema: dict[str, Any]) -> str:
    """The README with its tables made anew."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{''.join(_tables(values, schema))}\n{END}{after}"


def _tables(values: list[Value], schema: dict[str, Any]) -> Iterator[str]:
    section = None
    for value in leaves(values):
        if value.section != section:
            section = value.section
            yield f"\n### {section}\n\n| value | default | meaning |\n|---|---|---|\n"
        path = ".".join(value.path)
        yield _row(path, _default(value.default), value.description)
        if "use" not in value.schema:
            yield from _fields(path, _at(schema, value.path).get("items", {}))


def _fields(path: str, items: dict[str, Any]) -> Iterator[str]:
    for name, field in items.get("properties", {}).items():
        here = f"{path}[].{name}"
        needed = "required" if name in items.get("required", ()) else ""
        yield _row(here, needed, field["description"])
        for inner, part in field.get("properties", {}).items():
            if field.get("additionalProperties") is False and "description" in part:
                yield _row(f"{here}.{inner}", "", part["description"])


def _at(schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        schema = schema["properties"][name]
    return schema


def _default(default: Any) -> str:
    return "" if default in ("", [], {}) else f"`{json.dumps(default, ensure_ascii=False)}`"


def _row(*cells: str) -> str:
    return (
        "| `"
        + cells[0]
        + "` | "
        + " | ".join(cell.replace("|", "\\|") for cell in cells[1:])
        + " |\n"
    )
