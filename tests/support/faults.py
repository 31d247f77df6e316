"""The operator inside the test's process, with faults of its requests and a kill at any of them.

`Gate` stands around the clients and counts. Its plan says what becomes of each request: it does not
reach the server, or its answer is an error though the server has done it, or the world stops there
as after a SIGKILL. Then nothing the operator does after it is let through, and the test drops the
service.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast

from flowdeps.api.config import Config
from flowdeps.api.reasons import Reason
from flowdeps.app.handlers import watch
from flowdeps.app.service import Service
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.prefect.client import Pools
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.resolver.child import Limits
from flowdeps.resolver.resolve import Resolver

CLUSTER_WRITES = frozenset(
    {
        "apply_config_map",
        "apply_environments",
        "apply_finalizers",
        "apply_secret",
        "apply_status",
        "create_event",
        "create_pod",
        "delete_config_map",
        "delete_environments",
        "delete_pod",
        "delete_secret",
    }
)
POOL_WRITES = frozenset({"write"})
_LISTS = frozenset({"each_set", "each_config_map", "each_environments"})


class Fault(Enum):
    """Whether the server does what is asked, and the status of its answer.

    0: there is none in time. None: nobody is there any more to hear it.
    """

    KILLED_BEFORE = (False, None)
    KILLED_AFTER = (True, None)
    TIMEOUT = (False, 0)
    LOST = (True, 0)
    OVERLOADED = (False, 429)
    BROKEN = (False, 500)
    GATEWAY_TIMEOUT = (False, 504)
    DONE_TOO_LATE = (True, 504)

    @property
    def done(self) -> bool:
        return bool(self.value[0])

    @property
    def kills(self) -> bool:
        return self.value[1] is None

    def error(self, *, prefect: bool) -> Exception:
        """What the client raises."""
        status = self.value[1] or 0
        text = f"answered {status}" if status else "did not answer: a fault of the test's"
        if prefect:
            return PoolsError(Reason.PREFECT_UNAVAILABLE, f"the Prefect API {text}")
        return ClusterError(status, _REASONS[status], f"the API server {text}")


_REASONS = {0: "Unreachable", 429: "TooManyRequests", 500: "InternalError", 504: "Timeout"}


@dataclass(frozen=True)
class Request:
    """A request, which number it has of all, and of all writes (0: it is none)."""

    name: str
    number: int
    write: int


Plan = Callable[[Request], Fault | None]


def no_fault(_: Request) -> Fault | None:
    """Plan nothing."""
    return None


def at_write(number: int, fault: Fault) -> Plan:
    """Plan one fault, of the write with that number, from 1."""
    return lambda request: fault if request.write == number else None


def at_requests(faults: Mapping[int, Fault]) -> Plan:
    """Plan faults by the numbers of requests, from 1."""
    return lambda request: faults.get(request.number)


class Gate:
    """Counts requests, and lets happen to them what `plan` says."""

    def __init__(self, plan: Plan = no_fault) -> None:
        self.requests: list[str] = []
        self.writes: list[str] = []
        self.killed = asyncio.Event()
        self._plan = plan
        self._delay: Callable[[], float] = lambda: 0.0

    def around(self, cluster: Cluster, pools: Pools) -> tuple[Cluster, Pools]:
        """The clients with this gate around them."""
        return (
            cast("Cluster", _Gated(cluster, CLUSTER_WRITES, self)),
            cast("Pools", _Gated(pools, POOL_WRITES, self, prefect=True)),
        )

    def arm(self, plan: Plan, *, delay: Callable[[], float] = lambda: 0.0) -> None:
        """Count from here on, by another plan; each request takes `delay` seconds twice."""
        self.requests, self.writes, self._plan, self._delay = [], [], plan, delay

    def revive(self) -> None:
        """Let a new operator go on, with the counts of the one that was killed."""
        self.killed = asyncio.Event()

    async def pass_through(
        self, name: str, *, writes: bool, prefect: bool, make: Callable[[], Any]
    ) -> Any:
        """Make a request, unless the world has stopped or stops here."""
        await self._stop_if_killed()
        self.requests.append(name)
        if writes:
            self.writes.append(name)
        request = Request(name, len(self.requests), len(self.writes) if writes else 0)
        fault = self._plan(request)
        await asyncio.sleep(self._delay())
        await self._stop_if_killed()
        result = await make() if fault is None or fault.done else None
        await asyncio.sleep(self._delay())
        if fault is None:
            return result
        if fault.kills:
            self.killed.set()
            await self._stop_if_killed()
        raise fault.error(prefect=prefect)

    async def _stop_if_killed(self) -> None:
        if self.killed.is_set():
            await asyncio.Event().wait()


class _Gated:
    def __init__(
        self, client: Any, writes: frozenset[str], gate: Gate, *, prefect: bool = False
    ) -> None:
        self._client, self._writes, self._gate, self._prefect = client, writes, gate, prefect

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name in _LISTS:
            return lambda *args, **kwargs: self._each(name, method(*args, **kwargs))
        if not asyncio.iscoroutinefunction(method):
            return method
        return lambda *args, **kwargs: self._request(name, lambda: method(*args, **kwargs))

    async def _each(self, name: str, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async def first() -> list[Any]:
            return [one async for one in items]

        for one in await self._request(name, first):
            yield one

    async def _request(self, name: str, make: Callable[[], Any]) -> Any:
        return await self._gate.pass_through(
            name, writes=name in self._writes, prefect=self._prefect, make=make
        )


@asynccontextmanager
async def running(
    config: Config, *, cache: Path, gate: Gate | None = None
) -> AsyncIterator[Service]:
    """A service that runs until the block ends, then is dropped without a goodbye."""
    resolver = Resolver(limits=Limits(), cache=cache)
    gate = gate or Gate()
    before = _open_sockets()
    async with Service.assemble(config, resolver=resolver, wrap=gate.around) as service:
        task = asyncio.create_task(service.run(watch))
        try:
            yield service
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    # A watch that is cut off says goodbye to the server (TLS) after its session has ended; a loop
    # that is closed meanwhile would leave the socket open.
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            while _open_sockets() > before:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)


def _open_sockets() -> int:
    """How many sockets the running loop reads from."""
    return len(cast("Any", asyncio.get_running_loop())._selector.get_map())
