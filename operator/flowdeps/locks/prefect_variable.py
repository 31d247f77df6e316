"""Reads requirements in a Prefect variable: a text as for ``EXTRA_PY_DEPS``, or a list.

A list, also as JSON in a text, has a requirement an item. A text is a requirements file (see
`requirements_file`) whose lines may hold several requirements: ``pandas >=2, <3 pyarrow``.

In a text a space divides two requirements where a letter or digit follows it, unless a sign that
wants more (``<>=!~,[(@;``) comes before it. A marker, which begins at ``;``, reaches to the end of
its line.
"""

import json
import re
from collections.abc import Iterator

from flowdeps.locks.requirements_file import (
    MAX_LINES,
    RequirementsFile,
    collect,
    logical_lines,
    too_large,
)

_GAP = re.compile(r"(?<=[^\s<>=!~,\[(@;])\s+(?=[A-Za-z0-9])")
_EXAMPLE = 'write a text such as "pandas>=2 pyarrow", or a list of texts'


def parse_variable(value: object) -> RequirementsFile:
    """Read a Prefect variable's value; of 2,000 requirements and 256 KiB at most; never raises."""
    if isinstance(value, list):
        return _list(value)
    if not isinstance(value, str):
        return _refused(f"the value is {_kind(value)}; {_EXAMPLE}")
    if problem := too_large(value):
        return _refused(problem)
    if value.lstrip("\ufeff \t\r\n").startswith("["):
        try:
            return _list(json.loads(value.lstrip("\ufeff")))
        except (ValueError, RecursionError):
            return _refused(f"the text begins like a JSON list, but is none; {_EXAMPLE}")
    return collect(_requirements(value))


def _list(values: list[object]) -> RequirementsFile:
    texts = [value for value in values if isinstance(value, str)]
    if len(values) > MAX_LINES:
        return _refused(f"the list has {len(values):,} items, {MAX_LINES:,} are allowed; divide it")
    if problem := too_large(" ".join(" ".join(text.splitlines()) for text in texts)):
        return _refused(problem)
    others = tuple(
        f"item {number}: {_kind(value)}; {_EXAMPLE}"
        for number, value in enumerate(values, start=1)
        if not isinstance(value, str)
    )
    found = collect(
        (f"item {number}", value)
        for number, value in enumerate(values, start=1)
        if isinstance(value, str)
    )
    return RequirementsFile(found.lines, others[:5] + found.problems)


def _requirements(text: str) -> Iterator[tuple[str, str]]:
    for number, line in logical_lines(text):
        # What follows a flag may be its value: nobody can tell.
        flag = re.search(r"(?<!\S)-", line)
        before, rest = (line[: flag.start()], line[flag.start() :]) if flag else (line, "")
        plain, semicolon, marker = before.partition(";")
        words = _GAP.split(plain.strip())
        words[-1] += semicolon + marker
        for word in (*words, rest):
            if word.strip():
                yield f"line {number}", word.strip()


def _refused(problem: str) -> RequirementsFile:
    return RequirementsFile((), (problem,))


def _kind(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true or false"
    kinds = {str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), "of an unknown kind")
