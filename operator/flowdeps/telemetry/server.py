"""The HTTP server: /metrics, /healthz (liveness) and /readyz.

Each probe calls the checks that it was given, so a part that is stuck cannot claim to be well.

Whoever reaches the port may ask what it likes, so everything has a limit. A connection is for one
request and lives for a few seconds; of those that are open, the oldest gives way to a new one: a
client that says at once what it wants, as a probe does, is answered however many others say
nothing. Requests are short. Pages are made one at a time, for all who ask meanwhile, and no more
than half of the time is spent on them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from flowdeps.scheduling.clock import Clock, loop_time
from flowdeps.telemetry.metrics import Metrics

Check = Callable[[], str | None]
"""A health check: None where all is well, else what is wrong in one line."""

CONNECTIONS = 64
CONNECTION_SECONDS = 15.0
_OPTIONS: Any = {
    "access_log": None,
    "max_line_size": 1024,
    "max_field_size": 2048,
    "max_headers": 64,
    "lingering_time": 0,
}


class Server:
    """Serves on all addresses of a port, as a context; in the event loop that it is entered in."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        port: int,
        alive: Sequence[Check],
        ready: Sequence[Check],
        before_scrape: Callable[[], Awaitable[None]],
        well: Callable[[], str] = lambda: "ok",
        clock: Clock = loop_time,
    ) -> None:
        self._metrics, self._port, self._before_scrape = metrics, port, before_scrape
        self._clock = clock
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._scrape),
                web.get("/healthz", _probe(alive)),
                web.get("/readyz", _probe(ready, well)),
            ]
        )
        app.on_response_prepare.append(_close)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        self._listening: asyncio.Server
        self._open: dict[_Connection, asyncio.TimerHandle] = {}
        self._making: asyncio.Task[bytes] | None = None
        self._rested = float("-inf")
        """When the next page may be made."""

    async def __aenter__(self) -> "Server":
        await self._runner.setup()
        self._listening = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self), port=self._port
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.close()
        if self._making:
            self._making.cancel()
        await self._runner.cleanup()
        await self._listening.wait_closed()

    # Connections

    def accept(self, connection: "_Connection") -> None:
        """Take a connection in, for a few seconds, and let the oldest go where there are many."""
        if len(self._open) >= CONNECTIONS:
            next(iter(self._open)).abort()
        self._open[connection] = asyncio.get_running_loop().call_later(
            CONNECTION_SECONDS, connection.abort
        )

    def forget(self, connection: "_Connection") -> None:
        """A connection has ended."""
        if timer := self._open.pop(connection, None):
            timer.cancel()

    @property
    def factory(self) -> web.Server:
        """What handles the requests of all connections."""
        return cast("web.Server", self._runner.server)

    # Pages

    async def _scrape(self, _: web.Request) -> web.Response:
        if self._making is None:
            self._making = asyncio.create_task(self._make())
        # Whoever hangs up does not end it for the others.
        body = await asyncio.shield(self._making)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _make(self) -> bytes:
        try:
            await asyncio.sleep(max(0.0, self._rested - self._clock()))
            start = self._clock()
            await self._before_scrape()
            page = generate_latest(self._metrics.registry)
            self._rested = 2 * self._clock() - start
            return page
        finally:
            self._making = None


class _Connection(web.RequestHandler):
    """One connection, within the server's limits."""

    __slots__ = ("_server",)

    def __init__(self, server: Server) -> None:
        super().__init__(server.factory, loop=asyncio.get_running_loop(), **_OPTIONS)
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.accept(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.forget(self)
        super().connection_lost(exc)

    def abort(self) -> None:
        """End it, with whatever it is about to say."""
        self._server.forget(self)
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()


async def _close(_: web.Request, response: web.StreamResponse) -> None:
    response.force_close()


def _probe(
    checks: Iterable[Check], well: Callable[[], str] = lambda: "ok"
) -> Callable[[web.Request], Any]:
    async def answer(_: web.Request) -> web.Response:
        problems = [problem for check in checks if (problem := check())]
        text = "\n".join(problems) or well()
        return web.Response(text=f"{text}\n", status=503 if problems else 200)

    return answer
