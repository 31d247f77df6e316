"""What the documentation shows is accepted: sets, configurations, command lines.

A block of YAML says what it is: an object by its kind, others by a comment in their first line
(`# config.yaml`, `# prefect.yaml`).
"""

import re
import shlex
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowdeps.api.config import parse_config
from flowdeps.api.names import KIND
from flowdeps.api.resource import parse_spec
from flowdeps.cli.main import build_parser
from tests.support.pages import blocks

_ROOT = Path(__file__).parents[3]
_PAGES = sorted([_ROOT / "README.md", *_ROOT.glob("docs/**/*.md")])
_HERE = re.compile(r"<<YAML\n(.*?)^YAML$", re.MULTILINE | re.DOTALL)
_CONFIG, _OTHERS = "# config.yaml", ("# prefect.yaml", "# values.yaml")  # tested with the chart


def _blocks(language: str) -> Iterator[tuple[str, str]]:
    """Each block of a language: where it stands, and its text."""
    for page in _PAGES:
        for line, text in blocks(page, language):
            yield f"{page.relative_to(_ROOT)}:{line}", text


def _yaml() -> Iterator[tuple[str, str]]:
    yield from _blocks("yaml")
    for where, text in _blocks("console"):
        yield from ((f"{where} (<<YAML)", found[1]) for found in _HERE.finditer(text))


def _objects() -> list[Any]:
    found = []
    for where, text in _yaml():
        if not text.startswith((_CONFIG, *_OTHERS)):
            for number, body in enumerate(yaml.safe_load_all(text), start=1):
                found.append(pytest.param(body, id=f"{where}:{number}"))
    return found


def _configurations() -> list[Any]:
    return [pytest.param(text, id=where) for where, text in _yaml() if text.startswith(_CONFIG)]


def _command_lines() -> list[Any]:
    """The flowdeps commands in the documentation, as the shell would split them."""
    found = []
    for where, text in _blocks("console"):
        joined = text.replace("\\\n", " ")
        for line in re.findall(r"^\$ (.*)$", joined, re.MULTILINE):
            for part in re.split(r" [|>] ", line.replace("<<YAML", "")):
                if Path(part.partition(" ")[0]).name == "flowdeps":
                    words = shlex.split(part, comments=True)
                    found.append(pytest.param(words[1:], id=f"{where} {shlex.join(words)}"))
    return found


def _parsers() -> Iterator[ArgumentParser]:
    """The program's parser, and that of each command."""
    main = build_parser()
    yield main
    for action in main._subparsers._group_actions if main._subparsers else ():
        yield from (action.choices or {}).values()  # type: ignore[attr-defined]


def _help_examples() -> list[Any]:
    """The command lines that end the help of a command."""
    found = []
    for parser in _parsers():
        for line in re.findall(r"^  (?:.* \| )?flowdeps (.*)$", parser.epilog or "", re.MULTILINE):
            words = shlex.split(re.split(r" [|>] ", line)[0])
            found.append(pytest.param(words, id=f"{parser.prog}: {line}"))
    return found


@pytest.mark.parametrize("body", _objects())
def test_every_set_that_is_shown_is_valid(body: Any) -> None:
    """The API would take it as it stands; a block that is no object says what it is."""
    assert "apiVersion" in body
    if body["kind"] == KIND:
        assert parse_spec(body)


@pytest.mark.parametrize("text", _configurations())
def test_every_configuration_that_is_shown_is_valid(text: str) -> None:
    """The operator would start with it."""
    assert parse_config(yaml.safe_load(text))


@pytest.mark.parametrize("words", [*_command_lines(), *_help_examples()])
def test_every_command_line_that_is_shown_is_one(words: list[str]) -> None:
    """The command is there, and so are its flags; a file of ours that is named is there as well."""
    assert [
        word for word in words if word.startswith("examples/") and not any(_ROOT.glob(word))
    ] == []
    ended: object = 0
    try:
        build_parser().parse_args(words)
    except SystemExit as error:  # --version ends well
        ended = error.code
    assert ended == 0, f"flowdeps {shlex.join(words)}: no such command line"


def test_there_is_something_of_each_kind() -> None:
    """The documentation is found and read: a test of nothing would not fail."""
    kinds = [one.values[0]["kind"] for one in _objects()]
    assert kinds.count(KIND) > 10
    assert len(_configurations()) > 3
    assert len(_command_lines()) > 5
    assert len(_help_examples()) > 10
