"""Reads JSON mappings and reports all problems, not only the first.

A getter returns None where a field is absent, null (an API server drops nulls) or wrong; what
is wrong is added to `problems`, and then nobody may use the result. The fields that getters ask
for are the known ones: `close`, which `build` calls, refuses all others.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from flowdeps.api.durations import parse_bytes, parse_duration
from flowdeps.api.problems import Problem
from flowdeps.api.wording import shorten

T = TypeVar("T")
_AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?([KMGTPE]i|[numkMGTPE]|[eE][0-9]{1,2})?")
Check = Callable[[str], str | None]
"""Returns what is wrong with a text and what to do; None: nothing."""

_KINDS = {
    type(None): "nothing",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
}


def kind_of(value: object) -> str:
    """Name the kind of a JSON value in plain words."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return _KINDS.get(type(value), type(value).__name__)


def shown(value: object) -> str:
    """Quote a JSON value for a message. Mappings and lists are only named: with aliases of YAML
    a short text may hold more than fits in memory."""
    if isinstance(value, Mapping | list | tuple):
        return kind_of(value)
    try:
        return shorten(repr(value), 80)
    except ValueError:  # a whole number of very many digits
        return kind_of(value)


class Fields:
    """One mapping of a document, at `path`; problems are appended to `problems`.

    `given`: the document has a mapping there, not something else or nothing.
    `values`: that mapping as it is, else an empty one.
    """

    def __init__(self, value: object, *, path: str, problems: list[Problem]) -> None:
        self._path = path
        self._problems = problems
        self._known: list[str] = []
        self.values: Mapping[Any, Any] = {}
        self.given = isinstance(value, Mapping)
        if isinstance(value, Mapping):
            self.values = value
        elif value is not None:
            wrong = f"{kind_of(value)} is given where fields are needed"
            problems.append(Problem(path, wrong))

    def path(self, name: str) -> str:
        """Return the path of the field `name`."""
        return f"{self._path}.{name}" if self._path else name

    def has(self, name: str) -> bool:
        """Tell whether the field `name` is given, right or wrong."""
        return self.values.get(name) is not None

    def problem(self, name: str, message: str) -> None:
        """Report what is wrong with the field `name`."""
        self._problems.append(Problem(self.path(name), message))

    def text(
        self, name: str, *, required: bool = False, limit: int = 256, check: Check | None = None
    ) -> str | None:
        """Read a text of at most `limit` characters that `check` accepts."""
        value = self._get(name, required=required)
        return None if value is None else self._text(name, value, limit, check)

    def texts(
        self, name: str, *, most: int = 64, limit: int = 256, check: Check | None = None
    ) -> tuple[str, ...] | None:
        """Read a list of at most `most` texts."""
        items = self._list(name, most=most)
        if items is None:
            return None
        found = (self._text(f"{name}[{at}]", item, limit, check) for at, item in enumerate(items))
        texts = tuple(filter(None, found))
        return texts if len(texts) == len(items) else None

    def boolean(self, name: str) -> bool | None:
        """Read true or false."""
        value = self._get(name)
        if value is None or isinstance(value, bool):
            return value
        self.problem(name, f"{shown(value)} is given; write true or false without quotes")
        return None

    def integer(self, name: str, *, least: int, most: int) -> int | None:
        """Read a whole number from `least` to `most`."""
        value = self._get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self.problem(name, f"{shown(value)} is not a whole number; write one without quotes")
        elif not least <= value <= most:
            self.problem(name, f"{shown(value)} is out of range; choose {least} to {most}")
        else:
            return value
        return None

    def duration(
        self, name: str, *, check: Check | None = None, zero: str | None = None
    ) -> timedelta | None:
        """Read a duration such as `24h`; `zero`: why it may not be 0 (None: it may)."""
        found = self._parsed(name, parse_duration, check)
        if zero and found == timedelta():
            self.problem(name, f"0s {zero}")
            return None
        return found

    def memory(self, name: str) -> int | None:
        """Read an amount of memory such as `2Gi`, in bytes."""
        return self._parsed(name, parse_bytes)

    def quantities(self, name: str) -> None:
        """Check a mapping of amounts, as Kubernetes writes them: numbers, or texts with a unit."""
        amounts = self.child(name)
        for one, value in zip(amounts.names(), amounts.values.values(), strict=True):
            number = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
            if not number and not (isinstance(value, str) and _AMOUNT.fullmatch(value)):
                wrong = f"{shown(value)} is not an amount; write it such as 100m or 512Mi"
                amounts.problem(one, wrong)

    def named_texts(
        self, name: str, *, limit: int, check: Check | None = None
    ) -> Mapping[str, str] | None:
        """Read a mapping of names to texts, which may be empty."""
        texts = self.child(name)
        for one in texts.names():
            if texts.values.get(one) != "":
                texts.text(one, limit=limit, check=check)
        return texts.values or None

    def child(self, name: str, *, required: bool = False) -> "Fields":
        """Return the fields below `name`; none where it is absent."""
        value = self._get(name, required=required)
        return Fields(value, path=self.path(name), problems=self._problems)

    def children(self, name: str, *, most: int) -> list["Fields"]:
        """Return the fields of each item of the list `name`; none where it is absent."""
        children = []
        for index, item in enumerate(self._list(name, most=most) or ()):
            at = f"{name}[{index}]"
            if item is None:
                self.problem(at, "an empty item; fill it in or remove it")
            children.append(Fields(item, path=self.path(at), problems=self._problems))
        return children

    def names(self) -> tuple[str, ...]:
        """Return the names in the mapping that no getter has asked for."""
        names = (name for name in self.values if name not in self._known)
        return tuple(name if isinstance(name, str) else shown(name) for name in names)

    def build(self, make: Callable[..., T], **values: Any) -> T:
        """Close, and call `make` with those `values` that are not None."""
        self.close()
        return make(**{name: value for name, value in values.items() if value is not None})

    def close(self) -> None:
        """Refuse the fields that no getter has asked for."""
        for name in self.names():
            near = difflib.get_close_matches(name, self._known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self._known)}"
            self.problem(name, f"unknown field; {hint}")

    def _get(self, name: str, *, required: bool = False) -> Any:
        if name not in self._known:
            self._known.append(name)
        value = self.values.get(name)
        if value is None and required:
            self.problem(name, "missing; add it")
        return value

    def _text(self, name: str, value: object, limit: int, check: Check | None) -> str | None:
        if isinstance(value, int | float):
            example = ', as in "3.10"' if isinstance(value, float) else ""
            wrong = f"{shown(value)} without quotes is no text; put it in quotes{example}"
        elif not isinstance(value, str):
            wrong = f"{kind_of(value)} is given where a text is needed"
        elif not value:
            wrong = "empty; fill it in or remove it"
        elif len(value) > limit:
            wrong = f"{len(value)} characters; at most {limit} fit"
        elif check and (found := check(value)):
            wrong = found
        else:
            return value
        self.problem(name, wrong)
        return None

    def _list(self, name: str, *, most: int) -> Sequence[Any] | None:
        value = self._get(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            wrong = f"{kind_of(value)} is given where a list is needed; write `- ` items"
            self.problem(name, wrong)
        elif len(value) > most:
            self.problem(name, f"{len(value)} items; at most {most} fit")
        else:
            return value
        return None

    def _parsed(self, name: str, parse: Callable[[str], T], check: Check | None = None) -> T | None:
        text = self.text(name, limit=32, check=check)
        try:
            return None if text is None else parse(text)
        except ValueError as error:
            self.problem(name, str(error))
            return None
