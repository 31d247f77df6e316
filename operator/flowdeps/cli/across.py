"""Checks sets in files against each other, and against the ConfigMaps in the files.

It finds a name or key that is claimed twice, sets that include each other in a cycle, sources with
lines that are refused, and locks that are none. A set or ConfigMap that is not in the files may be
in the cluster, so its absence is a note.
"""

from collections.abc import Callable, Iterator, Mapping

from flowdeps.api.spec import ConfigMapSource, SetSpec
from flowdeps.cli.manifests import Manifest, Manifests
from flowdeps.gather.sources import TextError, parse_finished_lock, text_under
from flowdeps.locks.lock import LockError
from flowdeps.locks.requirements_file import parse_requirements_file

Sets = list[tuple[Manifest, SetSpec]]
Check = Callable[[str], tuple[str, ...]]
"""Returns what is wrong with a text."""
_Name = tuple[str | None, str]
"""Namespace, if the document names one, and name."""


def check_across(sets: Sets, found: Manifests) -> None:
    """Add what is wrong among valid sets, and in the ConfigMaps that they read, to `found`."""
    found.problems += _clashes(sets)
    _check_includes({_name(manifest): (manifest, spec) for manifest, spec in sets}, found)
    _check_sources(sets, found)


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
            yield manifest.origin.line("metadata.name", message)
            continue
        names[name] = where
        for index, pool in enumerate(spec.work_pools):
            path = f"spec.workPools[{index}]"
            other = keys.setdefault((pool.name, pool.key), where)
            if other != where:
                message = f"{pool.key!r} is what {pool.name!r} offers {other} as; choose another"
                yield manifest.origin.line(f"{path}.key", message)
            other = defaults.setdefault(pool.name, where) if pool.default else where
            if other != where:
                message = f"{other} is the default of {pool.name!r} already; keep one default"
                yield manifest.origin.line(f"{path}.default", message)


def _check_includes(sets: Mapping[_Name, tuple[Manifest, SetSpec]], found: Manifests) -> None:
    """Find cycles, each once and at its first set; sets that can't be included; and sets that are
    not in the files."""
    done: set[_Name] = set()
    for name, (manifest, spec) in sets.items():
        for index, included in enumerate(spec.includes):
            problem = None
            other = sets.get((name[0], included))
            path = f"spec.includes[{index}].name"
            if other is None:
                note = f"{included!r} is not in these files; it must be in the cluster"
                found.notes.append(manifest.origin.line(path, note))
            elif other[1].lock_from:
                problem = (
                    f"{included!r} has a finished lock (lockFrom), which cannot be resolved"
                    " together with others; include a set that lists requirements"
                )
            elif way := _way_back(name, included, sets, done):
                problem = f"{' → '.join(way)}: a cycle; remove one of them"
            if problem:
                found.problems.append(manifest.origin.line(path, problem))
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


def _check_sources(sets: Sets, found: Manifests) -> None:
    """Read the ConfigMaps that sets name, as the operator would; note those that no set reads."""
    known = {_name(one): one for one in found.config_maps}
    read: set[tuple[_Name, str, Check]] = set()
    for manifest, spec in sets:
        for path, source, check in _sources(spec):
            name = (_name(manifest)[0], source.name)
            config_map = known.get(name)
            if config_map is None:
                note = f"ConfigMap {source.name!r} is not in these files; it is not checked"
                found.notes.append(manifest.origin.line(path, note))
                continue
            try:
                text = text_under(config_map.body, source.key)
                wrong = () if text is None else check(text)
            except TextError as error:
                text, wrong = "", (str(error),)
            if text is None and not source.optional:
                problem = f"ConfigMap {source.name!r} has no text under {source.key!r}; add it"
                found.problems.append(manifest.origin.line(path, problem))
            if (name, source.key, check) not in read:
                at = f"data.{source.key}"
                found.problems += (config_map.origin.line(at, one) for one in wrong)
            read.add((name, source.key, check))
    used = {name for name, _, _ in read}
    for one in found.config_maps:
        if _name(one) not in used:
            place = f"{one.origin.file}: document {one.origin.number}"
            found.notes.append(f"{place}: a ConfigMap; skipped")


def _sources(spec: SetSpec) -> Iterator[tuple[str, ConfigMapSource, Check]]:
    """Each ConfigMap key that a set reads: the field, the source, and how it is checked."""
    named = {"requirementsFrom": spec.requirements_from, "constraintsFrom": spec.constraints_from}
    for name, sources in named.items():
        for index, source in enumerate(sources):
            if isinstance(source, ConfigMapSource):
                yield f"spec.{name}[{index}].configMapKeyRef", source, _wrong_lines
    if spec.lock_from:
        yield "spec.lockFrom.configMapKeyRef", spec.lock_from, _wrong_lock


def _wrong_lines(text: str) -> tuple[str, ...]:
    return parse_requirements_file(text).problems


def _wrong_lock(text: str) -> tuple[str, ...]:
    try:
        parse_finished_lock(text)
    except LockError as error:
        return (f"{error}; make the lock with `flowdeps lock`",)
    return ()


def _name(manifest: Manifest) -> _Name:
    return manifest.namespace, manifest.name
