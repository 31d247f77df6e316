"""How a resolution fails. Messages are for people: short, and without credentials."""

from typing import ClassVar


class ResolveError(Exception):
    """No lock could be made.

    ``reason`` is the reason of a condition; ``retry`` says whether the same request may succeed
    later, with nothing changed in the resource.
    """

    reason: ClassVar[str] = "ResolverFailed"

    def __init__(self, message: str, *, retry: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.retry = retry


class UnsatisfiableError(ResolveError):
    """The requirements can't be met together, or not by what the index has."""

    reason = "Unsatisfiable"

    def __init__(self, message: str) -> None:
        super().__init__(message, retry=False)


class IndexUnavailableError(ResolveError):
    """The index can't be reached, or answers with an error."""

    reason = "IndexUnavailable"


class IndexUnauthorizedError(ResolveError):
    """The index asks for credentials, or refuses those that it got."""

    reason = "IndexUnauthorized"


class LimitExceededError(ResolveError):
    """The resolver passed one of its limits and was ended."""

    reason = "ResolverLimit"


class ResolverError(ResolveError):
    """The resolver failed in another way."""
