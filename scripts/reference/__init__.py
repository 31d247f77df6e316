"""Makes what is generated of docs/: tables read from the resource, the metrics, the events and the
commands, so that each is documented as it is.

    python -m scripts.reference            write what differs
    python -m scripts.reference --check    say what differs, and write nothing

A page has a table between two marks, `<!-- reference: NAME -->` and `<!-- end of reference -->`;
what stands around it is written by hand.
"""

import re
from collections.abc import Callable
from pathlib import Path

from scripts.reference import commands, resource, signals

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCKS: dict[str, Callable[[], str]] = {
    "spec": resource.spec,
    "status": resource.status,
    "columns": resource.columns,
    "metrics": signals.metrics,
    "events": signals.events,
    "reasons": signals.reasons,
    **{f"flowdeps {name}": make for name, make in commands.tables().items()},
}
_BLOCK = re.compile(
    r"<!-- reference: ([\w -]+) -->\n(.*?)<!-- end of reference -->", re.DOTALL | re.MULTILINE
)


class UnknownTableError(ValueError):
    """A page asks for a table that there is not; the message says which."""


def used(text: str) -> list[str]:
    """The tables of a page, by name."""
    return [found[1] for found in _BLOCK.finditer(text)]


def with_tables(text: str) -> str:
    """A page with its tables made anew."""

    def made(found: re.Match[str]) -> str:
        name = found[1]
        if name not in BLOCKS:
            raise UnknownTableError(f"no table {name!r}; there are: {', '.join(sorted(BLOCKS))}")
        return (
            f"<!-- reference: {name} -->\n\n{BLOCKS[name]().strip()}\n\n<!-- end of reference -->"
        )

    return _BLOCK.sub(made, text)


def pages() -> list[Path]:
    """The pages that have tables."""
    return [page for page in sorted(DOCS.rglob("*.md")) if used(page.read_text(encoding="utf-8"))]


def stale() -> dict[Path, str]:
    """The pages that differ from what they must be."""
    made = {page: with_tables(page.read_text(encoding="utf-8")) for page in pages()}
    return {page: text for page, text in made.items() if page.read_text(encoding="utf-8") != text}
