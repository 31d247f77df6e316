"""How a pod of ours fails."""

from flowdeps.api.reasons import Reason
from flowdeps.api.wording import shorten
from flowdeps.locks.legible import printable

_LONGEST = 4000


class TrialError(Exception):
    """A pod could not find out what it was run for, or found out that a lock does not work.

    `reason` is a condition's; `retry` says whether another try may end otherwise, with nothing
    changed.
    """

    def __init__(self, message: str, *, reason: Reason, retry: bool = True) -> None:
        self.message = shorten(printable(message), _LONGEST)
        super().__init__(self.message)
        self.reason = reason
        self.retry = retry
