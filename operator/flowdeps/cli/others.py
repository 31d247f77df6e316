"""Files and documents that have nothing to do with sets: `flowdeps validate --skip-others`.

A hook is given every YAML and JSON file of a repository, among them templates, which are neither,
and files that take long to parse. So the text is looked at first, and parsed only where it names
what is read here. What is meant to be a set, and is none, is not passed over.
"""

import re
from typing import Any

from flowdeps.api.names import GROUP, KIND

_NAMES = re.compile(rf"{re.escape(GROUP)}|{KIND}|ConfigMap", re.IGNORECASE)
_HEAD = re.compile(
    rf"""^[ \t{{"'-]*(apiVersion|kind)["']?\s*:\s*["']?({re.escape(GROUP)}/|{KIND}\b)""",
    re.MULTILINE,
)


def worth_parsing(text: str) -> bool:
    """Whether a file may hold a set or a ConfigMap."""
    return _NAMES.search(text) is not None


def meant_as_set(text: str) -> bool:
    """Whether a file that can't be parsed should be one with a set: no template is YAML."""
    return "{{" not in text and _HEAD.search(text) is not None


def concerns(document: Any) -> bool:
    """Whether a document is a set, right or wrong, a ConfigMap, or a list with one of them."""
    if not isinstance(document, dict):
        return False
    kind, version, items = (document.get(name) for name in ("kind", "apiVersion", "items"))
    if isinstance(items, list) and isinstance(kind, str) and kind.endswith("List"):
        return any(map(concerns, items))
    return (
        (kind, version) == ("ConfigMap", "v1")
        or (isinstance(kind, str) and kind.lower() == KIND.lower())
        or (isinstance(version, str) and version.split("/")[0] == GROUP)
    )
