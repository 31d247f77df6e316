"""Prefect: work pools and their base job templates, by Prefect's own client.

Prefect has no compare-and-swap: a PATCH replaces the whole template, and its
`updated` time moves without a change. So whoever calls `write` has just called
`read`, there is one caller for a pool at a time, and drift is found by content.

How much a server lists at once is a setting of its own, and to ask for more is an error: so pages
are as large as it makes them, and the last one is empty.

Errors never carry an answer's body: a 422 echoes the request, secrets included.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

from flowdeps.clients.prefect.settings import (
    get_current_settings,  # before Prefect's client reads them
)

# isort: split
import httpx
from prefect.client.base import ServerType
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.events.clients import PrefectCloudEventSubscriber, PrefectEventSubscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.exceptions import ObjectNotFound

from flowdeps.api.reasons import Reason
from flowdeps.clients.fence import Fence, FenceClosedError

Observe = Callable[[str, str, float], None]
"""Told the method, outcome (HTTP status or `error`) and seconds of each request."""

_TIMEOUT_SECONDS = 10.0
"""Of one try; Prefect's client tries again by itself."""
_PATIENCE_SECONDS = 60.0
"""Of a request with all its tries: the client waits as long as a Retry-After says, and tries
without end while a server is under maintenance."""


@dataclass(frozen=True)
class Pool:
    """A work pool as Prefect has it now."""

    name: str
    type: str
    template: Mapping[str, Any]


@dataclass(frozen=True)
class Variable:
    """A Prefect variable's value: anything that JSON has."""

    value: Any


class PoolsError(Exception):
    """A request that Prefect refused or did not answer.

    `reason` is a condition's: PrefectUnavailable (no answer of Prefect's, or one to
    try again), PrefectUnauthorized (401, 403), PoolNotFound, or NotMergeable (a
    template that it refuses).
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Pools:
    """A client for one Prefect API; made by `connect`, bound to one event loop."""

    def __init__(self, api: PrefectClient, *, observe: Observe, fence: Fence | None = None) -> None:
        self._api = api
        self._observe = observe
        self._fence = fence or Fence.open()

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        api_url: str | None = None,
        *,
        observe: Observe = lambda _method, _outcome, _seconds: None,
        fence: Fence | None = None,
    ) -> AsyncIterator[Self]:
        """Connect to `api_url` (default: PREFECT_API_URL or the active profile).

        Credentials are Prefect's own: PREFECT_API_KEY, PREFECT_API_AUTH_STRING.
        `fence` stands before writes. Makes no request yet.
        Raises PoolsError where no address is known.
        """
        settings = get_current_settings().api
        url = api_url or settings.url
        if not url:
            raise PoolsError(
                Reason.PREFECT_UNAVAILABLE,
                "no Prefect API is configured: set prefect.apiUrl in the configuration"
                " or PREFECT_API_URL",
            )
        fence = fence or Fence.open()

        async def check(request: httpx.Request) -> None:
            if request.method == "PATCH":
                fence.check()  # at each try: the client makes some more by itself

        key, auth = settings.key, settings.auth_string
        try:
            client = PrefectClient(
                url,
                api_key=key.get_secret_value() if key else None,
                auth_string=auth.get_secret_value() if auth else None,
                httpx_settings={
                    "timeout": httpx.Timeout(_TIMEOUT_SECONDS),
                    "event_hooks": {"request": [check]},
                },
            )
        except (httpx.InvalidURL, ValueError):
            # The URL is not shown: it may hold a password.
            raise PoolsError(
                Reason.PREFECT_UNAVAILABLE,
                "the Prefect API's address is not a URL; write it such as"
                " http://prefect.example.com:4200/api",
            ) from None
        async with client:
            yield cls(client, observe=observe, fence=fence)

    async def read(self, name: str) -> Pool | None:
        """The pool of that name; None where there is none."""
        async with self._errors("GET"):
            try:
                found = await self._api.read_work_pool(_quoted(name))
            except ObjectNotFound:
                # So says a proxy too, while Prefect restarts behind it, and a wrong address:
                # asked like this, only Prefect says that there is none.
                named = WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))
                listed = await self._api.read_work_pools(work_pool_filter=named)
                if not listed:
                    return None
                found = listed[0]
        return Pool(found.name, found.type, found.base_job_template)

    async def read_all(self) -> dict[str, Pool]:
        """All pools by name, in pages as large as the server makes them."""
        found: dict[str, Pool] = {}
        while True:
            before = len(found)
            async with self._errors("GET"):
                page = await self._api.read_work_pools(offset=before)
            found |= {p.name: Pool(p.name, p.type, p.base_job_template) for p in page}
            if len(found) == before:
                return found

    async def variable(self, name: str) -> Variable | None:
        """A Prefect variable; None where there is none of that name."""
        async with self._errors("GET"):
            found = await self._api.read_variable_by_name(_quoted(name))
            if found is None:
                await self._api.read_work_pools(limit=1)  # a proxy's 404 is none of Prefect's
        return None if found is None else Variable(found.value)

    async def chosen(self, name: str, variable: str) -> set[str]:
        """The values that a pool's deployments give to a job variable."""
        named = WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))
        found: set[str] = set()
        offset = 0
        while True:
            async with self._errors("GET"):
                page = await self._api.read_deployments(work_pool_filter=named, offset=offset)
            if not page:
                return found
            values = ((one.job_variables or {}).get(variable) for one in page)
            found |= {value for value in values if isinstance(value, str)}
            offset += len(page)

    async def write(self, name: str, template: Mapping[str, Any]) -> None:
        """Replace a pool's base job template."""
        if not template:
            raise ValueError("an empty template would wipe the pool's")
        async with self._errors("PATCH"), self._fence.write():
            try:
                await self._api.update_work_pool(
                    _quoted(name), WorkPoolUpdate(base_job_template=dict(template))
                )
            except ObjectNotFound:
                raise PoolsError(Reason.POOL_NOT_FOUND, f'there is no work pool "{name}"') from None

    async def changes(self) -> AsyncGenerator[str]:
        """Names of pools as they change: a hint, never the truth.

        Large events are dropped by the server, so polling goes on beside it.
        Ends or raises PoolsError when the connection does.
        """
        wanted = EventFilter(event=EventNameFilter(name=["prefect.work-pool.updated"]))
        # By class: Prefect's own choice goes by PREFECT_API_URL, and starts a server without it.
        cloud = self._api.server_type is ServerType.CLOUD
        subscriber = PrefectCloudEventSubscriber if cloud else PrefectEventSubscriber
        url = str(self._api.api_url).rstrip("/")
        try:
            events = subscriber(api_url=url, filter=wanted)
            async with AsyncExitStack() as stack:
                # Before it is entered: a subscriber that is cut off there leaves its connection.
                stack.push_async_exit(events)
                async for event in await events.__aenter__():
                    yield event.resource.get("prefect.resource.name") or ""
        except Exception as error:  # whatever the websocket library raises
            raise PoolsError(Reason.PREFECT_UNAVAILABLE, type(error).__name__) from None

    @asynccontextmanager
    async def _errors(self, method: str) -> AsyncIterator[None]:
        clock = asyncio.get_running_loop().time
        start, outcome = clock(), "error"
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                yield
            outcome = "200"
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            outcome = str(status)
            raise _refusal(status, writing=method == "PATCH") from None
        except httpx.HTTPError as error:
            cause = str(error) or type(error).__name__
            raise PoolsError(
                Reason.PREFECT_UNAVAILABLE, f"the Prefect API did not answer: {cause}"
            ) from None
        except TimeoutError:
            raise PoolsError(
                Reason.PREFECT_UNAVAILABLE, "the Prefect API did not answer in time"
            ) from None
        except FenceClosedError as error:
            raise PoolsError(Reason.PREFECT_UNAVAILABLE, str(error)) from None
        except ValueError:  # not JSON, or not of Prefect's shape; the error would quote it
            raise PoolsError(
                Reason.PREFECT_UNAVAILABLE,
                "the answer is not one of a Prefect API that flowdeps knows:"
                " check the address, which ends in /api, and Prefect's version",
            ) from None
        except PoolsError as error:
            outcome = "404" if error.reason is Reason.POOL_NOT_FOUND else outcome
            raise
        finally:
            self._observe(method, outcome, clock() - start)


def _quoted(name: str) -> str:
    """A pool's name as Prefect's client needs it: it puts names into paths as they are."""
    return quote(name, safe="")


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
        return PoolsError(
            Reason.PREFECT_UNAVAILABLE,
            "there is no Prefect API at its address (404); it ends in /api",
        )
    if writing and status in {400, 409, 413, 422}:
        return PoolsError(Reason.NOT_MERGEABLE, f"the Prefect API refused the template ({status})")
    return PoolsError(Reason.PREFECT_UNAVAILABLE, f"the Prefect API answered {status}")
