"""uv as a child process."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one resolution may use: seconds, bytes of memory, bytes of output."""

    timeout: float = 300
    memory: int = 2 * 1024**3
    output: int = 32 * 1024**2


class ResolveError(Exception):
    """No lock could be made. ``reason`` is a condition's, ``retry``: time may help."""

    reason: ClassVar[str] = "ResolverFailed"
    retry: bool = True

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UnsatisfiableError(ResolveError):
    """The requirements can't be met together, or not from the index: the spec must change."""

    reason = "Unsatisfiable"
    retry = False


class IndexUnavailableError(ResolveError):
    """The index can't be reached, answers with an error or asks for credentials."""

    reason = "IndexUnavailable"


class LimitExceededError(ResolveError):
    """The resolver was ended because it passed one of its limits."""

    reason = "ResolverLimit"


class ResolverError(ResolveError):
    """The resolver failed in a way that we have no better word for."""


class Resolver:
    """Makes locks with uv, at most ``concurrency`` children at once."""

    def __init__(
        self, *, limits: Limits, concurrency: int, cache: Path, uv: Path | None = None
    ) -> None:
        self._limits, self._concurrency, self._cache, self._uv = limits, concurrency, cache, uv

    async def resolve(self, request: LockRequest, *, previous: Lock | None) -> Lock:
        """A lock for ``request``; ``previous`` pins are kept where still allowed (None: newest).

        Raises a `ResolveError`.
        """
        raise ResolverError("not there yet")
