"""values.yaml as a tree of values, each with what the comment above it says.

    ## Image                                     a section of the README
    image:
      # Its tag. Empty: the chart's appVersion.  the description
      # @schema {pattern: '^[a-z]+$'}            what it may be, and `use: <definition>`
      tag: ""

A key is a value by itself, a leaf, where it holds none, or where its comment says what it may be:
what stands below is then its default. Other keys hold values; of these a comment says at most which
values go together (`if`, `then`).
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

_KEY = re.compile(r"( *)([A-Za-z][A-Za-z0-9]*):")
_SCHEMA = "@schema "


class ValuesError(ValueError):
    """values.yaml is not in the form that is read here; the message says where."""


@dataclass
class Value:
    """One key: `path` from the top, `default`, and what its comment says."""

    path: tuple[str, ...]
    default: Any
    section: str
    description: str = ""
    schema: dict[str, Any] = field(default_factory=dict)
    children: list["Value"] = field(default_factory=list)

    @property
    def leaf(self) -> bool:
        return not self.children


def read_values(text: str) -> list[Value]:
    """The values of a text, as a tree."""
    top: list[Value] = []
    document = yaml.safe_load(text)
    section, comment = "", list[str]()
    parents: list[Value] = []
    leaf_depth: float = math.inf
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if bare.startswith("## "):
            section, comment = bare.removeprefix("## "), []
        elif bare.startswith("#"):
            comment.append(bare.removeprefix("#").removeprefix(" "))
        elif not bare:
            comment = []
        elif match := _KEY.match(line):
            depth = len(match[1]) // 2
            if depth > leaf_depth:
                if comment:
                    raise ValuesError(f"line {number}: a comment inside a value; put it above")
                continue
            parents = parents[:depth]
            path = (*(parents[-1].path if parents else ()), match[2])
            value = Value(path, _at(document, path), section, *_said(comment, number))
            (parents[-1].children if parents else top).append(value)
            parents.append(value)
            leaf_depth = depth if value.schema.keys() - {"if", "then"} else math.inf
            comment = []
    _check(top)
    return top


def leaves(values: list[Value]) -> Iterator[Value]:
    """The values by themselves, in order."""
    for value in values:
        if value.leaf:
            yield value
        else:
            yield from leaves(value.children)


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        document = document[name]
    return document


def _said(comment: list[str], number: int) -> tuple[str, dict[str, Any]]:
    """The description and the schema in a comment."""
    start = next((i for i, line in enumerate(comment) if line.startswith(_SCHEMA)), len(comment))
    schema = yaml.safe_load("\n".join(comment[start:]).removeprefix(_SCHEMA)) or {}
    if not isinstance(schema, dict):
        raise ValuesError(f"line {number}: what follows @schema is not a mapping")
    return " ".join(comment[:start]), schema


def _check(values: list[Value]) -> None:
    for value in leaves(values):
        if not value.description:
            raise ValuesError(f"{'.'.join(value.path)}: no comment says what it is")
