"""Reads the locks of a project: uv.lock and pylock.toml."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from flowdeps.cli.draft import Draft, this_python
from flowdeps.cli.failure import CommandError
from flowdeps.cli.pyproject import Table, read_table, read_toml, table_of, texts_of
from flowdeps.cli.settings import read_text
from flowdeps.locks.external_pylock import parse_external_pylock
from flowdeps.locks.image import ImageFacts
from flowdeps.locks.lock import LockError
from flowdeps.locks.requirements import PUBLISH


def read_uv_lock(
    draft: Draft, file: str, text: str, groups: Sequence[str], extras: Sequence[str]
) -> None:
    """Read the project of a uv.lock, with its versions as constraints. Raises CommandError."""
    table = read_toml(file, text)
    packages = [one for one in table.get("package", []) if isinstance(one, dict)]
    beside = Path(file).parent / "pyproject.toml"
    if beside.exists():
        read_table(
            draft, str(beside), read_toml(str(beside), read_text(str(beside))), groups, extras
        )
    else:
        read_table(draft, file, _root(file, table, packages), groups, extras)
    by_name: dict[str, list[Table]] = defaultdict(list)
    for one in packages:
        by_name[str(one.get("name"))].append(one)
    for name in _reached([re.split(r"[^\w.-]", line)[0] for line in draft.requirements], by_name):
        _constrain(draft, file, by_name[name])


def _constrain(draft: Draft, file: str, versions: Sequence[Table]) -> None:
    for one in versions:
        name, version = one.get("name"), one.get("version")
        source = table_of(one.get("source"))
        if "registry" not in source or not isinstance(version, str):
            kind = next(iter(source), "elsewhere")
            draft.warn(file, f"left out: {name}: it comes from {kind}; {PUBLISH}")
            continue
        markers = " or ".join(f"({m})" for m in texts_of(one.get("resolution-markers")))
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
                *table_of(one.get("optional-dependencies")).values(),
            ]
            waiting += [str(entry.get("name")) for several in lists for entry in several]
    return sorted(found)


def _root(file: str, table: Table, packages: Sequence[Table]) -> Table:
    """Return the project of a lock as its pyproject.toml has it."""
    roots = [p for p in packages if "." in table_of(p.get("source")).values()]
    if not roots:
        raise CommandError(f"{file}: no package of it is the project; put pyproject.toml beside it")
    metadata = table_of(roots[0].get("metadata"))
    optional: dict[str, list[str]] = defaultdict(list)
    plain = []
    for entry in metadata.get("requires-dist", []):
        marker = str(entry.get("marker", ""))
        if extra := re.search(r"extra == ['\"]([\w.-]+)['\"]", marker):
            rest = re.sub(r"\s*(and\s+)?extra == ['\"][\w.-]+['\"]\s*", "", marker).strip()
            optional[extra[1]].append(_line({**entry, "marker": rest}))
        else:
            plain.append(_line(entry))
    grouped = table_of(metadata.get("requires-dev"))
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
    extras = f"[{','.join(texts_of(entry.get('extras')))}]" if entry.get("extras") else ""
    elsewhere = next(
        (entry[k] for k in ("git", "url", "path", "directory", "editable") if k in entry), ""
    )
    reference = f" @ {elsewhere}" if elsewhere else entry.get("specifier", "")
    marker = f" ; {entry['marker']}" if entry.get("marker") else ""
    return f"{entry.get('name')}{extras}{reference}{marker}"


def read_pylock(draft: Draft, file: str, text: str, *, has_image: bool) -> None:
    """Take the file itself as the lock; its packages, where that can't be one."""
    table = read_toml(file, text)
    draft.require_python(table.get("requires-python"), file)
    try:
        found = parse_external_pylock(text)
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
