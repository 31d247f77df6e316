"""What a page of the documentation shows: blocks, commands, and what these print."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The commands that no test runs as they are on the page, and why.
NOT_RUN = {
    "README.md": {
        "make setup": "it makes the environment that runs the tests",
        "make demo": "tests/e2e/demo runs it",
        "make test": "it is what runs the tests",
    },
    "docs/start.md": {
        "make setup": "the way without the chart: README's, which is followed as well",
        "kubectl apply -f crds/": "the same",
        ".venv/bin/flowdeps run --log-format text": "the same",
    },
}
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# A command goes on after a backslash, and to the end of its here-document.
_COMMAND = re.compile(
    r"^\$ (?P<command>(?:.*\\\n)*(?:.*<<YAML.*\n(?:.*\n)*?YAML|.*))$\n?"
    r"(?P<output>(?:(?!\$ ).*\n?)*)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Shown:
    """A command as it is on a page, and what the page says it prints."""

    command: str
    output: str

    @property
    def plain(self) -> str:
        """The command without a comment behind it."""
        return self.command.partition("  #")[0].rstrip()


def blocks(page: Path, language: str) -> Iterator[tuple[int, str]]:
    """Iterate over the blocks of a language: their line in the page, and their text."""
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        if found[2] == language:
            line = text.count("\n", 0, found.start()) + 1
            yield line, re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE)


def commands(name: str) -> list[Shown]:
    """All that a page tells its reader to type, in its order."""
    return [
        Shown(one["command"], one["output"])
        for _, text in blocks(ROOT / name, "console")
        for one in _COMMAND.finditer(text)
    ]


def to_follow(name: str) -> list[Shown]:
    """What somebody types who follows a page."""
    return [one for one in commands(name) if one.plain not in NOT_RUN[name]]
