"""What sets refer to: keys of ConfigMaps, Prefect variables, Secrets with credentials.

A missing source is a value, not an error: it may have been deleted on purpose, and its set must
show that.
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
    """A source, or an included set, that does not exist."""

    message: str
    """What is missing, and what to do."""


@dataclass(frozen=True)
class Present:
    """What a source holds: a text, a variable's value, or a Secret's data (never shown)."""

    content: Any = field(repr=False)


@dataclass(frozen=True)
class Unreadable:
    """A source that exists but is no text, or an included set that is not valid."""

    message: str
    """What is wrong, and what to do."""


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
