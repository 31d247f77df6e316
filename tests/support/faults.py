"""The operator inside the test's process, with its writes counted and a kill at any of them.

`Gate` stands around the clients. At the write it is set for it stops the world: the write is
(or isn't) made, and nothing the operator does after it is let through, as after a SIGKILL; the
test then drops the service. Reads are never touched.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

from flowdeps.api.config import Config
from flowdeps.app.handlers import watch
from flowdeps.app.service import Service
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.prefect.client import Pools
from flowdeps.resolver.child import Limits
from flowdeps.resolver.resolve import Resolver

CLUSTER_WRITES = frozenset(
    {
        "apply_config_map",
        "apply_finalizers",
        "apply_secret",
        "apply_status",
        "create_event",
        "create_pod",
        "delete_config_map",
        "delete_pod",
        "delete_secret",
    }
)
POOL_WRITES = frozenset({"write"})


class Gate:
    """Counts writes; stops nowhere until it is told where."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.killed = asyncio.Event()
        self._at, self._after = 0, False

    def stop(self, *, at: int, after: bool = False) -> None:
        """Count from here, and stop before or after the write numbered `at` (from 1; 0: never).

        Events are not counted: they change nothing that a reconcile reads.
        """
        self.writes.clear()
        self._at, self._after = at, after

    def around(self, cluster: Cluster, pools: Pools) -> tuple[Cluster, Pools]:
        """The clients with this gate around their writes."""
        return (
            cast("Cluster", _Gated(cluster, CLUSTER_WRITES, self)),
            cast("Pools", _Gated(pools, POOL_WRITES, self)),
        )

    async def pass_through(self, name: str, write: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Make a write, unless the world has stopped or stops here."""
        if self.killed.is_set():
            await asyncio.Event().wait()
        self.writes.append(name)
        counted = [one for one in self.writes if one != "create_event"]
        here = name != "create_event" and len(counted) == self._at
        if here and not self._after:
            self.killed.set()
            await asyncio.Event().wait()
        result = await write(*args, **kwargs)
        if here:
            self.killed.set()
            await asyncio.Event().wait()
        return result


class _Gated:
    def __init__(self, client: Any, writes: frozenset[str], gate: Gate) -> None:
        self._client, self._writes, self._gate = client, writes, gate

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name not in self._writes:
            return method
        return lambda *args, **kwargs: self._gate.pass_through(name, method, *args, **kwargs)


@asynccontextmanager
async def running(
    config: Config, *, cache: Path, gate: Gate | None = None
) -> AsyncIterator[Service]:
    """A service that runs until the block ends, then is dropped without a goodbye."""
    resolver = Resolver(limits=Limits(), concurrency=2, cache=cache)
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
