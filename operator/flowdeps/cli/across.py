"""What sets in files say about each other, and about the ConfigMaps beside them.

Found across documents: one name or key claimed twice, sets that include each other in a cycle,
lines of a source that can't be accepted, a lock that is none. A set or ConfigMap that the files do
not have may be in the cluster, so its absence is a note.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from flowdeps.api.problems import Problem
from flowdeps.api.resource import ConfigMapSource, SetSpec
from flowdeps.cli.manifests import Manifest
from flowdeps.gather.texts import TextError, text_under
from flowdeps.locks.lock import LockError, parse_lock
from flowdeps.locks.requirements_file import parse_requirements_file

Sets = list[tuple[Manifest, SetSpec]]
Check = Callable[[str], tuple[str, ...]]
"""Says what is wrong with a text."""
_Name = tuple[str | None, str]
"""Namespace, where the document says one, and name."""


@dataclass
class Findings:
    """A line for each problem and each note."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_across(sets: Sets, config_maps: list[Manifest]) -> Findings:
    """Check valid sets against each other, and against the ConfigMaps that they read."""
    findings = Findings()
    findings.problems += _clashes(sets)
    _check_includes({_name(manifest): (manifest, spec) for manifest, spec in sets}, findings)
    _check_sources(sets, config_maps, findings)
    return findings


def _clashes(sets: Sets) -> Iterator[str]:
    """What the sets claim twice: a name, a key of a pool, or to be a pool's default."""
    names: dict[str, str] = {}
    keys: dict[tuple[str, str], str] = {}
    defaults: dict[str, str] = {}
    for manifest, spec in sets:
        name = "/".join(part for part in _name(manifest) if part)
        where = f"{name} ({manifest.origin.file}, document {manifest.origin.number})"
        if name in names:
            message = f"{names[name]} is the same set; keep one"
            yield manifest.origin.line(Problem("metadata.name", message))
            continue
        names[name] = where
        for index, pool in enumerate(spec.work_pools):
            path = f"spec.workPools[{index}]"
            other = keys.setdefault((pool.name, pool.key), where)
            if other != where:
                message = f"{pool.key!r} is what {pool.name!r} offers {other} as; choose another"
                yield manifest.origin.line(Problem(f"{path}.key", message))
            other = defaults.setdefault(pool.name, where) if pool.default else where
            if other != where:
                message = f"{other} is the default of {pool.name!r} already; keep one default"
                yield manifest.origin.line(Problem(f"{path}.default", message))


def _check_includes(sets: Mapping[_Name, tuple[Manifest, SetSpec]], findings: Findings) -> None:
    """Find cycles, each once, at the set of it that comes first; sets that can't be included; and
    those that aren't here."""
    done: set[_Name] = set()
    for name, (manifest, spec) in sets.items():
        for index, included in enumerate(spec.includes):
            problem = None
            other = sets.get((name[0], included))
            path = f"spec.includes[{index}].name"
            if other is None:
                note = f"{included!r} is not in these files; it must be in the cluster"
                findings.notes.append(manifest.origin.line(Problem(path, note)))
            elif other[1].lock_from:
                problem = (
                    f"{included!r} has a finished lock (lockFrom), which cannot be resolved"
                    " together with others; include a set that lists requirements"
                )
            elif way := _way_back(name, included, sets, done):
                problem = f"{' → '.join(way)}: a cycle; remove one of them"
            if problem:
                findings.problems.append(manifest.origin.line(Problem(path, problem)))
        done.add(name)


def _way_back(
    start: _Name,
    first: str,
    sets: Mapping[_Name, tuple[Manifest, SetSpec]],
    done: set[_Name],
) -> tuple[str, ...] | None:
    """The names from `start` by way of `first` back to `start`, past none of those `done`."""
    namespace, seen = start[0], set(done)
    waiting: list[tuple[str, ...]] = [(start[1], first)]
    while waiting:
        way = waiting.pop()
        name = (namespace, way[-1])
        if name == start:
            return way
        if name not in seen and name in sets:
            seen.add(name)
            waiting += [(*way, one) for one in sets[name][1].includes]
    return None


def _check_sources(sets: Sets, config_maps: list[Manifest], findings: Findings) -> None:
    """Read the ConfigMaps that sets name, as the operator would; note those nobody reads."""
    known = {_name(one): one for one in config_maps}
    read: set[tuple[_Name, str, Check]] = set()
    for manifest, spec in sets:
        for path, source, check in _sources(spec):
            name = (_name(manifest)[0], source.name)
            config_map = known.get(name)
            if config_map is None:
                note = f"ConfigMap {source.name!r} is not in these files; it is not checked"
                findings.notes.append(manifest.origin.line(Problem(path, note)))
                continue
            wrong = _wrong(config_map, source.key, check)
            if wrong is None:
                if not source.optional:
                    problem = f"ConfigMap {source.name!r} has no text under {source.key!r}; add it"
                    findings.problems.append(manifest.origin.line(Problem(path, problem)))
            elif (name, source.key, check) not in read:
                at = f"data.{source.key}"
                findings.problems += (config_map.origin.line(Problem(at, one)) for one in wrong)
            read.add((name, source.key, check))
    used = {name for name, _, _ in read}
    for one in config_maps:
        if _name(one) not in used:
            place = f"{one.origin.file}: document {one.origin.number}"
            findings.notes.append(f"{place}: a ConfigMap; skipped")


def _sources(spec: SetSpec) -> Iterator[tuple[str, ConfigMapSource, Check]]:
    """Each ConfigMap key that a set reads: the field, the source, and how it is checked."""
    for name, sources in (
        ("requirementsFrom", spec.requirements_from),
        ("constraintsFrom", spec.constraints_from),
    ):
        for index, source in enumerate(sources):
            if isinstance(source, ConfigMapSource):
                yield f"spec.{name}[{index}].configMapKeyRef", source, _wrong_lines
    if spec.lock_from:
        yield "spec.lockFrom.configMapKeyRef", spec.lock_from, _wrong_lock


def _wrong(config_map: Manifest, key: str, check: Check) -> tuple[str, ...] | None:
    """What is wrong with what stands under a key; None where nothing does."""
    try:
        text = text_under(config_map.body, key)
    except TextError as error:
        return (str(error),)
    return None if text is None else check(text)


def _wrong_lines(text: str) -> tuple[str, ...]:
    return parse_requirements_file(text).problems


def _wrong_lock(text: str) -> tuple[str, ...]:
    try:
        parse_lock(text)
    except LockError as error:
        return (f"{error}; make the lock with `flowdeps lock`",)
    return ()


def _name(manifest: Manifest) -> _Name:
    return manifest.namespace, manifest.name
