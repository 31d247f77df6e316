"""Bounds and choices stand in the schema and in Python; here they are compared."""

from pathlib import Path
from typing import Any

import yaml

from flowdeps.api import conditions, names, parts, rules, spec, status
from flowdeps.api.durations import parse_duration
from flowdeps.locks.request import Prereleases
from flowdeps.locks.target import PLATFORMS

CRD = yaml.safe_load(
    (Path(__file__).parents[3] / "crds" / "flowdependencysets.yaml").read_text(encoding="utf-8")
)
[SERVED] = CRD["spec"]["versions"]


CHOICES = {
    "spec.updates": spec.Updates,
    "spec.vulnerabilities": spec.OnVulnerable,
    "spec.index.prereleases": Prereleases,
}
PARTS: dict[str, Any] = {
    "lock": status.LockStatus,
    "image": status.ImageStatus,
    "proposed": status.ProposedStatus,
    "vulnerabilities": status.VulnerabilityStatus,
    "revisions": status.RevisionStatus,
    "workPools": status.PoolStatus,
}


def field(path: str) -> dict[str, Any]:
    """The schema of the field at a dotted path; lists stand for their items."""
    schema: dict[str, Any] = SERVED["schema"]["openAPIV3Schema"]
    for name in path.split("."):
        schema = schema.get("items", schema)["properties"][name]
    return schema


def test_the_names_of_the_resource_are_those_of_the_schema() -> None:
    """Group, version, kind and plural are written twice and the same."""
    written = CRD["spec"]["names"]
    assert (CRD["spec"]["group"], SERVED["name"]) == (names.GROUP, names.VERSION)
    assert (written["kind"], written["plural"]) == (names.KIND, names.PLURAL)
    assert CRD["metadata"]["name"] == f"{names.PLURAL}.{names.GROUP}"


def test_the_choices_are_those_of_the_schema() -> None:
    """Versions of Python, platforms and enumerations are the same on both sides."""
    assert tuple(field("spec.python.version")["enum"]) == parts.PYTHON_VERSIONS
    assert field("spec.python.platforms")["items"]["enum"] == list(PLATFORMS)
    for path, choices in CHOICES.items():
        assert tuple(field(path)["enum"]) == tuple(choices)


def test_the_defaults_are_those_of_the_schema() -> None:
    """Defaults are the same on both sides."""
    least = spec.SetSpec()
    assert field("spec.updates")["default"] == least.updates
    assert field("spec.vulnerabilities")["default"] == least.vulnerabilities
    assert field("spec.index.prereleases")["default"] == least.index.prereleases
    assert (field("spec.verify.mode")["default"] == "Enabled") == least.verify.enabled
    assert parse_duration(field("spec.verify.timeout")["default"]) == least.verify.timeout
    assert "15m, or `timeout`" in field("spec.verify.installTimeout")["description"]
    assert least.verify.install_timeout == parse_duration("15m")
    assert parse_duration(field("spec.interval")["default"]) == spec.DEFAULT_INTERVAL
    limit = field("spec.revisionHistoryLimit")["default"]
    assert limit == spec.DEFAULT_REVISION_HISTORY_LIMIT


def test_the_bounds_of_the_status_are_those_of_the_schema() -> None:
    """What to_dict and merge_conditions cut is cut where the schema ends."""
    assert field("status.conditions.message")["maxLength"] == conditions.MESSAGE_LIMIT
    assert field("status.revisions")["maxItems"] == status.REVISIONS_LIMIT
    assert field("status.workPools")["maxItems"] == status.POOLS_LIMIT
    assert field("status.workPools.namespaces")["maxItems"] == limit("workPools", "namespaces")
    assert field("status.lastHandledRefreshAt")["maxLength"] == status.REQUEST_LIMIT
    for where, name in (
        ("revisions", "summary"),
        ("workPools", "message"),
        ("lock", "image"),
        ("image", "name"),
        ("image", "id"),
        ("image", "python"),
        ("proposed", "summary"),
        ("vulnerabilities", "id"),
        ("vulnerabilities", "package"),
        ("vulnerabilities", "version"),
        ("vulnerabilities", "fixed"),
        ("vulnerabilities", "summary"),
    ):
        assert field(f"status.{where}.{name}")["maxLength"] == limit(where, name)
    assert field("status.vulnerabilities")["maxItems"] == status.VULNERABILITIES_LIMIT
    assert field("spec.workPools.key")["maxLength"] == rules.KEY_LIMIT


def limit(where: str, name: str) -> int:
    """The bound of a field in a part of the status."""
    found = PARTS[where].__dataclass_fields__[name].metadata["limit"]
    assert isinstance(found, int)
    return found


def test_the_complete_example_has_every_field() -> None:
    """Each field of the spec stands in examples/complete.yaml, those of sources at one of both."""
    text = (Path(__file__).parents[3] / "examples" / "complete.yaml").read_text(encoding="utf-8")
    sets = [one for one in yaml.safe_load_all(text) if one["kind"] == names.KIND]
    assert "# revision: " in text
    used = set[str]().union(*(_paths(one["spec"]) for one in sets)) | {".revision"}
    forms = {"constraintsFrom": "requirementsFrom"}
    assert _renamed(used, forms) == _renamed(_fields(field("spec")), forms)


def _renamed(paths: set[str], names: dict[str, str]) -> set[str]:
    return {".".join(names.get(part, part) for part in path.split(".")) for path in paths}


def _fields(schema: dict[str, Any], path: str = "") -> set[str]:
    """The paths below a schema."""
    schema = schema.get("items", schema)
    inner = schema.get("properties", {}).items()
    found = {f"{path}.{name}" for name, _ in inner}
    return found.union(*(_fields(one, f"{path}.{name}") for name, one in inner))


def _paths(value: Any, path: str = "") -> set[str]:
    """The paths below a value."""
    if isinstance(value, list):
        return set[str]().union(*(_paths(one, path) for one in value))
    if not isinstance(value, dict):
        return set()
    found = {f"{path}.{name}" for name in value}
    return found.union(*(_paths(one, f"{path}.{name}") for name, one in value.items()))


def test_every_text_and_list_is_bounded() -> None:
    """No string without maxLength, enum or format, no list without maxItems."""

    def unbounded(schema: dict[str, Any], path: str) -> list[str]:
        found = []
        if schema["type"] == "string" and not {"maxLength", "enum", "format"} & schema.keys():
            found.append(path)
        if schema["type"] == "array" and "maxItems" not in schema:
            found.append(path)
        for name, inner in schema.get("properties", {}).items():
            found += unbounded(inner, f"{path}.{name}")
        return found + (unbounded(schema["items"], f"{path}[]") if "items" in schema else [])

    assert unbounded(field("spec"), "spec") + unbounded(field("status"), "status") == []
