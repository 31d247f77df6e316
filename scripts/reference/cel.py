"""The messages that a rule in CEL can give, from the expression that makes them.

Two forms are read, those of crds/:

    condition ? 'one' : condition ? 'another' : 'a third'    each is a message
    'text ' + value + ' more ' + (condition ? 'this' : '')   one message, `…` for a value
"""

import re

_TOKEN = re.compile(r"'((?:[^'\\]|\\.)*)'|\(([^()]*(?:\([^()]*\)[^()]*)*)\)|([^'()+]+)|\+")
_CHOSEN = re.compile(r"[?:]\s*'((?:[^'\\]|\\.)*)'")


def messages(rule: dict[str, str]) -> list[str]:
    """What somebody is told whose value breaks the rule."""
    if "messageExpression" not in rule:
        return [rule["message"]]
    expression = rule["messageExpression"]
    if _is_choice(expression):
        return _CHOSEN.findall(expression)
    return [_concatenated(expression)]


def _is_choice(expression: str) -> bool:
    """Whether a condition stands outside all parentheses and texts."""
    bare = re.sub(r"'(?:[^'\\]|\\.)*'", "", expression)
    while (inner := re.sub(r"\([^()]*\)", "", bare)) != bare:
        bare = inner
    return "?" in bare


def _concatenated(expression: str) -> str:
    parts = []
    for text, group, value in _TOKEN.findall(expression):
        if group:
            parts.append("/".join(one for one in _CHOSEN.findall(group) if one))
        elif value.strip():
            parts.append("…")
        else:
            parts.append(text)
    return "".join(parts)
