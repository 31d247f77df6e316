"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; columns that are empty in every row are left out."""
    body = list(rows)
    kept = [i for i, _ in enumerate(header) if any(row[i] for row in body)]
    lines = [[header[i] for i in kept], ["---" for _ in kept]]
    lines += [[cell(row[i]) for i in kept] for row in body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(text: str) -> str:
    """A text as it may stand in a cell."""
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    """A text as it is; it may have backticks itself."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"
