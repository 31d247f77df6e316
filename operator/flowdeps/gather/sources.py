"""Texts that sets refer to: keys of ConfigMaps, Prefect variables, Secrets with credentials.

That there is none is a finding, not an error: it may have been deleted on purpose, and its set must
say so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowdeps.gather.texts import TextError, keys_of, text_under


@dataclass(frozen=True)
class ConfigMapKey:
    """A key of a ConfigMap."""

    namespace: str
    name: str
    key: str

    def __str__(self) -> str:
        return f'key "{self.key}" of ConfigMap {self.namespace}/{self.name}'


@dataclass(frozen=True)
class PrefectVariable:
    """A Prefect variable."""

    name: str

    def __str__(self) -> str:
        return f'Prefect variable "{self.name}"'


@dataclass(frozen=True)
class SecretName:
    """A Secret."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"Secret {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Absent:
    """What was looked for isn't there; `message` says what is missing."""

    message: str


@dataclass(frozen=True)
class Present:
    """What a source holds: a text, a variable's value, or a Secret's data (never shown)."""

    content: Any = field(repr=False)


@dataclass(frozen=True)
class Unreadable:
    """What was looked for is there, and is no text; `message` says what to do."""

    message: str


SourceRef = ConfigMapKey | PrefectVariable | SecretName
Content = Present | Absent | Unreadable


def key_content(ref: ConfigMapKey, config_map: Mapping[str, Any]) -> Content:
    """Return what a ConfigMap holds under a key."""
    try:
        text = text_under(config_map, ref.key)
    except TextError as error:
        return Unreadable(f"{ref} is there, but {error}")
    if text is None:
        there = ", ".join(keys_of(config_map)) or "none"
        return Absent(f"there is no {ref}; its keys: {there}; create it")
    return Present(text)
