"""Reads the files of a project into a draft: what it requires, its Python and its indexes."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from flowdeps.cli.draft import Draft, this_python
from flowdeps.cli.failure import CommandError
from flowdeps.cli.pip_words import PipReader
from flowdeps.cli.settings import read_text
from flowdeps.locks.external_pylock import ExternalPylock, is_pylock, parse_external_pylock
from flowdeps.locks.image import ImageFacts
from flowdeps.locks.lock import LockError
from flowdeps.locks.requirements import PUBLISH

_SCRIPT = re.compile(r"^# /// script[ \t]*$(.*?)^# ///[ \t]*$", re.MULTILINE | re.DOTALL)
_PLAIN = re.compile(r"requirements?[-_.]?")
Table = Mapping[str, Any]


def read_project(
    file: str, *, groups: Sequence[str] = (), extras: Sequence[str] = (), has_image: bool = False
) -> Draft:
    """Return what a file asks for; `has_image`: an image says which Python. Raises CommandError."""
    path = Path(file)
    draft = Draft()
    _python_version(draft, path.parent)
    text = read_text(file)
    chosen = (*groups, *extras)
    if path.suffix == ".py":
        _script(draft, file, text)
    elif path.name == "uv.lock":
        _uv_lock(draft, file, text, groups, extras)
        chosen = ()
    elif path.name == "pylock.toml" or (path.suffix == ".toml" and is_pylock(text)):
        _pylock(draft, file, text, has_image=has_image)
    elif path.suffix == ".toml":
        _project(draft, file, _toml(file, text), groups, extras)
        chosen = ()
    else:
        PipReader(draft, _read).text(text, file)
    if chosen:
        raise CommandError(f"{file}: it has no groups and extras; leave {', '.join(chosen)} out")
    draft.name = draft.name or _named(path)
    return draft


def _named(path: Path) -> str:
    """Return a name after a file, or after its directory where that says nothing."""
    stem = path.name.partition(".")[0]
    if stem in {"pyproject", "uv", "pylock"} or _PLAIN.fullmatch(stem):
        try:
            project = tomllib.loads((path.parent / "pyproject.toml").read_text("utf-8"))
            name = project.get("project", {}).get("name")
        except (OSError, ValueError, AttributeError):
            name = None
        return name if isinstance(name, str) else path.resolve().parent.name
    return _PLAIN.sub("", stem, count=1) if stem.startswith("requirement") else stem


def _read(path: str) -> str | None:
    try:
        return read_text(path)
    except CommandError:
        return None


def _python_version(draft: Draft, directory: Path) -> None:
    """Take the version in a file .python-version, which several tools read."""
    try:
        text = (directory / ".python-version").read_text("utf-8").strip()
    except (OSError, ValueError):
        return
    if found := re.match(r"(?:cpython-)?(3\.\d+)(?:\.\d+)?$", text):
        draft.require_python(f"=={found[1]}.*", ".python-version")


def _toml(file: str, text: str) -> Table:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{file}: not TOML: {error}") from None


def _script(draft: Draft, file: str, text: str) -> None:
    found = _SCRIPT.search(text)
    if not found:
        raise CommandError(f"{file}: it has no block '# /// script' that lists dependencies")
    lines = (re.sub(r"^# ?", "", line) for line in found[1].splitlines())
    table = _toml(file, "\n".join(lines))
    draft.require_python(table.get("requires-python"), file)
    sources = _of_uv(draft, file, table)
    _require(draft, file, "dependencies", _texts(table.get("dependencies")), sources)


def _project(
    draft: Draft, file: str, table: Table, groups: Sequence[str], extras: Sequence[str]
) -> None:
    project = _table(table.get("project"))
    name = project.get("name")
    draft.name = name if isinstance(name, str) else ""
    draft.require_python(project.get("requires-python"), file)
    sources = _of_uv(draft, file, table)
    for dynamic in {"dependencies", "optional-dependencies"} & {*_texts(project.get("dynamic"))}:
        draft.warn(
            file, f"left out: project.{dynamic}, which the build makes; list them in the set"
        )
    if "poetry" in _table(table.get("tool")) and "dependencies" not in project:
        draft.warn(
            file,
            "left out: tool.poetry.dependencies: export them with"
            " `poetry export --without-hashes` and make the set from that file",
        )
    optional = {
        canonicalize_name(k): v for k, v in _table(project.get("optional-dependencies")).items()
    }
    grouped = {canonicalize_name(k): v for k, v in _table(table.get("dependency-groups")).items()}
    _require(draft, file, "project.dependencies", _texts(project.get("dependencies")), sources)
    for kind, asked, known in (("extra", extras, optional), ("group", groups, grouped)):
        for one in map(canonicalize_name, asked):
            if one not in known:
                there = ", ".join(known) or "none"
                raise CommandError(f"{file}: there is no {kind} {one!r}; there are: {there}")
    for extra in _with_own(draft.name, map(canonicalize_name, extras), optional):
        lines = [one for one in _texts(optional[extra]) if not _own(one, draft.name)]
        _require(draft, file, f"extra {extra}", lines, sources)
    for group in _with_included(file, map(canonicalize_name, groups), grouped):
        _require(draft, file, f"group {group}", _texts(grouped[group]), sources)


def _own(line: str, project: str) -> set[str]:
    """Return the extras of the project itself that a line asks for."""
    try:
        found = Requirement(line)
    except InvalidRequirement:
        return set()
    same = project and canonicalize_name(found.name) == canonicalize_name(project)
    return {canonicalize_name(one) for one in found.extras} if same else set()


def _with_own(project: str, asked: Iterator[str], optional: Table) -> list[str]:
    """Return extras, with those of the same project that they ask for."""
    waiting, found = list(asked), dict[str, None]()
    while waiting:
        if (one := waiting.pop(0)) in optional and one not in found:
            found[one] = None
            waiting += [e for line in _texts(optional[one]) for e in sorted(_own(line, project))]
    return list(found)


def _with_included(file: str, asked: Iterator[str], groups: Table) -> list[str]:
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


def _of_uv(draft: Draft, file: str, table: Table) -> Table:
    """Read the table tool.uv; return its sources by name."""
    uv = _table(_table(table.get("tool")).get("uv"))
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
    for url in _texts(uv.get("extra-index-url")):
        draft.add_index(url, file, extra=True)
    draft.prereleases |= uv.get("prerelease") == "allow"
    for line in _texts(uv.get("constraint-dependencies")):
        draft.constrain(line, f"{file}: tool.uv.constraint-dependencies")
    for line in _texts(uv.get("override-dependencies")):
        draft.warn(file, f"left out: the override {line[:80]!r}; write it as a requirement")
    sources = {}
    for name, given in _table(uv.get("sources")).items():
        found = [
            one for one in (given if isinstance(given, list) else [given]) if isinstance(one, dict)
        ]
        sources[canonicalize_name(name)] = [
            {**one, "url of index": named.get(str(one.get("index")))} for one in found
        ]
    return sources


def _require(draft: Draft, file: str, what: str, lines: Sequence[str], sources: Table) -> None:
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


def _uv_lock(
    draft: Draft, file: str, text: str, groups: Sequence[str], extras: Sequence[str]
) -> None:
    table = _toml(file, text)
    packages = [one for one in table.get("package", []) if isinstance(one, dict)]
    beside = Path(file).parent / "pyproject.toml"
    if beside.exists():
        _project(draft, str(beside), _toml(str(beside), read_text(str(beside))), groups, extras)
    else:
        _project(draft, file, _root(file, table, packages), groups, extras)
    by_name: dict[str, list[Table]] = defaultdict(list)
    for one in packages:
        by_name[str(one.get("name"))].append(one)
    for name in _reached([re.split(r"[^\w.-]", line)[0] for line in draft.requirements], by_name):
        _constrain(draft, file, by_name[name])


def _constrain(draft: Draft, file: str, versions: Sequence[Table]) -> None:
    for one in versions:
        name, version = one.get("name"), one.get("version")
        source = _table(one.get("source"))
        if "registry" not in source or not isinstance(version, str):
            kind = next(iter(source), "elsewhere")
            draft.warn(file, f"left out: {name}: it comes from {kind}; {PUBLISH}")
            continue
        markers = " or ".join(f"({m})" for m in _texts(one.get("resolution-markers")))
        draft.constrain(f"{name}=={version}{f' ; {markers}' if markers else ''}", file)


def _reached(names: Sequence[str], by_name: Mapping[str, Sequence[Table]]) -> list[str]:
    """Return the packages that others require, with those."""
    waiting, found = list(names), dict[str, None]()
    while waiting:
        name = waiting.pop()
        if name in found or name not in by_name:
            continue
        found[name] = None
        for one in by_name[name]:
            lists = [
                one.get("dependencies", []),
                *_table(one.get("optional-dependencies")).values(),
            ]
            waiting += [str(entry.get("name")) for several in lists for entry in several]
    return sorted(found)


def _root(file: str, table: Table, packages: Sequence[Table]) -> Table:
    """Return the project of a lock as its pyproject.toml has it."""
    roots = [p for p in packages if "." in _table(p.get("source")).values()]
    if not roots:
        raise CommandError(f"{file}: no package of it is the project; put pyproject.toml beside it")
    metadata = _table(roots[0].get("metadata"))
    optional: dict[str, list[str]] = defaultdict(list)
    plain = []
    for entry in metadata.get("requires-dist", []):
        marker = str(entry.get("marker", ""))
        if extra := re.search(r"extra == ['\"]([\w.-]+)['\"]", marker):
            rest = re.sub(r"\s*(and\s+)?extra == ['\"][\w.-]+['\"]\s*", "", marker).strip()
            optional[extra[1]].append(_line({**entry, "marker": rest}))
        else:
            plain.append(_line(entry))
    grouped = _table(metadata.get("requires-dev"))
    return {
        "project": {
            "name": roots[0].get("name"),
            "requires-python": table.get("requires-python"),
            "dependencies": plain,
            "optional-dependencies": optional,
        },
        "dependency-groups": {name: [*map(_line, several)] for name, several in grouped.items()},
    }


def _line(entry: Table) -> str:
    extras = f"[{','.join(_texts(entry.get('extras')))}]" if entry.get("extras") else ""
    elsewhere = next(
        (entry[k] for k in ("git", "url", "path", "directory", "editable") if k in entry), ""
    )
    reference = f" @ {elsewhere}" if elsewhere else entry.get("specifier", "")
    marker = f" ; {entry['marker']}" if entry.get("marker") else ""
    return f"{entry.get('name')}{extras}{reference}{marker}"


def _pylock(draft: Draft, file: str, text: str, *, has_image: bool) -> None:
    """Take the file itself as the lock; its packages, where that can't be one."""
    table = _toml(file, text)
    draft.require_python(table.get("requires-python"), file)
    try:
        found: ExternalPylock = parse_external_pylock(text)
        if not has_image and found.target is None:
            found.lock_for(ImageFacts(python=draft.python or this_python(), platform="linux/amd64"))
    except LockError as error:
        draft.warn(file, f"it can't be the lock itself, so the set lists its packages: {error}")
        for one in (p for p in table.get("packages", []) if isinstance(p, dict)):
            name, version = one.get("name"), one.get("version")
            if version and (one.get("wheels") or one.get("sdist")):
                marker = f" ; {one['marker']}" if one.get("marker") else ""
                draft.require(f"{name}=={version}{marker}", file)
            else:
                draft.warn(file, f"left out: {name}: it is not on an index; {PUBLISH}")
    else:
        draft.lock = text


def _table(value: object) -> Table:
    return value if isinstance(value, Mapping) else {}


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
