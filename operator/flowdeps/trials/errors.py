"""How a pod of ours fails."""

from flowdeps.api.reasons import Reason


class TrialError(Exception):
    """A pod could not find out what it was run for, or found out that a lock does not work.

    `reason` is a condition's; `retry` says whether another try may end otherwise, with nothing
    changed.
    """

    def __init__(self, message: str, *, reason: Reason, retry: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.retry = retry
