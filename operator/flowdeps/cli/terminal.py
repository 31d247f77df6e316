"""What the commands print: the one place that writes to standard output and standard error."""

import sys
from typing import Any

from flowdeps.locks.legible import legible, legible_json


def say(text: object = "", *, end: str = "\n") -> None:
    """Print an answer. Nothing that others wrote can steer a terminal."""
    print(legible(str(text)), end=end)


def say_aside(text: object) -> None:
    """Print what is no part of the answer, to standard error."""
    print(legible(str(text)), file=sys.stderr)


def say_json(value: Any) -> None:
    """Print an answer as JSON."""
    print(legible_json(value))
