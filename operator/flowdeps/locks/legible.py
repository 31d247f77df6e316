"""How a text of somebody else may be shown: in a status, an event, a log, on a terminal.

Control characters and escapes steer a terminal, bidirectional controls let a text look like another
one, line breaks make one message look like two, and a lone surrogate, as JSON may hold, can't be
written at all. Errors of all that is outside (pods, uv, indexes, Prefect, the API server) and what
goes out (conditions, statuses, events, logs, the command line) pass through here.
"""

import json
from typing import Any

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_LAYOUT = "\n\t"


def printable(text: str) -> str:
    """Return a text as one line for people, whatever is in it."""
    return _without(" ".join(text.split()), kept="")


def legible(text: str) -> str:
    """Return a text with its lines and spaces, whatever else is in it."""
    return _without(text, kept=_LAYOUT)


def legible_json(value: Any) -> str:
    """Return JSON for people and programs: the same value, with escapes for what can't be shown."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if legible(text) == text:
        return text
    return "".join(one if one.isprintable() or one in _LAYOUT else _escaped(one) for one in text)


def _escaped(one: str) -> str:
    return json.dumps(one)[1:-1]  # in ASCII


def _without(text: str, *, kept: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in kept else _REPLACEMENT for one in text)
