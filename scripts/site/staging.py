"""What the site is made from: the pages of docs/ as they are, and a page for each other file of the
repository that a page or the navigation names.

    docs/how-to/flux.md                              how-to/flux.md
    [examples/flux](../../examples/flux/)            repository/examples/flux.md, all files of it
    [the action](../../integrations/…/action.yml)    repository/integrations/…/action.yml.md
    [the changes](../CHANGELOG.md)                   repository/CHANGELOG.md, as the page it is
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

DOCS, REPOSITORY = PurePosixPath("docs"), PurePosixPath("repository")
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_FENCE = re.compile(r"^( *)(```+).*?^\1\2$", re.DOTALL | re.MULTILINE)
_NAMED = re.compile(rf"{REPOSITORY}/(\S+\.md)")
_LANGUAGES = {".yaml": "yaml", ".yml": "yaml", ".py": "python", ".lua": "lua", ".json": "json"}


class BuildError(RuntimeError):
    """The site cannot be made; the message says where, and what is wrong."""


def stage(root: Path, work: Path) -> None:
    """Put mkdocs.yml and all pages where the site is made."""
    config = (root / "mkdocs.yml").read_text(encoding="utf-8")
    (work / "mkdocs.yml").write_text(config, encoding="utf-8")
    shutil.copytree(root / DOCS, work / DOCS)
    wanted = {PurePosixPath(name) for name in _NAMED.findall(config)}
    for page in sorted((work / DOCS).rglob("*.md")):
        source = DOCS / page.relative_to(work / DOCS).as_posix()
        text = page.read_text(encoding="utf-8")
        wanted |= set(_outside(root, source, text))
        page.write_text(_rewritten(root, source, text), encoding="utf-8")
    done: set[PurePosixPath] = set()
    while wanted - done:
        source = min(wanted - done)
        done.add(source)
        text = _text(root, source)
        wanted |= set(_outside(root, source, text))
        page = work / DOCS / _place(source)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(_rewritten(root, source, text), encoding="utf-8")


def _text(root: Path, source: PurePosixPath) -> str:
    """A file of the repository as a page; of a directory, all its files."""
    path = root / source
    if path.is_dir():
        files = [one for one in sorted(path.rglob("*")) if one.is_file()]
        parts = (f"## {one.relative_to(path)}\n\n{_shown(one)}" for one in files)
        return f"# {source}\n\n" + "\n".join(parts)
    return path.read_text(encoding="utf-8") if source.suffix == ".md" else _page(source, path)


def _page(source: PurePosixPath, path: Path) -> str:
    return f"# {source}\n\n{_shown(path)}"


def _shown(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    fence = "`" * (3 + max((len(run) for run in re.findall(r"`{3,}", text)), default=0))
    return f"{fence}{_LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n{fence}\n"


def _place(source: PurePosixPath) -> PurePosixPath:
    """Where the page of a file is, from the top of the site."""
    if source.is_relative_to(DOCS):
        return source.relative_to(DOCS)
    name = source if source.suffix == ".md" else source.with_name(f"{source.name}.md")
    return REPOSITORY / name


def _outside(root: Path, source: PurePosixPath, text: str) -> Iterator[PurePosixPath]:
    """The files outside docs/ that a page links."""
    for found in _links(text):
        target = _target(source, found[2].partition("#")[0])
        if target and not target.is_relative_to(DOCS) and (root / target).exists():
            yield target


def _rewritten(root: Path, source: PurePosixPath, text: str) -> str:
    """A page with its links leading to where pages are in the site."""

    def moved(found: re.Match[str]) -> str:
        path, mark, anchor = found[2].partition("#")
        target = _target(source, path)
        if not target:
            return found[0]
        if not (root / target).exists():
            line = text.count("\n", 0, text.index(found[0])) + 1
            raise BuildError(f"{source}:{line}: there is no file {found[2]}")
        here = _place(source).parent
        there = os.path.relpath(_place(target), here)
        return f"{found[1]}{there}{mark}{anchor}{found[3]}"

    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [_LINK.sub(moved, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, _LINK.sub(moved, text[end:])])


def _links(text: str) -> Iterator[re.Match[str]]:
    return _LINK.finditer(_FENCE.sub("", text))


def _target(source: PurePosixPath, path: str) -> PurePosixPath | None:
    """The file that a link names, from the top of the repository; None: it is elsewhere."""
    if not path or "://" in path or path.startswith("mailto:"):
        return None
    named = PurePosixPath(os.path.normpath(source.parent / path))
    return None if named.parts[:1] == ("..",) else named
