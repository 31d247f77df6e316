"""Reads advisories about Python packages from records in OSV format, into a compact form.

Of a record id, aliases, withdrawn and summary are read (or the first paragraph of details), and of
each affected package its versions, its ranges of type ECOSYSTEM and its severity, or the record's.

Texts and tuples, and each equal text once: a database has ten thousands of records. A range with a
version that isn't PEP 440 is left out; what the record lists still holds.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import InvalidVersion, Version

from flowdeps.api.status import mapping, mappings, texts
from flowdeps.api.wording import shorten
from flowdeps.locks.legible import printable

_SUMMARY = 160
_SEVERITIES = frozenset({"low", "moderate", "medium", "high", "critical"})
_RANKS = {"fixed": 0, "introduced": 1, "last_affected": 2}
T = TypeVar("T")


class RecordError(ValueError):
    """Data that isn't an OSV record."""


class AffectedRange(NamedTuple):
    """Affected versions."""

    since: str
    """The first one; empty: there is no first one."""
    until: str
    """The first one that is fixed or, if `closed`, the last affected one; empty: there is none."""
    closed: bool


class Advisory(NamedTuple):
    """What one record says about one package."""

    id: str
    aliases: tuple[str, ...]
    summary: str
    severity: str
    ranges: tuple[AffectedRange, ...]
    versions: tuple[str, ...]
    """As `normal_version` writes them."""


@dataclass(frozen=True)
class Database:
    """All vulnerabilities that advisories describe."""

    vulnerabilities: Mapping[str, tuple[tuple[Advisory, ...], ...]]
    """By canonical package name; each as its advisories, which ids and aliases link."""
    records: int
    digest: str
    """Equal for equal content."""


class Builder:
    """Collects records, one at a time, so that they needn't be in memory together."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Advisory]] = {}
        self._known: dict[Any, Any] = {}
        self._versions: dict[str, str] = {}
        self.records = 0

    def add(self, record: object) -> None:
        """Add a record, if it is about Python packages and not withdrawn. Raises `RecordError`."""
        if not isinstance(record, dict) or not _text(record.get("id")):
            raise RecordError("not an OSV record: an object with an id")
        packages: dict[str, list[Mapping[str, Any]]] = {}
        for affected in () if record.get("withdrawn") else mappings(record.get("affected")):
            package = mapping(affected.get("package"))
            name, ecosystem = _text(package.get("name")), _text(package.get("ecosystem"))
            if name and ecosystem.partition(":")[0] == "PyPI":
                packages.setdefault(canonicalize_name(name), []).append(affected)
        self.records += bool(packages)
        for name, entries in packages.items():
            advisory = self._advisory(record, entries)
            self._found.setdefault(self._once(name), {})[advisory.id] = advisory

    def database(self) -> Database:
        """Return what was added so far."""
        found = {
            name: _group(sorted(advisories.values()))
            for name, advisories in sorted(self._found.items())
        }
        digest = hashlib.sha256()
        for item in found.items():
            digest.update(repr(item).encode(errors="backslashreplace"))
        return Database(
            MappingProxyType(found), records=self.records, digest=f"sha256:{digest.hexdigest()}"
        )

    def _advisory(self, record: Mapping[str, Any], entries: list[Mapping[str, Any]]) -> Advisory:
        details = [mapping(one.get("database_specific")) for one in (record, *entries)]
        severities = (_text(one.get("severity")).lower() for one in details)
        ranges = [
            self._once(affected)
            for entry in entries
            for one in mappings(entry.get("ranges"))
            if one.get("type") == "ECOSYSTEM"
            for affected in _ranges(mappings(one.get("events")))
        ]
        versions = {self._version(one) for entry in entries for one in texts(entry.get("versions"))}
        return Advisory(
            id=_line(record["id"]),
            aliases=tuple(sorted({_line(one) for one in texts(record.get("aliases"))})),
            summary=_line(_text(record.get("summary")) or _text(record.get("details"))),
            severity=next((self._once(one) for one in severities if one in _SEVERITIES), ""),
            ranges=self._once(tuple(ranges)),
            versions=self._once(tuple(sorted(versions))),
        )

    def _once(self, value: T) -> T:
        known: T = self._known.setdefault(value, value)
        return known

    def _version(self, text: str) -> str:
        found = self._versions.get(text)
        if found is None:
            found = self._versions[text] = self._once(normal_version(text))
        return found


@lru_cache(maxsize=4096)
def public_version(text: str) -> Version | None:
    """Return the version ``text`` without its local part; None where it is no version."""
    try:
        version = Version(text)
        return version if version.local is None else Version(version.public)
    except (InvalidVersion, ValueError):
        return None


def normal_version(text: str) -> str:
    """Return the one text of all versions equal to ``text``, local parts aside; else ``text``."""
    version = public_version(text)
    return text if version is None else canonicalize_version(version)


def _ranges(events: list[Mapping[str, Any]]) -> list[AffectedRange]:
    ordered: list[tuple[bool, Version, int, str]] = []
    for event in events:
        for kind in _RANKS.keys() & event.keys():
            text = _text(event[kind])
            # "0" means a version before any other, 0.dev1 included.
            first = kind == "introduced" and text == "0"
            version = public_version(text)
            if version is None:
                return []
            ordered.append((not first, version, _RANKS[kind], "" if first else str(version)))
    ranges, since = list[AffectedRange](), None
    for _, _, rank, text in sorted(ordered):
        if rank == _RANKS["introduced"]:
            since = text if since is None else since
        elif since is not None:
            ranges.append(AffectedRange(since, text, closed=rank == _RANKS["last_affected"]))
            since = None
    return ranges if since is None else [*ranges, AffectedRange(since, "", closed=False)]


def _group(advisories: list[Advisory]) -> tuple[tuple[Advisory, ...], ...]:
    leaders: dict[str, str] = {}

    def leader(name: str) -> str:
        while (above := leaders.setdefault(name, name)) != name:
            leaders[name] = name = leaders[above]
        return name

    for one in advisories:
        for alias in one.aliases:
            leaders[leader(alias)] = leader(one.id)
    groups: dict[str, list[Advisory]] = {}
    for one in advisories:
        groups.setdefault(leader(one.id), []).append(one)
    return tuple(map(tuple, groups.values()))


def _line(text: str) -> str:
    return shorten(printable(text[: 8 * _SUMMARY].strip().partition("\n\n")[0]), _SUMMARY)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
