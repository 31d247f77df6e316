"""The parts of a set's status as values, written as JSON and read from it by one rule.

A field is written under its name in camel case and within its limit, so that what `to_json` returns
keeps to the resource's schema. `parse` reads anything: a part without one of its required texts or
times is None, and so is everything else that makes no sense.
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from flowdeps.api.times import format_time, parse_time
from flowdeps.api.wording import shorten

NAMESPACES_LIMIT = 32
SUMMARY_LIMIT = 1024
POOL_MESSAGE_LIMIT = 1024
IMAGE_LIMIT = 1024
PYTHON_LIMIT = 32
ID_LIMIT = 64
NAME_LIMIT = 128
ABOUT_LIMIT = 256

P = TypeVar("P")


def _required(limit: int) -> Any:
    return field(metadata={"limit": limit})


def _text(limit: int, *, shown_empty: bool = True) -> Any:
    return field(default="", metadata={"limit": limit, "shown_empty": shown_empty})


@dataclass(frozen=True, kw_only=True)
class LockStatus:
    """The lock in service."""

    digest: str
    revision: str
    """The name of its revision."""
    packages: int
    """How many pins it has."""
    python: str
    platforms: tuple[str, ...]
    resolved_at: datetime
    inputs_digest: str
    image: str = _text(IMAGE_LIMIT, shown_empty=False)
    """The image that it is made for; empty where it is made for a version of Python alone."""


@dataclass(frozen=True, kw_only=True)
class RevisionStatus:
    """A published revision."""

    name: str
    digest: str
    created_at: datetime
    summary: str = _text(SUMMARY_LIMIT)
    """What changed from the revision before, in a line."""
    proposed: bool = field(default=False, metadata={"shown_empty": False})
    """Whether it waits for approval; until then nothing serves it."""


@dataclass(frozen=True, kw_only=True)
class ProposedStatus:
    """A refresh that waits for approval."""

    revision: str
    digest: str
    proposed_at: datetime
    summary: str = _text(SUMMARY_LIMIT)


@dataclass(frozen=True, kw_only=True)
class ImageStatus:
    """The image that locks are made for."""

    name: str = _required(IMAGE_LIMIT)
    id: str = _text(IMAGE_LIMIT)
    """The digest of its content, as a pod in it found, like the rest."""
    python: str = _text(PYTHON_LIMIT)
    packages: int = 0


@dataclass(frozen=True, kw_only=True)
class VulnerabilityStatus:
    """A known vulnerability of a pin."""

    id: str = _required(ID_LIMIT)
    package: str = _required(NAME_LIMIT)
    version: str = _required(NAME_LIMIT)
    fixed: str = _text(NAME_LIMIT)
    """The lowest newer version without it."""
    summary: str = _text(ABOUT_LIMIT)


@dataclass(frozen=True, kw_only=True)
class PoolStatus:
    """How far a pool is."""

    name: str
    key: str
    synced: bool
    namespaces: tuple[str, ...] = field(default=(), metadata={"limit": NAMESPACES_LIMIT})
    """Where its jobs run, and the lock is kept."""
    message: str = _text(POOL_MESSAGE_LIMIT)


def to_json(part: Any) -> dict[str, Any]:
    """Return a part as JSON."""
    found: dict[str, Any] = {}
    for one in _columns(type(part)):
        value = getattr(part, one.name)
        if one.type is datetime:
            value = format_time(value)
        elif one.type is tuple:
            value = list(value[: one.limit])
        elif one.limit and len(value) > one.limit:
            value = shorten(value, one.limit)
        if value or one.shown_empty:
            found[one.in_json] = value
    return found


def parse(kind: type[P], value: object) -> P | None:
    """Return the part of a kind that JSON holds; None where it makes no sense."""
    if not isinstance(value, Mapping):
        return None
    found = {}
    for one in _columns(kind):
        item = one.read(value.get(one.in_json))
        if one.is_required and not item:
            return None
        found[one.name] = item
    return kind(**found)


@dataclass(frozen=True, slots=True)
class _Column:
    """How a field is written and read."""

    name: str
    in_json: str
    type: Any
    limit: int | None
    shown_empty: bool
    is_required: bool
    read: Callable[[object], Any]


def _columns(kind: type) -> tuple[_Column, ...]:
    if kind not in _COLUMNS:
        _COLUMNS[kind] = tuple(map(_column, dataclasses.fields(kind)))
    return _COLUMNS[kind]


def _column(one: "dataclasses.Field[Any]") -> _Column:
    type_ = typing.get_origin(one.type) or one.type
    return _Column(
        name=one.name,
        in_json=json_name(one.name),
        type=type_,
        limit=one.metadata.get("limit"),
        shown_empty=one.metadata.get("shown_empty", True),
        is_required=type_ in (str, datetime) and one.default is dataclasses.MISSING,
        read=_READERS[type_],
    )


_COLUMNS: dict[type, tuple[_Column, ...]] = {}


def parse_all(kind: type[P], value: object) -> tuple[P, ...]:
    """Return the parts of a kind that a JSON list holds."""
    return tuple(part for one in mappings(value) if (part := parse(kind, one)) is not None)


def json_name(name: str) -> str:
    """Return the name of a field in JSON, in camel case."""
    first, *rest = name.split("_")
    return first + "".join(one.capitalize() for one in rest)


def mapping(value: object) -> Mapping[str, Any]:
    """Return a value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: object) -> list[Mapping[str, Any]]:
    """Return the mappings in a list; none where the value is no list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def texts(value: object) -> tuple[str, ...]:
    """Return the texts in a list; none where the value is no list."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


_READERS: Mapping[Any, Callable[[object], Any]] = {
    str: lambda value: value if isinstance(value, str) else "",
    int: lambda value: value if isinstance(value, int) else 0,
    bool: lambda value: value is True,
    datetime: parse_time,
    tuple: texts,
}
