"""Reads sets in files: YAML or JSON, several documents a file, lists of objects, `-` for stdin.

Each document is kept with its origin, so that a problem can name file, line and field:

    sets.yaml:12: document 2: spec.requirements[2]: what is wrong; what to do

ConfigMaps are kept too, since sets may read them. A document of another kind is a note, not a
problem, unless it looks like a misspelt set.

A hook (`flowdeps validate --skip-others`) gets every YAML and JSON file of a repository. Some are
templates, which are neither, and some take long to parse, so a file is parsed only if its text
names what is read here. A document that is meant to be a set, and is not one, is not skipped.
"""

import difflib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from flowdeps.api.fields import shown
from flowdeps.api.names import API_VERSION, GROUP, KIND
from flowdeps.api.problems import InvalidError, Problem

STDIN = "-"
_ALIASED = 100_000
"""How many values the aliases of a document may add."""
_NAMES = re.compile(rf"{re.escape(GROUP)}|{KIND}|ConfigMap", re.IGNORECASE)
_HEAD = re.compile(
    rf"""^[ \t{{"'-]*(apiVersion|kind)["']?\s*:\s*["']?({re.escape(GROUP)}/|{KIND}\b)""",
    re.MULTILINE,
)
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


@dataclass(frozen=True)
class Origin:
    """Where a document is from."""

    file: str
    number: int
    """Which document of the file it is, from 1."""
    node: yaml.Node | None = field(default=None, repr=False, compare=False)
    """What knows the lines of its fields."""
    base: str = ""
    """The path of the object, where the document is a list of objects."""

    def line(self, path: str, message: str) -> str:
        """Return a problem as one line that begins with where it is."""
        path = ".".join(part for part in (self.base, path) if part)
        mark = f":{_line_of(self.node, path)}" if self.node else ""
        text = Problem(path, " ".join(message.split()))
        return f"{self.file}{mark}: document {self.number}: {text}"

    def lines(self, error: InvalidError) -> list[str]:
        """Return all problems of the document, a line each."""
        return [self.line(problem.path, problem.message) for problem in error.problems]


@dataclass(frozen=True)
class Manifest:
    """One FlowDependencySet or ConfigMap as a file has it, unchecked."""

    origin: Origin
    body: dict[str, Any]

    @property
    def name(self) -> str:
        """Return its name; empty if it has none."""
        return self._metadata("name") or ""

    @property
    def namespace(self) -> str | None:
        """Return its namespace; None if the document names none."""
        return self._metadata("namespace")

    def _metadata(self, field: str) -> str | None:
        metadata = self.body.get("metadata")
        text = metadata.get(field) if isinstance(metadata, dict) else None
        return text if isinstance(text, str) and text else None


@dataclass
class Manifests:
    """What files hold, with a line for each problem and each note."""

    skip_others: bool = False
    """Whether documents that have nothing to do with sets get no line."""
    sets: list[Manifest] = field(default_factory=list)
    config_maps: list[Manifest] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_manifests(files: list[str], *, skip_others: bool = False) -> Manifests:
    """Return what files hold; a file that can't be read is a problem, never an error."""
    found = Manifests(skip_others)
    for file in files:
        name = "stdin" if file == STDIN else file
        try:
            text = sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
        except OSError as error:
            found.problems.append(f"{name}: {error.strerror}; give the path of a readable file")
        except UnicodeDecodeError:
            if not skip_others:
                found.problems.append(f"{name}: not a text file in UTF-8; save it as one")
        else:
            if not skip_others or _NAMES.search(text):
                _read(name, text, found)
    return found


def _read(file: str, text: str, found: Manifests) -> None:
    number = 1
    problems = list[str]()
    try:
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            origin = Origin(file, number, node)
            if _beyond_all_bounds(node):
                message = "its aliases make it too large; write out what they stand for"
                problems.append(origin.line("", message))
                break
            document = _construct(node)
            if not found.skip_others or _concerns(document):
                for path in _repeated(node):
                    message = "written twice, and only one counts; remove the other"
                    found.problems.append(origin.line(path, message))
                _sort(origin, document, found)
            number += 1
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or " ".join(str(error).split())
        problems.append(f"{file}{line}: document {number}: not YAML: {what}; correct it")
    except RecursionError:
        message = "nested too deeply; write it with fewer levels"
        problems.append(f"{file}: document {number}: {message}")
    is_template = "{{" in text  # which is no YAML
    if not found.skip_others or (_HEAD.search(text) and not is_template):
        found.problems += problems


def _construct(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except ValueError as error:  # a date that no calendar has
        raise yaml.constructor.ConstructorError(problem=str(error)) from None
    finally:
        loader.dispose()


def _concerns(document: Any) -> bool:
    """Whether a document is a set, right or wrong, a ConfigMap, or a list with one of them."""
    if not isinstance(document, dict):
        return False
    kind, version, items = (document.get(name) for name in ("kind", "apiVersion", "items"))
    if isinstance(items, list) and isinstance(kind, str) and kind.endswith("List"):
        return any(map(_concerns, items))
    return (
        (kind, version) == ("ConfigMap", "v1")
        or (isinstance(kind, str) and kind.lower() == KIND.lower())
        or (isinstance(version, str) and version.split("/")[0] == GROUP)
    )


def _sort(origin: Origin, document: Any, found: Manifests) -> None:
    """Sort a document in: as a set, a ConfigMap, a problem or a note."""
    if document is None:
        return
    if not isinstance(document, dict):
        message = "not an object of Kubernetes; begin with apiVersion and kind"
        found.problems.append(origin.line("", message))
        return
    kind, version = document.get("kind"), document.get("apiVersion")
    items = document.get("items")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(items, list):
        for index, item in enumerate(items):
            _sort(Origin(origin.file, origin.number, origin.node, f"items[{index}]"), item, found)
    elif (kind, version) == (KIND, API_VERSION):
        found.sets.append(Manifest(origin, document))
    elif (kind, version) == ("ConfigMap", "v1"):
        found.config_maps.append(Manifest(origin, document))
    elif misspelt := _misspelt(kind, version):
        found.problems.append(origin.line(*misspelt))
    else:
        found.notes.append(f"{origin.file}: document {origin.number}: a {_plain(kind)}; skipped")


def _misspelt(kind: Any, version: Any) -> tuple[str, str] | None:
    """The field and what is wrong with it, if the object is meant to be a set."""
    if kind is None:
        return ("kind", f"missing; write `kind: {KIND}` with `apiVersion: {API_VERSION}`")
    if kind == KIND:
        return ("apiVersion", f"{shown(version)} is not known; write {API_VERSION}")
    ours = _plain(version).split("/", maxsplit=1)[0] == GROUP
    if ours or difflib.get_close_matches(_plain(kind).lower(), [KIND.lower()], cutoff=0.8):
        return ("kind", f"{shown(kind)} is not known; write {KIND}")
    return None


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else shown(value)


def _line_of(node: yaml.Node, path: str) -> int:
    """The line, from 1, of the field at `path`, or of the nearest field above it."""
    line = node.start_mark.line
    for index, name in _STEP.findall(path):
        if isinstance(node, yaml.SequenceNode) and index and int(index) < len(node.value):
            node = node.value[int(index)]
            line = node.start_mark.line
        elif isinstance(node, yaml.MappingNode) and name:
            found = [(key, value) for key, value in node.value if key.value == name]
            if not found:
                break
            line, node = found[-1][0].start_mark.line, found[-1][1]
        else:
            break
    return line + 1


def _beyond_all_bounds(root: yaml.Node) -> bool:
    """Whether a document is far larger than its text once all aliases are written out, as merge
    keys (`<<`) do, and printing a value."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = 1  # also what one that holds itself finds
            if isinstance(node, yaml.SequenceNode):
                sizes[id(node)] += sum(map(size, node.value))
            elif isinstance(node, yaml.MappingNode):
                sizes[id(node)] += sum(size(key) + size(value) for key, value in node.value)
        return sizes[id(node)]

    return size(root) > len(sizes) + _ALIASED


def _repeated(root: yaml.Node) -> Iterator[str]:
    """The paths of keys that a mapping has twice: YAML takes the last one in silence."""
    seen: set[int] = set()
    waiting = [(root, "")]
    while waiting:
        node, path = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, f"{path}[{index}]") for index, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            names: set[str] = set()
            for key, value in node.value:
                here = f"{path}.{key.value}" if path else str(key.value)
                if isinstance(key, yaml.ScalarNode) and key.value in names:
                    yield here
                names.add(str(key.value))
                waiting.append((value, here))
