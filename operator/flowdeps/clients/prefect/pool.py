"""A pool and its workers, as far as Prefect tells of them.

A server of one's own keeps of a heartbeat that it came. A worker's version of Prefect is in the
events that it sends when it starts and for each run; the version of its integrations is nowhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.version import InvalidVersion, Version

from flowdeps.api.wording import listed

OLDEST = "3.5.0"
"""The oldest Prefect of a worker that is supported, with prefect-kubernetes 0.6.6."""
_SHOWN = 3


@dataclass(frozen=True)
class Pool:
    """A work pool as Prefect has it now."""

    name: str
    type: str
    template: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """The versions of Prefect that a pool's runs have to do with."""

    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the workers, by name."""
    server: str = ""
    """Of the server."""

    @property
    def prefect(self) -> str:
        """The newest of the workers' versions, the server's if none is known."""
        return max(self.versions.values(), key=_parsed, default=self.server)

    @property
    def notes(self) -> Iterator[str]:
        """What people should know of them."""
        old = [
            f"{name} has Prefect {version}"
            for name, version in sorted(self.versions.items())
            if _parsed(version) < Version(OLDEST)
        ]
        if old:
            yield (
                f"a worker is older than flowdeps supports ({listed(old, most=_SHOWN)}): upgrade it"
                f" to Prefect {OLDEST} with prefect-kubernetes 0.6.6, or newer; until then"
                " PYTHONPATH of the pool or of a deployment may be lost, and runs that install for"
                " more than a minute may be given up"
            )


def _parsed(version: str) -> Version:
    try:
        return Version(version)
    except InvalidVersion:
        return Version("0")
