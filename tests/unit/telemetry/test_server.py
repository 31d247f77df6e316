import asyncio
import socket
from collections.abc import Sequence

import aiohttp
import pytest
from prometheus_client import generate_latest

from flowdeps.api.reasons import Reason
from flowdeps.telemetry.metrics import Metrics, measured
from flowdeps.telemetry.server import Check, Server
from flowdeps.trials.errors import TrialError


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

    async def before_scrape() -> None:
        counted.append(1)

    return Server(
        metrics or Metrics(),
        port=port,
        alive=alive,
        ready=ready,
        before_scrape=before_scrape,
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


_COUNTS = {
    *("flowdeps_sets", "flowdeps_set_conditions", "flowdeps_vulnerabilities", "flowdeps_pool_sets"),
    *("flowdeps_queue_ready", "flowdeps_queue_delayed", "flowdeps_queue_running"),
    *("flowdeps_resolutions_running", "flowdeps_pods_running", "flowdeps_leader"),
}
"""Gauges without a unit: each counts the things that its name says, or is 1 for yes."""


def test_every_metric_is_named_by_the_rules() -> None:
    """One prefix, the base unit at the end where there is one, a description, and a registry of our
    own: names are an interface. What the process itself shows has the names of all processes."""
    families = [one for one in Metrics().registry.collect() if not one.name.startswith("process_")]
    for family in families:
        assert family.name.startswith("flowdeps_")
        assert family.documentation.endswith(".")
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
        elif family.type == "gauge":
            assert family.name.endswith("_seconds") != (family.name in _COUNTS)
        else:
            assert family.type in {"counter", "info"}  # which end in _total and _info by themselves
    assert {family.name for family in families} >= _COUNTS
    Metrics()  # a second one, as tests and a restart in one process have it


def test_the_process_shows_its_memory() -> None:
    """What a process has of memory and processors is there, as of every program."""
    names = {family.name for family in Metrics().registry.collect()}
    assert {"process_resident_memory_bytes", "process_cpu_seconds"} <= names


def test_pools_that_are_gone_are_counted_no_more() -> None:
    """Of a pool that nobody knows any longer no series is left; the others keep their counts."""
    metrics = Metrics()
    for name in ("kept", "gone"):
        metrics.template_writes.labels(name).inc()
    metrics.template_drifts.labels("gone").inc()
    metrics.keep_pools({"kept", "new"})
    text = generate_latest(metrics.registry).decode()
    assert 'flowdeps_template_writes_total{pool="kept"} 1.0' in text
    assert "gone" not in text


async def test_a_measured_block_is_counted_by_its_outcome() -> None:
    """Well, or the reason of its error; what is cancelled was neither."""
    metrics = Metrics()
    with measured(metrics.probes, well="Probed"):
        pass
    for error in (TrialError("no", reason=Reason.IMAGE_UNUSABLE), OSError("no")):
        with pytest.raises(type(error)), measured(metrics.probes, well="Probed"):
            raise error
    with pytest.raises(asyncio.CancelledError), measured(metrics.probes, well="Probed"):
        raise asyncio.CancelledError
    samples = [one for family in metrics.probes.collect() for one in family.samples]
    counts = {one.labels["outcome"]: one.value for one in samples if one.name.endswith("_count")}
    assert counts == {"Probed": 1, "ImageUnusable": 1, "InternalError": 1}
