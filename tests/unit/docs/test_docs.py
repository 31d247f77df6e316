"""What the documentation must name is named: reasons, metrics, fields, commands and flags."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowdeps.api.config import parse_config
from flowdeps.api.problems import InvalidError
from flowdeps.api.reasons import Reason
from flowdeps.cli import diff, lock, run, status, template, validate
from flowdeps.observe import Metrics
from flowdeps.reconcile.report import STALLED

_ROOT = Path(__file__).parents[3]
_OPERATIONS = (_ROOT / "docs" / "operations.md").read_text()
_CONFIGURATION = (_ROOT / "docs" / "configuration.md").read_text()
_PAGES = sorted([*_ROOT.glob("*.md"), *_ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_explained(reason: Reason) -> None:
    """docs/operations.md has a row for it, which says whether it waits for a person."""
    rows = [line for line in _OPERATIONS.splitlines() if line.startswith("|")]
    row = next((row for row in rows if f"`{reason}`" in row.split("|")[1]), None)
    assert row is not None
    assert ("Stalled" in row) == (reason in STALLED)


def test_no_reason_is_explained_that_is_gone() -> None:
    """The table of reasons has no others."""
    table = _OPERATIONS.partition("## Reasons")[2].partition("\n## ")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name for cell in first for name in re.findall(r"`(\w+)`", cell)} == set(Reason)


def test_every_metric_is_listed() -> None:
    """docs/operations.md lists each as it is scraped, and no other."""
    named = set(re.findall(r"^\| `(flowdeps_\w+)`", _OPERATIONS, re.MULTILINE))
    families = Metrics().registry.collect()
    assert named == {one.name + ("_total" if one.type == "counter" else "") for one in families}


@pytest.mark.parametrize(
    "section",
    [
        "",
        "prefect",
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


@pytest.mark.parametrize("command", [run, validate, lock, diff, template, status])
def test_every_flag_is_documented(command: Any) -> None:
    """docs/commands.md names each command with each of its flags."""
    page = (_ROOT / "docs" / "commands.md").read_text()
    parser = command.add_parser(argparse.ArgumentParser().add_subparsers())
    name = parser.prog.split()[-1]
    section = page.partition(f"\n## flowdeps {name}\n")[2].partition("\n## ")[0]
    flags = {flag for action in parser._actions for flag in action.option_strings}
    missing = {flag for flag in flags - {"-h", "--help"} if f"`{flag}" not in section}
    assert section
    assert not missing


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link is to a file that is there."""
    assert not [target for target in _links(page) if not (page.parent / target).exists()]


def _links(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path = target.partition("#")[0]
        if path and "://" not in path:
            yield path
