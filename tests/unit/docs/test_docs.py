"""What the documentation must name is named: reasons, fields and commands; its links hold."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowdeps.api.config import parse_config
from flowdeps.api.problems import InvalidError
from flowdeps.api.reasons import Reason
from scripts.reference.commands import parsers

_ROOT = Path(__file__).parents[3]
_OPERATIONS = (_ROOT / "docs" / "operations.md").read_text()
_CONFIGURATION = (_ROOT / "docs" / "configuration.md").read_text()
_NAMING = sorted(
    path
    for folder in ("operator", "charts", "examples", "integrations", ".github")
    for path in (_ROOT / folder).rglob("*.*")
    if path.suffix in {".py", ".yaml", ".yml", ".json", ".tpl", ".txt"}
    and "docs/" in path.read_text()
)
_PAGES = sorted([*_ROOT.glob("*.md"), *_ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_explained(reason: Reason) -> None:
    """docs/operations.md has a row for it, which says whether it waits for a person."""
    rows = [line for line in _OPERATIONS.splitlines() if line.startswith("|")]
    row = next((row for row in rows if f"`{reason}`" in row.split("|")[1]), None)
    assert row is not None
    assert ("**Stalled.**" in row) == reason.is_stalled
    assert ("**Stalled** after 15 minutes." in row) == reason.may_be_missing


def test_no_reason_is_explained_that_is_gone() -> None:
    """The table of reasons has no others."""
    table = _OPERATIONS.partition("## Reasons")[2].partition("\n## ")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name for cell in first for name in re.findall(r"`(\w+)`", cell)} == set(Reason)


@pytest.mark.parametrize(
    "section",
    [
        "",
        "prefect",
        "leaderElection",
        "index",
        "resolver",
        "images",
        "pods",
        "vulnerabilities",
        "workPools[]",
        "workPools[].install",
    ],
)
def test_every_field_of_the_configuration_is_listed(section: str) -> None:
    """docs/configuration.md has a row for each field that the parser knows, and no other."""
    named = re.findall(r"^\| `([a-z][\w.\[\]]*)` \|", _CONFIGURATION, re.MULTILINE)
    prefix = f"{section}." if section else ""
    direct = {
        re.split(r"[.\[]", name.removeprefix(prefix))[0]
        for name in named
        if name.startswith(prefix)
    }
    assert direct == _known(section)


def _known(section: str) -> set[str]:
    """The fields of a section, as the parser tells them to somebody who wrote another."""
    document: dict[str, Any] = {"?": "?"}
    for step in reversed(section.split(".") if section else []):
        name = step.removesuffix("[]")
        document = {name: [{"name": "x", **document}] if step.endswith("[]") else document}
    with pytest.raises(InvalidError) as refused:
        parse_config(document)
    told = next(one.message for one in refused.value.problems if "known: " in one.message)
    return set(told.partition("known: ")[2].split(", "))


def test_the_configuration_shown_is_valid() -> None:
    """The example in docs/configuration.md is accepted as it stands."""
    example = _CONFIGURATION.partition("```yaml\n")[2].partition("```")[0]
    assert parse_config(yaml.safe_load(example)).work_pools


@pytest.mark.parametrize("name", parsers())
def test_every_command_has_a_section(name: str) -> None:
    """docs/commands.md has one with the table of its arguments, under its name."""
    page = (_ROOT / "docs" / "commands.md").read_text()
    section = page.partition(f"\n## flowdeps {name}\n")[2].partition("\n## ")[0]
    assert f"<!-- reference: flowdeps {name} -->" in section


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link is to a file that is there, and to a heading of it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in target:
            assert _is_there(page.parent, target), target


@pytest.mark.parametrize("source", _NAMING, ids=lambda source: source.name)
def test_pages_that_others_name_are_there(source: Path) -> None:
    """Messages, values and comments that say docs/… lead to a page, and to a heading of it."""
    for target in re.findall(r"\bdocs/[\w/.-]+\.(?:md|yaml)(?:#[\w-]+)?", source.read_text()):
        assert _is_there(_ROOT, target), target


def test_every_test_that_security_names_is_one() -> None:
    """What docs/security.md gives as a proof is run."""
    page = (_ROOT / "docs" / "security.md").read_text()
    last = [
        row.split("|")[-2] for row in page.partition("## Threats")[2].splitlines() if row[:1] == "|"
    ]
    titles = [title for cell in last for title in re.findall(r"\*([^*]+)\*", cell)]
    named = {f"test_{title.replace(' ', '_')}" for title in titles}
    tests = "".join(path.read_text() for path in (_ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 20
    assert not {name for name in named if f"def {name}(" not in tests}


def _is_there(base: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    path = base / name if name else None
    if path and not path.exists():
        return False
    return not anchor or path is None or anchor in _anchors(path.read_text())


def _anchors(page: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
