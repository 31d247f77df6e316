"""Texts that sets refer to: keys of ConfigMaps, Prefect variables, Secrets with credentials.

Each is read by its name, never listed or watched, so the operator's role needs no more than `get`,
and is read again every half minute. That there is none is a finding, not an error: it may have been
deleted on purpose, and its set must say so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowdeps.clients.kubernetes import Cluster
from flowdeps.clients.prefect.client import Pools
from flowdeps.gather.credentials import secret_data
from flowdeps.gather.texts import TextError, keys_of, text_under

AGAIN = 30.0
AGAIN_MISSING = 10.0
"""Seconds between two looks at what is there, and at what is not."""


@dataclass(frozen=True)
class ConfigMapKey:
    """A key of a ConfigMap."""

    namespace: str
    name: str
    key: str

    def __str__(self) -> str:
        return f'key "{self.key}" of ConfigMap {self.namespace}/{self.name}'


@dataclass(frozen=True)
class Variable:
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


SourceRef = ConfigMapKey | Variable | SecretName
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


class Sources:
    """Reads sources."""

    def __init__(self, cluster: Cluster, pools: Pools) -> None:
        self._cluster = cluster
        self._pools = pools

    async def read(self, thing: SourceRef, _known: Content | None) -> tuple[Content, float]:
        """Return what a source holds now, and in how many seconds to read it again."""
        match thing:
            case ConfigMapKey():
                content = await self._config_map(thing)
            case SecretName():
                content = await self._secret(thing)
            case Variable():
                content = await self._variable(thing)
        return content, AGAIN_MISSING if isinstance(content, Absent) else AGAIN

    async def _config_map(self, thing: ConfigMapKey) -> Content:
        body = await self._cluster.get_config_map(thing.namespace, thing.name)
        if body is None:
            return Absent(f"there is no ConfigMap {thing.namespace}/{thing.name}; create it")
        return key_content(thing, body)

    async def _secret(self, thing: SecretName) -> Content:
        body = await self._cluster.get_secret(thing.namespace, thing.name)
        if body is None:
            return Absent(f"there is no {thing}; create it")
        return Present(secret_data(body))

    async def _variable(self, thing: Variable) -> Content:
        found = await self._pools.variable(thing.name)
        return Present(found.value) if found else Absent(f"there is no {thing}; create it")
