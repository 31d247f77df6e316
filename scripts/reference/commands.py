"""The commands' arguments, from the parser that reads them."""

import argparse
from collections.abc import Callable
from functools import partial

from flowdeps.cli.main import build_parser
from scripts.reference.tables import code, table


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command that is listed for people."""
    (found,) = (
        {one.dest: action.choices[one.dest] for one in action._choices_actions}
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return dict(found)


def tables() -> dict[str, Callable[[], str]]:
    """What makes the table of each command."""
    return {name: partial(_arguments, parser) for name, parser in parsers().items()}


def _arguments(parser: argparse.ArgumentParser) -> str:
    rows = []
    for action in parser._actions:
        if "--help" in action.option_strings:
            continue
        value = _value(action)
        names = [f"{name} {value}".strip() for name in action.option_strings] or [value]
        needed = "required: " if action.required and action.option_strings else ""
        rows.append((", ".join(code(name) for name in names), needed + (action.help or "")))
    return table(("argument", "meaning"), rows)


def _value(action: argparse.Action) -> str:
    """What is written for a value, and whether there may be more."""
    if action.nargs == 0:
        return ""
    name = action.metavar if isinstance(action.metavar, str) else action.dest
    if action.choices:
        name = "|".join(action.choices)
    many = {"*": f"[{name} …]", "+": f"{name} …", "?": f"[{name}]"}
    return many.get(str(action.nargs), name)
