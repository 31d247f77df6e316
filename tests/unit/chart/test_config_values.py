"""`config` of the chart's values against the parser of the operator's configuration."""

from typing import Any

import pytest
import yaml

from flowdeps.api.config import Config, parse_config
from flowdeps.api.problems import InvalidError
from scripts.chart import CHART, ROOT
from scripts.chart.comments import read_values
from scripts.chart.schema import build

_TEXT = (CHART / "values.yaml").read_text()
_SCHEMA = build(
    read_values(_TEXT),
    yaml.safe_load((ROOT / "scripts" / "chart" / "definitions.yaml").read_text()),
)["properties"]["config"]

_SECTIONS = [
    "",
    "index",
    "resolver",
    "limits",
    "images",
    "pods",
    "pods.tolerations[]",
    "environments",
    "environments.pushSecretRef",
    "vulnerabilities",
    "workPools[]",
    "workPools[].install",
    "workPools[].install.securityContext",
    "workPools[].install.env[]",
]
# The parser's mappings of any name end with what it makes of one; these are not told apart there.
_RESOURCES = ["pods.resources", "workPools[].install.resources"]


@pytest.mark.parametrize("section", [*_SECTIONS, *_RESOURCES])
def test_the_schema_knows_the_fields_of_the_parser(section: str) -> None:
    """A field that the operator knows can be set, and no other; Prefect's and those of the Lease
    stand apart, and the chart itself names its policy."""
    apart = {"": {"prefect", "leaderElection"}, "environments": {"policy"}}.get(section, set())
    assert apart <= _known(section)
    assert _at(section)["properties"].keys() == _known(section) - apart


def _at(section: str) -> dict[str, Any]:
    schema: dict[str, Any] = _SCHEMA
    for step in section.split(".") if section else ():
        schema = schema["properties"][step.removesuffix("[]")]
        schema = schema["items"] if step.endswith("[]") else schema
    return schema


def _known(section: str) -> set[str]:
    """The fields of a section, as the parser tells them to somebody who wrote another."""
    document: dict[str, Any] = {"?": "?"}
    for step in reversed(section.split(".") if section else []):
        document = {step.removesuffix("[]"): [document] if step.endswith("[]") else document}
    with pytest.raises(InvalidError) as refused:
        parse_config(document)
    told = next(one.message for one in refused.value.problems if "known: " in one.message)
    return set(told.partition("known: ")[2].split(", "))


@pytest.mark.parametrize(
    ("path", "least", "most"),
    [
        ("resolver.concurrency", 1, 64),
        ("pods.concurrency", 1, 64),
        ("limits.setsPerNamespace", 1, 100_000),
        ("httpPort", 1024, 65535),
    ],
)
def test_bounds_of_numbers_are_the_parsers(path: str, least: int, most: int) -> None:
    """What the schema takes the parser takes; a port below 1024 is nothing for a user."""
    schema: dict[str, Any] = _SCHEMA
    for name in path.split("."):
        schema = schema["properties"][name]
    assert (schema["minimum"], schema["maximum"]) == (least, most)
    parse_config(_document(path, least))
    parse_config(_document(path, most))
    with pytest.raises(InvalidError):
        parse_config(_document(path, most + 1))


def _document(path: str, value: Any) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def test_defaults_are_the_operators() -> None:
    """What values.yaml has for `config` and `prefect` means the operator's own defaults."""
    values = yaml.safe_load(_TEXT)
    known = ("pollInterval", "artifacts", "events")
    prefect = {name: values["prefect"][name] for name in known}
    config = parse_config(_filled({**values["config"], "prefect": prefect}))
    default = Config()
    assert config.resolver.cache_directory == "/var/cache/flowdeps"
    for name in Config.__dataclass_fields__:
        if name != "resolver":
            assert getattr(config, name) == getattr(default, name), name
    for name in ("concurrency", "timeout", "memory"):
        assert getattr(config.resolver, name) == getattr(default.resolver, name), name


def test_the_memory_limit_leaves_room_for_resolutions() -> None:
    """By default the container may take what its resolutions may, and the operator itself."""
    values = yaml.safe_load(_TEXT)
    resolver = parse_config(_filled(values["config"])).resolver
    limit = int(values["resources"]["limits"]["memory"].removesuffix("Gi")) * 2**30
    assert limit >= resolver.concurrency * resolver.memory + 512 * 2**20


def _filled(values: Any) -> Any:
    """Values without what is empty, as the chart renders them."""
    if isinstance(values, dict):
        inner = {name: _filled(value) for name, value in values.items()}
        return {name: value for name, value in inner.items() if value not in ("", [], {})}
    return values
