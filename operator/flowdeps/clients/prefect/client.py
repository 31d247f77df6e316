"""Prefect: work pools and their base job templates, by Prefect's own client.

Prefect has no compare-and-swap, and its `updated` time moves without a change. So a pool has one
caller at a time, which calls `read` just before `write`, and drift is found by content. Pages are
as large as the server makes them, since asking for more is an error; the last one is empty.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

# Before Prefect's client reads them.
from flowdeps.clients.prefect.settings import get_current_settings

# isort: split
import httpx
import prefect
from prefect.client.base import ServerType
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.client.schemas.objects import Variable as PrefectVariable
from prefect.client.schemas.objects import WorkerStatus, WorkPool
from prefect.events.clients import PrefectCloudEventSubscriber, PrefectEventSubscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.events.schemas.events import ReceivedEvent
from prefect.exceptions import ObjectNotFound

from flowdeps.api.reasons import Reason
from flowdeps.clients.fence import Fence
from flowdeps.clients.prefect.announcements import Announcements, writes
from flowdeps.clients.prefect.errors import Observe, PoolsError
from flowdeps.clients.prefect.pool import Pool, Workers

__all__ = ["Pool", "Pools", "PoolsError", "Variable", "Workers"]

_TIMEOUT_SECONDS = 10.0
"""Of one try; Prefect's client tries again by itself."""
_WORKER_EVENTS = ["prefect.worker.started", "prefect.worker.submitted-flow-run"]
VARIABLES_AT_ONCE = 200
"""As many as a page has that the server does not make smaller."""
_EVENTS = 50
"""As many as the server's own page has."""
_NOTHING = Workers()
_REFERENCE = re.compile(r"{{\s*prefect\.variables\.([\w-]+)\s*}}")
"""To a Prefect variable, whose value the worker puts in its place."""


@dataclass(frozen=True)
class Variable:
    """A Prefect variable's value: anything that JSON has."""

    value: Any


@dataclass(frozen=True)
class Deployment:
    """A deployment, as far as it has to do with packages."""

    name: str
    job_variables: Mapping[str, Any]
    pull_steps: Sequence[Mapping[str, Any]]


@dataclass
class Pools(Announcements):
    """A client for one Prefect API; made by `connect`, bound to one event loop."""

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
            if writes(request.method, request.url.path):
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
        """Return a pool; None where there is none of that name."""
        async with self._request("GET"):
            try:
                found = await self.api.read_work_pool(_quoted(name))
            except ObjectNotFound:
                # A proxy says so too while Prefect restarts behind it, and so does a wrong address.
                # Only Prefect answers a list with none.
                named = WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))
                listed = await self.api.read_work_pools(work_pool_filter=named)
                if not listed:
                    return None
                found = listed[0]
        return _pool(found)

    async def read_all(self) -> dict[str, Pool]:
        """Return all pools by name."""
        found: dict[str, Pool] = {}
        while True:
            before = len(found)
            async with self._request("GET"):
                page = await self.api.read_work_pools(offset=before)
            found |= {one.name: _pool(one) for one in page}
            if len(found) == before:
                return found

    async def variables(self, names: Collection[str]) -> dict[str, Variable]:
        """Return those variables of some names, up to `VARIABLES_AT_ONCE`, that exist."""
        wanted = {"name": {"any_": sorted(names)}}
        found: dict[str, Variable] = {}
        while len(found) < len(names):
            before = len(found)
            async with self._request("GET"):
                answer = await self.api.request(  # Prefect's client has no filter for it
                    "POST", "/variables/filter", json={"variables": wanted, "offset": before}
                )
                page = PrefectVariable.model_validate_list(answer.json())
            found |= {one.name: Variable(one.value) for one in page}
            if len(found) == before:
                break
        return found

    async def chosen(self, name: str, variable: str) -> set[str]:
        """Return the values that a pool's deployments give to a job variable, by Prefect variables
        too."""
        found = await self.deployments(name)
        values = (one.job_variables.get(variable) for one in found)
        return await self._resolved({value for value in values if isinstance(value, str)})

    async def deployments(self, name: str) -> list[Deployment]:
        """Return a pool's deployments."""
        named = WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))
        found: list[Deployment] = []
        while True:
            before = len(found)
            async with self._request("GET"):
                page = await self.api.read_deployments(work_pool_filter=named, offset=before)
            found += [
                Deployment(one.name, one.job_variables or {}, one.pull_steps or []) for one in page
            ]
            if len(found) == before:
                return found

    async def _resolved(self, values: set[str]) -> set[str]:
        names = {name for value in values for name in _REFERENCE.findall(value)}
        known: dict[str, Variable] = {}
        ordered = sorted(names)
        for first in range(0, len(ordered), VARIABLES_AT_ONCE):
            known |= await self.variables(ordered[first : first + VARIABLES_AT_ONCE])

        def value_of(reference: re.Match[str]) -> str:
            found = known.get(reference[1])
            return "" if found is None or found.value is None else str(found.value)

        return {_REFERENCE.sub(value_of, value) for value in values}

    async def workers(self, pool: Pool, known: Workers = _NOTHING) -> Workers:
        """Return the versions of Prefect that a pool's runs have to do with.

        What the last answer, `known`, says of a worker holds until it tells something else. Where
        no worker is online, what the last one told still holds.
        """
        async with self._request("GET"):
            # Cloud tells no version. It is as new as any.
            cloud = self.api.server_type is ServerType.CLOUD
            server = prefect.__version__ if cloud else await self.api.api_version()
        try:
            told = await self._told(pool)
            before = {name: one for name, one in known.versions.items() if name not in told}
            return Workers(versions=await self._online(pool, before | told), server=server)
        except PoolsError as error:
            if error.reason is not Reason.PREFECT_UNAUTHORIZED:
                raise
            return Workers(server=server)  # pools may be all that the credentials are for

    async def _told(self, pool: Pool) -> dict[str, str]:
        """Return what workers tell of themselves, by name, the last one last."""
        pools = EventAnyResourceFilter(id=[f"prefect.work-pool.{pool.id}"])
        events: list[ReceivedEvent] = []
        for kind in _WORKER_EVENTS:  # by itself, since runs are many and starts few
            wanted = EventFilter(event=EventNameFilter(name=[kind]), any_resource=pools)
            async with self._request("GET"):
                page = await self.api.read_events(wanted, limit=_EVENTS)
            events += page.events
        told: dict[str, str] = {}
        for event in sorted(events, key=lambda one: one.occurred):
            name, version = event.resource.name, event.resource.get("prefect.version")
            if name and version:
                told.pop(name, None)
                told[name] = version
        return told

    async def _online(self, pool: Pool, told: Mapping[str, str]) -> dict[str, str]:
        async with self._request("GET"):
            found = await self.api.read_workers_for_work_pool(_quoted(pool.name), offset=0)
        online = {one.name for one in found if one.status is WorkerStatus.ONLINE} & told.keys()
        return {name: told[name] for name in told if name in (online or [*told][-1:])}

    async def write(self, name: str, template: Mapping[str, Any]) -> None:
        """Replace a pool's base job template."""
        if not template:
            raise ValueError("an empty template would wipe the pool's")
        async with self._request("PATCH"), self.fence.write():
            try:
                await self.api.update_work_pool(
                    _quoted(name), WorkPoolUpdate(base_job_template=dict(template))
                )
            except ObjectNotFound:
                raise PoolsError(Reason.POOL_NOT_FOUND, f'there is no work pool "{name}"') from None

    async def changes(self) -> AsyncGenerator[str]:
        """Iterate over names of pools as they change: a hint, never the truth.

        The server drops large events, so polling goes on beside it. Ends or raises PoolsError when
        the connection ends.
        """
        wanted = EventFilter(event=EventNameFilter(name=["prefect.work-pool.updated"]))
        # By class: Prefect's own choice goes by PREFECT_API_URL, and starts a server without it.
        cloud = self.api.server_type is ServerType.CLOUD
        subscriber = PrefectCloudEventSubscriber if cloud else PrefectEventSubscriber
        url = str(self.api.api_url).rstrip("/")
        try:
            events = subscriber(api_url=url, filter=wanted)
            async with AsyncExitStack() as stack:
                # Before it is entered: a subscriber that is cut off there leaves its connection.
                stack.push_async_exit(events)
                async for event in await events.__aenter__():
                    yield event.resource.get("prefect.resource.name") or ""
        except Exception as error:  # whatever the websocket library raises
            raise PoolsError(Reason.PREFECT_UNAVAILABLE, type(error).__name__) from None


def _quoted(name: str) -> str:
    """Return a name for Prefect's client, which puts names into paths as they are."""
    return quote(name, safe="")


def _pool(found: WorkPool) -> Pool:
    return Pool(found.name, found.type, found.base_job_template, str(found.id))
