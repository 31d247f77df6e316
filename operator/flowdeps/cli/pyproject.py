"""Reads the tables of pyproject.toml, and those that headers of scripts share with it."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from flowdeps.cli.draft import Draft
from flowdeps.cli.failure import CommandError
from flowdeps.locks.requirements import PUBLISH, requirement_name
from flowdeps.locks.target import marker_environment, marker_holds

Table = Mapping[str, Any]


def read_table(
    draft: Draft, file: str, table: Table, groups: Sequence[str], extras: Sequence[str]
) -> None:
    """Read a project's dependencies, with those of some groups and extras. Raises CommandError."""
    project = table_of(table.get("project"))
    name = project.get("name")
    draft.name = name if isinstance(name, str) else ""
    draft.require_python(project.get("requires-python"), file)
    sources = read_uv(draft, file, table)
    for dynamic in {"dependencies", "optional-dependencies"} & {*texts_of(project.get("dynamic"))}:
        draft.warn(
            file, f"left out: project.{dynamic}, which the build makes; list them in the set"
        )
    if "poetry" in table_of(table.get("tool")) and "dependencies" not in project:
        draft.warn(
            file,
            "left out: tool.poetry.dependencies: export them with"
            " `poetry export --without-hashes` and make the set from that file",
        )
    optional: dict[str, Any] = {
        canonicalize_name(k): v for k, v in table_of(project.get("optional-dependencies")).items()
    }
    grouped: dict[str, Any] = {
        canonicalize_name(k): v for k, v in table_of(table.get("dependency-groups")).items()
    }
    require_lines(
        draft, file, "project.dependencies", texts_of(project.get("dependencies")), sources
    )
    for kind, asked, known in (("extra", extras, optional), ("group", groups, grouped)):
        for one in map(canonicalize_name, asked):
            if one not in known:
                there = ", ".join(known) or "none"
                raise CommandError(f"{file}: there is no {kind} {one!r}; there are: {there}")
    for extra in _with_own(draft.name, map(canonicalize_name, extras), optional):
        lines = [one for one in texts_of(optional[extra]) if not _own(one, draft.name)]
        require_lines(draft, file, f"extra {extra}", lines, sources)
    for group in _with_included(file, map(canonicalize_name, groups), grouped):
        require_lines(draft, file, f"group {group}", texts_of(grouped[group]), sources)


def read_uv(draft: Draft, file: str, table: Table) -> Table:
    """Read the table tool.uv; return its sources by name."""
    uv = table_of(table_of(table.get("tool")).get("uv"))
    named: dict[str, str] = {}
    for one in uv.get("index", []) if isinstance(uv.get("index"), list) else []:
        url = one.get("url") if isinstance(one, dict) else None
        if not isinstance(url, str):
            continue
        named[str(one.get("name"))] = url
        if one.get("default"):
            draft.add_index(url, file)
        elif not one.get("explicit"):
            draft.add_index(url, file, extra=True)
    if isinstance(uv.get("index-url"), str):
        draft.add_index(uv["index-url"], file)
    for url in texts_of(uv.get("extra-index-url")):
        draft.add_index(url, file, extra=True)
    draft.prereleases |= uv.get("prerelease") == "allow"
    for line in texts_of(uv.get("constraint-dependencies")):
        draft.constrain(line, f"{file}: tool.uv.constraint-dependencies")
    for line in texts_of(uv.get("override-dependencies")):
        overridden = requirement_name(line)
        draft.warn(file, f"left out: the override of {overridden}; write it as a requirement")
    sources: dict[str, Any] = {}
    for name, given in table_of(uv.get("sources")).items():
        found = [
            one for one in (given if isinstance(given, list) else [given]) if isinstance(one, dict)
        ]
        sources[canonicalize_name(name)] = [
            {**one, "url of index": named.get(str(one.get("index")))}
            for one in found
            if _is_for_linux(one)
        ]
    return sources


def _is_for_linux(source: Table) -> bool:
    try:
        marker = Marker(str(source["marker"])) if "marker" in source else None
    except InvalidMarker:
        return True
    where = marker_environment("3.12", full_version="3.12.0", platform="linux/amd64")
    return marker_holds(marker, where, unknown=True)


def require_lines(draft: Draft, file: str, what: str, lines: Sequence[str], sources: Table) -> None:
    """Add requirements, unless they come from elsewhere."""
    where = f"{file}: {what}"
    for line in lines:
        try:
            name = canonicalize_name(Requirement(line).name)
        except InvalidRequirement:
            name = canonicalize_name("")
        elsewhere = False
        for source in sources.get(name, ()):
            kind = next((k for k in ("git", "path", "url", "workspace") if source.get(k)), None)
            if kind:
                of = "the workspace" if kind == "workspace" else f"a {kind}"
                draft.warn(
                    where, f"left out: {name}: it comes from {of} (tool.uv.sources); {PUBLISH}"
                )
                elsewhere = True
            elif url := source.get("url of index"):
                draft.add_package_index(url, [name], where)
        if not elsewhere:
            draft.require(line, where)


def read_toml(file: str, text: str) -> Table:
    """Return what a text in TOML holds. Raises CommandError."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{file}: not TOML: {error}") from None


def table_of(value: object) -> Table:
    """Return a table; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def texts_of(value: object) -> list[str]:
    """Return the texts of a list; none for anything else."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _with_own(project: str, asked: Iterable[str], optional: Table) -> list[str]:
    """Return extras, with those of the same project that they ask for."""
    waiting, found = list(asked), dict[str, None]()
    while waiting:
        if (one := waiting.pop(0)) in optional and one not in found:
            found[one] = None
            waiting += [e for line in texts_of(optional[one]) for e in sorted(_own(line, project))]
    return list(found)


def _own(line: str, project: str) -> set[str]:
    """Return the extras of the project itself that a line asks for."""
    try:
        found = Requirement(line)
    except InvalidRequirement:
        return set()
    same = project and canonicalize_name(found.name) == canonicalize_name(project)
    return {canonicalize_name(one) for one in found.extras} if same else set()


def _with_included(file: str, asked: Iterable[str], groups: Table) -> list[str]:
    """Return groups, with those that they include."""
    waiting, found = list(asked), dict[str, None]()
    while waiting:
        if (one := waiting.pop(0)) in found:
            continue
        if one not in groups:
            raise CommandError(f"{file}: there is no group {one!r}, which another group includes")
        found[one] = None
        items = groups[one] if isinstance(groups[one], list) else []
        included = (item.get("include-group") for item in items if isinstance(item, dict))
        waiting += [canonicalize_name(name) for name in included if isinstance(name, str)]
    return list(found)
