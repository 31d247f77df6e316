"""What is generated of the chart is up to date, and its schema leaves nothing open."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

import flowdeps
from scripts.chart import CHART, ROOT, generated
from scripts.chart.comments import ValuesError, leaves, read_values
from scripts.chart.readme import BEGIN, END, with_tables
from scripts.chart.schema import build

_VALUES = read_values((CHART / "values.yaml").read_text())
_SCHEMA = build(
    _VALUES, yaml.safe_load((ROOT / "scripts" / "chart" / "definitions.yaml").read_text())
)


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path: Any) -> None:
    """The schema, the README's tables and the chart's copy of the resource are what
    `python -m scripts.chart` makes."""
    assert path.read_text() == generated()[path]


def test_the_chart_is_of_the_operators_version() -> None:
    """appVersion is the version of the Python package."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == flowdeps.__version__


def test_every_value_is_in_schema_and_readme() -> None:
    """Each leaf of values.yaml has a place in the schema with its default, and a row."""
    readme = (CHART / "README.md").read_text()
    document = yaml.safe_load((CHART / "values.yaml").read_text())
    for value in leaves(_VALUES):
        schema, default = _SCHEMA, document
        for name in value.path:
            schema, default = schema["properties"][name], default[name]
        assert schema["default"] == default
        assert schema["description"]
        assert f"| `{'.'.join(value.path)}` |" in readme


def test_no_value_is_left_out() -> None:
    """The tree that is read from the comments holds all of values.yaml."""
    document = yaml.safe_load((CHART / "values.yaml").read_text())

    def held(values: Any) -> Any:
        return {one.path[-1]: one.default if one.leaf else held(one.children) for one in values}

    assert held(_VALUES) == document


def test_only_types_of_others_are_free() -> None:
    """Mappings take any field only where Kubernetes or a person says which there are."""
    free = {path for path, schema in _objects(_SCHEMA, "") if _open(schema)}
    assert free == {
        "affinity",
        "extraEnv[].valueFrom",
        "extraObjects[]",
        "extraVolumeMounts[]",
        "extraVolumes[]",
        "global",
        "metrics.podMonitor.metricRelabelings[]",
        "metrics.podMonitor.relabelings[]",
        "metrics.serviceMonitor.metricRelabelings[]",
        "metrics.serviceMonitor.relabelings[]",
        "networkPolicy.dns.to[]",
        "networkPolicy.egress[]",
        "networkPolicy.from[]",
        "podSecurityContext",
        "securityContext",
        "topologySpreadConstraints[]",
        *(
            f"config.workPools[].install.securityContext.{name}"
            for name in ("appArmorProfile", "capabilities", "seLinuxOptions", "seccompProfile")
        ),
    }


def test_every_field_of_ours_is_described() -> None:
    """Editors that read the schema explain each field, also those of lists."""
    bare = [
        f"{path}.{name}"
        for path, schema in _objects(_SCHEMA, "")
        for name, field in schema.get("properties", {}).items()
        if not field.get("description") and "properties" not in field
    ]
    assert not bare


def _objects(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = schema.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind):
        yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from _objects(part, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from _objects(schema["items"], f"{path}[]")


def _open(schema: dict[str, Any]) -> bool:
    return schema.get("additionalProperties", True) is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n", "a: no comment says what it is"),
        ("# An a.\n# @schema [1]\na: 1\n", "line 3: what follows @schema is not a mapping"),
        (
            "# An a.\n# @schema {type: object}\na:\n  # A b.\n  b: 1\n",
            "line 5: a comment inside a value; put it above",
        ),
    ],
)
def test_values_that_cannot_be_read_are_refused(text: str, message: str) -> None:
    """A value without a comment, or a comment that would be lost, is named."""
    with pytest.raises(ValuesError) as refused:
        read_values(text)
    assert str(refused.value) == message


def test_a_comment_becomes_schema_and_row() -> None:
    """Description, bounds, default and the fields of a list's items reach both."""
    values = read_values(
        "## Part\n\n"
        "one:\n"
        "  # What it\n  # is | was.\n  # @schema {use: word, maxLength: 9}\n"
        '  two: ""\n'
        "  # A list.\n"
        "  # @schema {type: array, items: {type: object, required: [x], properties:"
        " {x: {use: word, description: Its x.}}}}\n"
        "  three: []\n"
    )
    schema = build(values, {"word": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5}})
    one = schema["properties"]["one"]
    assert schema["required"] == ["one"]
    assert one["additionalProperties"] is False
    assert one["properties"]["two"] == {
        "description": "What it is | was.",
        "type": "string",
        "pattern": "^$|^[a-z]+$",
        "maxLength": 9,
        "default": "",
    }
    text = with_tables(f"before\n{BEGIN}\nold\n{END}\nafter\n", values, schema)
    assert text == (
        f"before\n{BEGIN}\n\n### Part\n\n| value | default | meaning |\n|---|---|---|\n"
        "| `one.two` |  | What it is \\| was. |\n"
        "| `one.three` |  | A list. |\n"
        "| `one.three[].x` | required | Its x. |\n"
        f"\n{END}\nafter\n"
    )
