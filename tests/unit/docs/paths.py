"""All paths that the documentation may write of a field, by where it is one."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

from scripts.chart import CHART
from scripts.reference import DOCS, ROOT


@cache
def known_paths() -> frozenset[str]:
    """Fields of the resource (with and without `spec.`), the configuration and the values."""
    resource = yaml.safe_load((ROOT / "crds" / "flowdependencysets.yaml").read_text())
    schema = resource["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    values = yaml.safe_load((CHART / "values.schema.json").read_text())
    configuration = (DOCS / "configuration.md").read_text()
    found = {
        *_below(schema["spec"], "spec"),
        *_below(schema["spec"], ""),
        *_below(schema["status"], "status"),
        *_below(values, ""),
        *re.findall(r"^\| `([a-zA-Z.\[\]]+)` \|", configuration, re.MULTILINE),
    }
    return frozenset(found | {path.replace("[]", "") for path in found})


def _below(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, part in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield here
        yield from _below(part, here)
        if "items" in part:
            yield f"{here}[]"
            yield from _below(part["items"], f"{here}[]")
