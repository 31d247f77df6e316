"""Reads a file of a project into a draft: what it requires, its Python and its indexes."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from flowdeps.cli.draft import Draft
from flowdeps.cli.failure import CommandError
from flowdeps.cli.pip_words import PipReader
from flowdeps.cli.project_locks import read_pylock, read_uv_lock
from flowdeps.cli.pyproject import (
    Table,
    read_table,
    read_toml,
    read_uv,
    require_lines,
    table_of,
    texts_of,
)
from flowdeps.cli.settings import read_text
from flowdeps.locks.external_pylock import is_pylock

_SCRIPT = re.compile(r"^# /// script[ \t]*$(.*?)^# ///[ \t]*$", re.MULTILINE | re.DOTALL)
_PLAIN = re.compile(r"requirements?[-_.]?")


def read_project(
    file: str, *, groups: Sequence[str] = (), extras: Sequence[str] = (), has_image: bool = False
) -> Draft:
    """Return what a file asks for; `has_image`: an image says which Python. Raises CommandError."""
    path = Path(file)
    draft = Draft()
    _python_version(draft, path.parent)
    try:
        _read_into(draft, file, groups, extras, has_image=has_image)
    except (AttributeError, KeyError, TypeError):
        raise CommandError(f"{file}: not of the form that its tool writes; make it again") from None
    beside = _beside(path.parent)
    draft.require_python(beside.get("requires-python"), str(path.parent / "pyproject.toml"))
    draft.name = draft.name or _named(path, beside)
    return draft


def _read_into(
    draft: Draft, file: str, groups: Sequence[str], extras: Sequence[str], *, has_image: bool
) -> None:
    path, text = Path(file), read_text(file)
    chosen = (*groups, *extras)
    if path.suffix == ".py":
        _script(draft, file, text)
    elif path.name == "uv.lock":
        read_uv_lock(draft, file, text, groups, extras)
        chosen = ()
    elif path.name == "pylock.toml" or (path.suffix == ".toml" and is_pylock(text)):
        read_pylock(draft, file, text, has_image=has_image)
    elif path.suffix == ".toml":
        read_table(draft, file, read_toml(file, text), groups, extras)
        chosen = ()
    else:
        PipReader(draft, _read).text(text, file)
    if chosen:
        raise CommandError(f"{file}: it has no groups and extras; leave {', '.join(chosen)} out")


def _beside(directory: Path) -> Table:
    """Return the project that a directory is of, as its pyproject.toml has it."""
    try:
        return table_of(
            tomllib.loads((directory / "pyproject.toml").read_text("utf-8")).get("project")
        )
    except (OSError, ValueError):
        return {}


def _named(path: Path, project: Table) -> str:
    """Return a name after a file, or after its project where that says nothing."""
    stem = path.name.partition(".")[0]
    if stem in {"pyproject", "uv", "pylock"} or _PLAIN.fullmatch(stem):
        name = project.get("name")
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


def _script(draft: Draft, file: str, text: str) -> None:
    found = _SCRIPT.search(text)
    if not found:
        raise CommandError(f"{file}: it has no block '# /// script' that lists dependencies")
    lines = (re.sub(r"^# ?", "", line) for line in found[1].splitlines())
    table = read_toml(file, "\n".join(lines))
    draft.require_python(table.get("requires-python"), file)
    sources = read_uv(draft, file, table)
    require_lines(draft, file, "dependencies", texts_of(table.get("dependencies")), sources)
