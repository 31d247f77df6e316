"""Recognizes what has nothing to do with sets, for `flowdeps validate --skip-others`.

A hook gets every YAML and JSON file of a repository. Some are templates, which are neither, and
some take long to parse. So a file is parsed only if its text names what is read here. A document
that is meant to be a set, and is not one, is not skipped.
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
