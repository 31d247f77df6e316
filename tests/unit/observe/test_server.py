import asyncio
import socket
from collections.abc import Sequence

import aiohttp
import pytest

from flowdeps.observe import Check, Metrics, Server


async def _get(port: int, path: str) -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.text(), response.headers["Content-Type"]


def _server(
    port: int,
    *,
    alive: Sequence[Check] = (),
    ready: Sequence[Check] = (),
    metrics: Metrics | None = None,
    scrapes: list[int] | None = None,
) -> Server:
    counted = scrapes if scrapes is not None else []
    return Server(
        metrics or Metrics(),
        port=port,
        alive=alive,
        ready=ready,
        before_scrape=lambda: counted.append(1),
    )


async def test_probes_are_200_while_no_check_objects(unused_tcp_port: int) -> None:
    """All checks fine: 200 and `ok`."""
    async with _server(unused_tcp_port, alive=[lambda: None], ready=[lambda: None, lambda: None]):
        for path in ("/healthz", "/readyz"):
            assert (await _get(unused_tcp_port, path))[:2] == (200, "ok\n")


async def test_a_probe_is_503_with_every_reason(unused_tcp_port: int) -> None:
    """A check that objects makes its probe 503, and the page says what is wrong, a line each; the
    other probe is as it was."""
    checks = [lambda: "the queue is stuck", lambda: None, lambda: "the watch is silent"]
    async with _server(unused_tcp_port, alive=checks):
        status, text, _ = await _get(unused_tcp_port, "/healthz")
        assert (status, text) == (503, "the queue is stuck\nthe watch is silent\n")
        assert (await _get(unused_tcp_port, "/readyz"))[0] == 200


async def test_checks_are_asked_at_each_probe(unused_tcp_port: int) -> None:
    """Health is not remembered: what recovers is well at the next probe."""
    problems: list[str | None] = ["not listed yet", None, "Prefect is away"]
    async with _server(unused_tcp_port, ready=[lambda: problems.pop(0)]):
        found = [(await _get(unused_tcp_port, "/readyz"))[0] for _ in range(3)]
    assert found == [503, 200, 503]


async def test_a_scrape_shows_the_state_of_that_moment(unused_tcp_port: int) -> None:
    """Gauges are brought up to date right before each scrape; the format is Prometheus'."""
    metrics, scrapes = Metrics(), list[int]()
    metrics.sets.labels("True", "Ready").set(3)
    metrics.api_calls.labels("prefect", "GET", "200").inc()
    async with _server(unused_tcp_port, metrics=metrics, scrapes=scrapes):
        for number in (1, 2):
            status, text, media_type = await _get(unused_tcp_port, "/metrics")
            assert status == 200
            assert len(scrapes) == number
    assert media_type.startswith("text/plain; version=")
    assert 'flowdeps_sets{ready="True",reason="Ready"} 3.0' in text
    assert (
        'flowdeps_api_requests_total{method="GET",outcome="200",target="prefect"} 1.0' in text
    )  # fmt: skip


async def test_other_pages_are_404(unused_tcp_port: int) -> None:
    """Nothing else is served."""
    async with _server(unused_tcp_port):
        assert (await _get(unused_tcp_port, "/"))[0] == 404


async def test_a_port_in_use_is_an_error_that_says_so() -> None:
    """Two operators on one port: the second does not run unseen."""
    with (
        socket.create_server(("", 0)) as taken,
        pytest.raises(OSError, match="address already in use"),
    ):
        async with _server(taken.getsockname()[1]):
            pass


async def test_after_its_end_nothing_listens(unused_tcp_port: int) -> None:
    """The port is free again when the operator has stopped."""
    async with _server(unused_tcp_port):
        await _get(unused_tcp_port, "/healthz")
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", unused_tcp_port)


def test_every_metric_is_named_by_the_rules() -> None:
    """One prefix, base units in the name, a description, and a registry of our own: names are an
    interface."""
    families = {family.name: family for family in Metrics().registry.collect()}
    assert set(families) == {
        "flowdeps_api_requests",
        "flowdeps_pass_seconds",
        "flowdeps_pass_failures",
        "flowdeps_resolve_seconds",
        "flowdeps_verify_seconds",
        "flowdeps_vulnerabilities",
        "flowdeps_template_writes",
        "flowdeps_template_drifts",
        "flowdeps_sets",
        "flowdeps_queue_ready",
        "flowdeps_queue_oldest_seconds",
        "flowdeps_resolutions_running",
    }
    assert all(family.documentation.endswith(".") for family in families.values())
    Metrics()  # a second one, as tests and a restart in one process have it
