"""The HTTP server: /metrics, /healthz (liveness) and /readyz.

Each probe calls the checks that it was given, so a part that is stuck cannot claim to be well.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from flowdeps.telemetry.metrics import Metrics

Check = Callable[[], str | None]
"""A health check: None where all is well, else what is wrong in one line."""


class Server:
    """Serves on all addresses of a port, as a context."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        port: int,
        alive: Sequence[Check],
        ready: Sequence[Check],
        before_scrape: Callable[[], None],
        well: Callable[[], str] = lambda: "ok",
    ) -> None:
        self._metrics, self._port, self._before_scrape = metrics, port, before_scrape
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._scrape),
                web.get("/healthz", _probe(alive)),
                web.get("/readyz", _probe(ready, well)),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)

    async def __aenter__(self) -> "Server":
        await self._runner.setup()
        await web.TCPSite(self._runner, port=self._port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _scrape(self, _: web.Request) -> web.Response:
        self._before_scrape()
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _probe(
    checks: Iterable[Check], well: Callable[[], str] = lambda: "ok"
) -> Callable[[web.Request], Any]:
    async def answer(_: web.Request) -> web.Response:
        problems = [problem for check in checks if (problem := check())]
        text = "\n".join(problems) or well()
        return web.Response(text=f"{text}\n", status=503 if problems else 200)

    return answer
