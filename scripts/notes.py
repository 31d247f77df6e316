"""Prints what CHANGELOG.md says of a version: the notes of its release.

python -m scripts.notes 1.2.3
"""

import re
import sys
from pathlib import Path

_CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"


def notes(version: str, changelog: str) -> str:
    """The section of a version, without its heading. Raises LookupError where there is none."""
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if heading.startswith(f"[{version}]") and text.strip():
            return text.strip() + "\n"
    raise LookupError(f"CHANGELOG.md says nothing of {version}: give it a section ## [{version}]")


if __name__ == "__main__":
    try:
        print(notes(sys.argv[1], _CHANGELOG.read_text(encoding="utf-8")), end="")
    except LookupError as error:
        sys.exit(str(error.args[0]))
