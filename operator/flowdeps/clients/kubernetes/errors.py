"""How a request to the cluster fails."""

import json
from typing import Any

from flowdeps.api.wording import shorten
from flowdeps.locks.legible import printable

_LONGEST = 4000


class ClusterError(Exception):
    """A request that the API server refused or did not answer.

    `status` is the HTTP status, 0 where there was no answer; `reason` is the
    server's (`NotFound`, `Conflict`, `Forbidden`, …).
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        # The server repeats what was sent, and a proxy says what it likes.
        super().__init__(shorten(printable(message), _LONGEST))
        self.status = status
        self.reason = printable(reason)

    @property
    def is_passing(self) -> bool:
        """Whether it is about the API server, which is out of reach or has too much to do.

        It says nothing of the object, and the same request may succeed soon. An admission webhook
        that does not answer, or refuses with whatever status it likes, is another thing: it may be
        asked for some objects only, and for good.
        """
        if "failed calling webhook" in str(self) or "admission webhook" in str(self):
            return False
        return self.status in {0, 429} or self.status >= 500


class TooLongError(ClusterError):
    """An answer that is longer than what is read of one."""

    def __init__(self, message: str) -> None:
        super().__init__(413, "TooLong", message)


def refusal(status: int, data: bytes, *, what: str) -> ClusterError:
    """Return the error for an answer other than 2xx.

    For an object that is gone, or was made anew with another uid, it is a 404.
    """
    answer = json_object(data)
    message = str(answer.get("message") or f"{what} was answered with {status}")
    gone = status == 409 and "uid mismatch" in message
    anew = status == 422 and "metadata.uid: Invalid value" in message
    if gone or anew:
        return ClusterError(404, "NotFound", message)
    return ClusterError(status, str(answer.get("reason") or "Unknown"), message)


def json_object(data: bytes) -> dict[str, Any]:
    """Return a JSON object; empty for anything else, such as a proxy's page."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
