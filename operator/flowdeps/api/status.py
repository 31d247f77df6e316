"""The status of a set: what is served, which revisions there are, how far each pool is.

`SetStatus.to_dict` writes what the resource's schema accepts, whatever it is given: texts and
lists are cut to the schema's bounds, so that a status write never fails for its size. A part's
field is written under its name in camel case. What is read and makes no sense is left out, such as
a part without one of its required texts or times.
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from flowdeps.api.times import format_time, parse_time
from flowdeps.api.wording import shorten
from flowdeps.locks.legible import printable

REVISIONS_LIMIT = 100
IMAGES_LIMIT = 16
POOLS_LIMIT = 32
REQUEST_LIMIT = 128
VULNERABILITIES_LIMIT = 50

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
    image: str = _text(1024, shown_empty=False)
    """The image that it is made for; empty where it is made for a version of Python alone."""
    served_since: str = _text(64, shown_empty=False)
    """When it came into service."""
    download_size: int = field(default=0, metadata={"shown_empty": False})
    """Bytes that a run downloads; 0: not known."""
    installed_size: int = field(default=0, metadata={"shown_empty": False})
    """Bytes that it takes once it is installed; 0: not known."""


@dataclass(frozen=True, kw_only=True)
class RevisionStatus:
    """A published revision."""

    name: str
    digest: str
    created_at: datetime
    summary: str = _text(1024)
    """What changed from the revision before, in a line."""
    proposed: bool = field(default=False, metadata={"shown_empty": False})
    """Whether it waits for approval; until then nothing serves it."""


@dataclass(frozen=True, kw_only=True)
class ProposedStatus:
    """A refresh that waits for approval."""

    revision: str
    digest: str
    proposed_at: datetime
    summary: str = _text(1024)


@dataclass(frozen=True, kw_only=True)
class ImageStatus:
    """The image that locks are made for."""

    name: str = _required(1024)
    id: str = _text(1024)
    """The digest of its content, as a pod in it found, like the rest."""
    python: str = _text(32)
    packages: int = 0


@dataclass(frozen=True, kw_only=True)
class EnvironmentStatus:
    """The environment of the lock in service, for its image as it is now."""

    digest: str = _required(128)
    reference: str = _required(1024)
    image: str = _required(1024)
    size: int = 0
    """Bytes to pull."""
    files: int = 0
    import_seconds: float = 0.0
    """How long the imports of its trial took."""


@dataclass(frozen=True, kw_only=True)
class DerivedImageStatus:
    """An image that has the environment of the lock in service in it."""

    image: str = _required(1024)
    """The image that it was derived from."""
    reference: str = _required(1024)
    digest: str = _required(128)
    size: int = 0
    """Bytes of all its layers."""


@dataclass(frozen=True, kw_only=True)
class VulnerabilityStatus:
    """A known vulnerability of a pin."""

    id: str = _required(64)
    package: str = _required(128)
    version: str = _required(128)
    fixed: str = _text(128)
    """The lowest newer version without it."""
    summary: str = _text(256)


@dataclass(frozen=True, kw_only=True)
class PoolStatus:
    """How far a pool is."""

    name: str
    key: str
    synced: bool
    namespaces: tuple[str, ...] = field(default=(), metadata={"limit": 32})
    """Where its jobs run, and the lock is kept."""
    delivery: str = _text(16, shown_empty=False)
    """How its runs get the packages; `Label` for pods that choose by their label, or `Pending`
    while they are refused; empty where there are no environments."""
    message: str = _text(1024)

    @property
    def by_label(self) -> bool:
        """Whether pods choose the set by their label alone."""
        return self.delivery in {"Label", "Pending"}


@dataclass(frozen=True, kw_only=True)
class SetStatus:
    """All of the status."""

    observed_generation: int | None = None
    """The generation of the spec that it is about; None: no operator has seen the set."""
    conditions: Sequence[Mapping[str, Any]] = ()
    """What `merge_conditions` returns."""
    lock: LockStatus | None = None
    image: ImageStatus | None = None
    environment: EnvironmentStatus | None = None
    images: tuple[DerivedImageStatus, ...] = ()
    proposed: ProposedStatus | None = None
    vulnerabilities: tuple[VulnerabilityStatus, ...] | None = None
    """The known vulnerabilities of the lock's pins; None: no database knows."""
    revisions: tuple[RevisionStatus, ...] = ()
    """Newest first."""
    work_pools: tuple[PoolStatus, ...] = ()
    """In the order of the spec."""
    next_refresh_at: datetime | None = None
    last_handled_refresh_at: str | None = None
    """The last request for a refresh that was met."""

    def to_dict(self) -> dict[str, Any]:
        """Return the status as JSON, without what is absent."""
        known, pools = self.vulnerabilities, self.work_pools
        synced = f"{sum(pool.synced for pool in pools)}/{len(pools)}" if pools else ""
        status: dict[str, Any] = {
            "observedGeneration": self.observed_generation,
            "conditions": [dict(condition) for condition in self.conditions],
            "lock": self.lock and to_json(self.lock),
            "image": self.image and to_json(self.image),
            "environment": self.environment and to_json(self.environment),
            "images": [to_json(item) for item in self.images[:IMAGES_LIMIT]],
            "proposed": self.proposed and to_json(self.proposed),
            "vulnerabilities": [to_json(item) for item in (known or ())[:VULNERABILITIES_LIMIT]],
            "vulnerabilityCount": None if known is None else len(known),
            "revisions": [to_json(item) for item in self.revisions[:REVISIONS_LIMIT]],
            "workPools": [to_json(item) for item in pools[:POOLS_LIMIT]],
            "workPoolsSynced": synced,
            "nextRefreshAt": self.next_refresh_at and format_time(self.next_refresh_at),
            "lastHandledRefreshAt": (self.last_handled_refresh_at or "")[:REQUEST_LIMIT],
        }
        return {name: value for name, value in status.items() if value not in (None, [], "")}


def parse_status(body: Mapping[str, Any]) -> SetStatus:
    """Return the status of an object, without what is missing or malformed in it."""
    status = mapping(body.get("status"))
    generation = status.get("observedGeneration")
    requested = status.get("lastHandledRefreshAt")
    counted = isinstance(status.get("vulnerabilityCount"), int)
    return SetStatus(
        # -1, the schema's default: no operator has seen the set.
        observed_generation=generation if isinstance(generation, int) and generation > 0 else None,
        conditions=tuple(dict(item) for item in mappings(status.get("conditions"))),
        lock=parse(LockStatus, status.get("lock")),
        image=parse(ImageStatus, status.get("image")),
        environment=parse(EnvironmentStatus, status.get("environment")),
        images=parse_all(DerivedImageStatus, status.get("images")),
        proposed=parse(ProposedStatus, status.get("proposed")),
        vulnerabilities=parse_all(VulnerabilityStatus, status.get("vulnerabilities"))
        if counted
        else None,
        revisions=parse_all(RevisionStatus, status.get("revisions")),
        work_pools=parse_all(PoolStatus, status.get("workPools")),
        next_refresh_at=parse_time(status.get("nextRefreshAt")),
        last_handled_refresh_at=requested if isinstance(requested, str) else None,
    )


def to_json(part: Any) -> dict[str, Any]:
    """Return a part as JSON."""
    found: dict[str, Any] = {}
    for one in dataclasses.fields(part):
        value, limit = getattr(part, one.name), one.metadata.get("limit")
        if isinstance(value, datetime):
            value = format_time(value)
        elif isinstance(value, tuple):
            value = list(map(printable, value[:limit]))
        elif isinstance(value, str):
            value = printable(value)
            value = shorten(value, limit) if limit else value
        if value or one.metadata.get("shown_empty", True):
            found[json_name(one.name)] = value
    return found


def parse(kind: type[P], value: object) -> P | None:
    """Return the part of a kind that JSON holds; None where it makes no sense."""
    if not isinstance(value, Mapping):
        return None
    found = {}
    for one in dataclasses.fields(typing.cast("Any", kind)):
        type_ = typing.get_origin(one.type) or one.type
        found[one.name] = item = _READERS[type_](value.get(json_name(one.name)))
        if not item and type_ in (str, datetime) and one.default is dataclasses.MISSING:
            return None
    return kind(**found)


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
    float: lambda value: float(value) if isinstance(value, int | float) else 0.0,
    bool: lambda value: value is True,
    datetime: parse_time,
    tuple: texts,
}
