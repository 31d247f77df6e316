"""How a request to Prefect fails.

Errors never carry an answer's body: a 422 echoes the request, secrets included.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx

from flowdeps.api.reasons import Reason
from flowdeps.clients.fence import FenceClosedError
from flowdeps.locks.legible import printable
from flowdeps.scheduling.clock import Clock

Observe = Callable[[str, str, float], None]
"""Called with the method, the outcome (HTTP status or `error`) and the seconds of each request."""

_TOTAL_SECONDS = 60.0
"""Of a request with all its tries: the client waits as long as a Retry-After says, and tries
without end while a server is under maintenance."""


class PoolsError(Exception):
    """A request that Prefect refused or did not answer.

    `reason` is a condition's: PrefectUnavailable (no answer of Prefect's, or one to
    try again), PrefectUnauthorized (401, 403), PoolNotFound, or NotMergeable (a
    template that it refuses).
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(printable(message))
        self.reason = reason


class RefusedError(PoolsError):
    """An announcement that Prefect refuses and would refuse again."""


@asynccontextmanager
async def request(
    method: str, *, observe: Observe, clock: Clock, announcing: bool = False
) -> AsyncIterator[None]:
    """Measure the request in a block, and raise PoolsError for all errors of it.

    `announcing`: it is about an artifact or event, and not about a pool.
    """
    start, outcome = clock(), "error"
    try:
        async with asyncio.timeout(_TOTAL_SECONDS):
            yield
        outcome = "200"
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        outcome = str(status)
        if announcing:
            raise _no_announcement(status) from None
        raise _refusal(status, writing=method == "PATCH") from None
    except httpx.HTTPError as error:
        raise _unavailable(
            f"the Prefect API did not answer: {str(error) or type(error).__name__}"
        ) from None
    except TimeoutError:
        raise _unavailable("the Prefect API did not answer in time") from None
    except FenceClosedError as error:
        raise _unavailable(str(error)) from None
    except ValueError:  # not JSON, or not of Prefect's shape; the error would quote it
        raise _unavailable(
            "the answer is not one of a Prefect API that flowdeps knows:"
            " check the address, which ends in /api, and Prefect's version"
        ) from None
    except PoolsError as error:
        outcome = "404" if error.reason is Reason.POOL_NOT_FOUND else outcome
        raise
    finally:
        observe(method, outcome, clock() - start)


def _unavailable(message: str) -> PoolsError:
    return PoolsError(Reason.PREFECT_UNAVAILABLE, message)


def _no_announcement(status: int) -> PoolsError:
    if status == 403:
        return PoolsError(
            Reason.PREFECT_UNAUTHORIZED,
            "the Prefect API forbids this (403): the key needs to read and write artifacts and"
            " events; or set prefect.artifacts and prefect.events to false in the configuration",
        )
    if status in {400, 409, 413, 422}:
        return RefusedError(
            Reason.PREFECT_UNAVAILABLE, f"the Prefect API refused what was written ({status})"
        )
    return _refusal(status, writing=False)


def _refusal(status: int, *, writing: bool) -> PoolsError:
    if status == 401:
        return PoolsError(
            Reason.PREFECT_UNAUTHORIZED,
            "the Prefect API refused our credentials (401):"
            " check PREFECT_API_KEY or PREFECT_API_AUTH_STRING",
        )
    if status == 403:
        return PoolsError(
            Reason.PREFECT_UNAUTHORIZED,
            "the Prefect API forbids this (403): the key needs to read and update work pools",
        )
    if status == 404:
        return _unavailable("there is no Prefect API at its address (404); it ends in /api")
    if writing and status in {400, 409, 413, 422}:
        what = f"the Prefect API refused the template ({status})"
        if status == 422:
            what += (
                ", as it would without us: each placeholder must be one of its"
                " variables.properties, and these a valid schema; correct it in the pool"
            )
        return PoolsError(Reason.NOT_MERGEABLE, what)
    return _unavailable(f"the Prefect API answered {status}")
