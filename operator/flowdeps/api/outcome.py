"""How far one step got. Everything that reports a step's end returns one of these."""

from dataclasses import dataclass

from flowdeps.api.reasons import Reason
from flowdeps.locks.legible import printable


@dataclass(frozen=True)
class Outcome:
    """How one step ended: done, waiting for something that is under way, or failed.

    Make one with `done`, `waits` or `failed`.
    """

    is_done: bool
    reason: Reason
    message: str = ""
    unknown: bool = False
    """Done, but nobody knows how well: the condition's status is Unknown."""
    retry_after: float | None = None
    """Seconds until the step is worth another try, where no event tells when."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable(self.message))

    @classmethod
    def done(
        cls,
        reason: Reason,
        message: str = "",
        *,
        unknown: bool = False,
        retry_after: float | None = None,
    ) -> "Outcome":
        """The step has done its work."""
        return cls(True, reason, message, unknown, retry_after)

    @classmethod
    def waits(cls, reason: Reason, message: str, *, retry_after: float | None = None) -> "Outcome":
        """The step waits for something under way, which requeues the set when it ends."""
        return cls(False, reason, message, retry_after=retry_after)

    @classmethod
    def failed(cls, reason: Reason, message: str, *, retry_after: float | None = None) -> "Outcome":
        """The step could not do its work, for a reason that people should know."""
        return cls(False, reason, message, retry_after=retry_after)
