"""What the operator shows of itself: metrics, health and logs.

Metrics stand in a registry of their own. Health is asked, not told: each probe
calls the checks that it was given, so a stuck part cannot claim to be well.
"""

import json
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

Check = Callable[[], str | None]
"""A health check: None where all is well, else what is wrong in one line."""


class Metrics:
    """The operator's metrics; names and units are an interface, see docs."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.api_calls = Counter(
            "flowdeps_api_requests",
            "Requests to outside systems by target (kubernetes, prefect), method and outcome"
            " (HTTP status, or error where there was no answer).",
            ["target", "method", "outcome"],
            registry=self.registry,
        )
        self.passes = Histogram(
            "flowdeps_pass_seconds",
            "Seconds that a pass over a set or a pool took.",
            ["kind"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.failed_passes = Counter(
            "flowdeps_pass_failures",
            "Passes that ended in an unexpected error and are tried again.",
            ["kind"],
            registry=self.registry,
        )
        self.resolutions = Histogram(
            "flowdeps_resolve_seconds",
            "Seconds that a resolution took, by outcome (Resolved or the condition's reason).",
            ["outcome"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.verifications = Histogram(
            "flowdeps_verify_seconds",
            "Seconds that trying a lock in its image took.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.vulnerable = Gauge(
            "flowdeps_vulnerabilities",
            "Known vulnerabilities of the pins in service, by set.",
            ["namespace", "set"],
            registry=self.registry,
        )
        self.template_writes = Counter(
            "flowdeps_template_writes",
            "PATCHes of a pool's base job template.",
            ["pool"],
            registry=self.registry,
        )
        self.template_drifts = Counter(
            "flowdeps_template_drifts",
            "Times a pool's base job template was found changed by others and was mended.",
            ["pool"],
            registry=self.registry,
        )
        self.sets = Gauge(
            "flowdeps_sets",
            "Dependency sets by their Ready condition's status and reason.",
            ["ready", "reason"],
            registry=self.registry,
        )
        self.queue_ready = Gauge(
            "flowdeps_queue_ready",
            "Keys that wait for a worker.",
            registry=self.registry,
        )
        self.queue_age = Gauge(
            "flowdeps_queue_oldest_seconds",
            "Seconds that the oldest of them has waited.",
            registry=self.registry,
        )
        self.resolving = Gauge(
            "flowdeps_resolutions_running",
            "Locks that are being made or wait for a resolver.",
            registry=self.registry,
        )


class Server:
    """Serves /metrics, /healthz and /readyz on all addresses of a port."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        port: int,
        alive: Sequence[Check],
        ready: Sequence[Check],
        before_scrape: Callable[[], None],
    ) -> None:
        self._metrics, self._port, self._before_scrape = metrics, port, before_scrape
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._scrape),
                web.get("/healthz", _probe(alive)),
                web.get("/readyz", _probe(ready)),
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


def _probe(checks: Iterable[Check]) -> Callable[[web.Request], Any]:
    async def answer(_: web.Request) -> web.Response:
        problems = [problem for check in checks if (problem := check())]
        text = "\n".join(problems) or "ok"
        return web.Response(text=f"{text}\n", status=503 if problems else 200)

    return answer


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and `set` or `pool` where known."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for a record."""
        entry: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("set", "pool"):
            if value := getattr(record, name, None):
                entry[name] = str(value)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def set_up_logs(*, form: str, level: str) -> None:
    """Send all logs to standard error, as `json` or `text`."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if form == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("httpx", "kopf", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))
