"""How a resolution fails. Messages are for people: short, and without credentials."""

from typing import ClassVar

from flowdeps.api.reasons import Reason
from flowdeps.locks.legible import printable


class ResolveError(Exception):
    """No lock could be made.

    ``reason``: the reason of the condition that reports it. ``retry``: the same request may succeed
    later, with nothing changed in the resource.
    """

    reason: ClassVar[Reason] = Reason.RESOLVER_FAILED

    def __init__(self, message: str, *, retry: bool = True) -> None:
        self.message = printable(message)
        super().__init__(self.message)
        self.retry = retry


class UnsatisfiableError(ResolveError):
    """The requirements can't be met together, or not by what the index has."""

    reason = Reason.UNSATISFIABLE

    def __init__(self, message: str) -> None:
        super().__init__(message, retry=False)


class FileUrlError(UnsatisfiableError):
    """A release requires something by a URL of this machine.

    Its text is the same for all, for uv tells such a path that is a file from one that isn't.
    """

    def __init__(self, release: tuple[str, str] | None = None) -> None:
        super().__init__(
            "a release asks for a package by a file: URL, which is not allowed; choose another"
            " version, or correct the index"
        )
        self.release = release
        """Its name and version, where uv ended at it; None: it was passed over."""


class IndexUnavailableError(ResolveError):
    """The index can't be reached, or answers with an error."""

    reason = Reason.INDEX_UNAVAILABLE


class IndexUnauthorizedError(ResolveError):
    """The index asks for credentials, or refuses those that it got."""

    reason = Reason.INDEX_UNAUTHORIZED


class IndexRefusedError(ResolveError):
    """The index, or where it leads, is at an address that is closed to indexes of sets."""

    reason = Reason.INDEX_NOT_ALLOWED

    def __init__(self, message: str) -> None:
        super().__init__(message, retry=False)


class LimitExceededError(ResolveError):
    """The resolver passed one of its limits and was ended."""

    reason = Reason.RESOLVER_LIMIT


class DiskFullError(ResolveError):
    """The disk of the caches has no space left; what was cached is removed."""

    reason = Reason.RESOLVER_LIMIT

    def __init__(self) -> None:
        super().__init__(
            "the disk of resolver.cacheDirectory, or that of temporary files, is full: what was "
            "cached is removed, and flowdeps tries again; if it happens again, make the volume "
            "larger, or resolver.cacheSize smaller"
        )


class ResolverError(ResolveError):
    """The resolver failed in another way."""
