"""Two operators as processes, on a real API server: one is active, and another takes over."""

import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flowdeps.api.names import API_VERSION, PLURAL
from flowdeps.delivery.choice import find
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect import PrefectServer
from tests.cluster.prefect_api import PrefectApi
from tests.integration.leadership.replicas import (
    LEASE_SECONDS,
    NAMESPACE,
    RETRY_SECONDS,
    SLACK_SECONDS,
    Replica,
    Replicas,
    takeover_by,
    turns,
    writers,
)
from tests.support.fixtures import delete_all_sets
from tests.support.sets import apply, connect, names, pins, set_body, wait, wait_ready

pytestmark = pytest.mark.cluster

SETS = 60
_SLOW_SECONDS = 10.0
"""For each answer of the index: several make a lock, and uv waits longer for each."""
_PATH = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/{PLURAL}"


@pytest.fixture
def replicas(
    request: pytest.FixtureRequest,
    cluster: ControlPlane,
    prefect_server: PrefectServer,
    index: Index,
) -> Iterator[Replicas]:
    """None is started yet; in the end the active one takes all sets apart, or one more."""
    if NAMESPACE not in names(cluster, "ns"):
        cluster.kubectl("create", "namespace", NAMESPACE)
    index.add("alpha", "1.0")
    index.add("beta", "2.0")
    config = {
        "index": {"url": index.url},
        "workPools": [{"name": "*", "image": "example.com/flows:1"}],
    }
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name).strip("-")
    with Replicas.of(cluster, prefect_url=prefect_server.url, config=config, name=name) as replicas:
        yield replicas
        if not replicas.any_active:
            replicas.start()
        delete_all_sets(cluster)


@contextmanager
def _load(cluster: ControlPlane, index: Index, pool: str, *, on: Replica) -> Iterator[None]:
    """Sets that are being worked on: some are Ready, and half of them can't be until the end, when
    the index has its answers."""
    with connect(cluster) as client, ThreadPoolExecutor(4) as threads:

        def create(number: int, **spec: Any) -> None:
            body = set_body(
                f"set-{number}", ["alpha", "beta"], namespace=NAMESPACE, pools=[pool], **spec
            )
            client.post(_PATH, json=body).raise_for_status()

        list(threads.map(create, range(SETS // 2)))
        wait(lambda: _ready(on) >= SETS // 6, what="some sets to be Ready")
        index.forget()
        index.slow(_SLOW_SECONDS)
        # Other inputs, that make no other pins: these share a resolution of their own.
        other = partial(create, constraints=["absent<9"])
        list(threads.map(other, range(SETS // 2, SETS)))
        wait(lambda: bool(index.requests), what="the other half to be worked on")
        yield
        index.slow(0)


def _ready(replica: Replica) -> int:
    return int(replica.operator.metric("flowdeps_sets", ready="True"))


def test_a_second_operator_stands_by(replicas: Replicas, cluster: ControlPlane) -> None:
    """It is alive and ready to take over, says so, and asks neither the cluster nor Prefect for
    anything but the Lease."""
    first = replicas.start()
    wait(lambda: first.active, what="the first to be active")
    second = replicas.start()
    wait(lambda: second.stands_by, what="the second to stand by")
    wait(
        lambda: first.identity in second.operator.get("/readyz")[1],
        what="the second to say who is active",
    )
    assert second.operator.get("/healthz")[0] == 200
    assert (
        first.operator.metric("flowdeps_leader"),
        second.operator.metric("flowdeps_leader"),
    ) == (
        1,
        0,
    )
    apply(cluster, set_body("quiet", ["alpha"], namespace=NAMESPACE))
    wait_ready(cluster, "quiet", namespace=NAMESPACE)
    wait(lambda: second.stands_by, what="the second to stand by")
    assert second.operator.metric("flowdeps_api_requests_total") == 0
    assert second.prefect.writes == []
    assert replicas.lease()["holderIdentity"] == first.identity


def test_a_kill_under_load_loses_nothing(
    replicas: Replicas,
    cluster: ControlPlane,
    prefect_api: PrefectApi,
    index: Index,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The active one is killed while sets are being worked on: another takes over within the time
    of the Lease and one retry, every set becomes Ready and is offered, and the two never wrote by
    turns."""
    pool = "lease-kill"
    prefect_api.create_pool(pool, image="example.com/flows:1", namespace=NAMESPACE)
    first = replicas.start()
    wait(lambda: first.active, what="the first to be active")
    second = replicas.start()

    with _load(cluster, index, pool, on=first):
        before = _ready(first)
        identity = first.identity
        first.operator.kill()
        took = takeover_by(second)
    assert before < SETS, "all were Ready before the kill: there was no load"
    assert took <= LEASE_SECONDS + RETRY_SECONDS + SLACK_SECONDS
    wait(lambda: _ready(second) == SETS, what="all sets to be Ready", seconds=300)
    for number in range(SETS):
        assert pins(cluster, f"set-{number}", namespace=NAMESPACE) == "alpha==1.0 beta==2.0"
    wait(
        lambda: len(getattr(find(prefect_api.template(pool)), "keys", ())) == SETS,
        what="the pool to offer them",
    )
    writes = writers(cluster, first, second)
    assert turns(writes) == [identity, second.identity]
    with capsys.disabled():
        print(f"\nkilled with {before} of {SETS} sets Ready; takeover after {took:.1f} s", end=" ")
        print(f"(leaseDuration {LEASE_SECONDS} s, retryPeriod {RETRY_SECONDS} s)")


def test_an_operator_that_was_stopped_writes_nothing_when_it_wakes(
    replicas: Replicas, cluster: ControlPlane, prefect_api: PrefectApi, index: Index
) -> None:
    """A process that hung for longer than its Lease held, in the middle of its work, ends with
    exit code 1 and without another write, to the cluster or to Prefect."""
    pool = "lease-stop"
    prefect_api.create_pool(pool, image="example.com/flows:1", namespace=NAMESPACE)
    first = replicas.start()
    wait(lambda: first.active, what="the first to be active")
    second = replicas.start()
    with _load(cluster, index, pool, on=first):
        before = _ready(first)
        first.operator.pause()
        takeover_by(second)
    woken = time.time()
    first.operator.resume()
    assert first.ended() == 1
    assert before < SETS, "all were Ready before it was stopped: it had nothing to write"
    assert first.time_of("not active any more: ") >= woken
    wait(lambda: _ready(second) == SETS, what="all sets to be Ready", seconds=300)
    assert turns(writers(cluster, first, second)) == [first.identity, second.identity]
    assert not [line for when, line in first.prefect.writes if when >= woken]
    assert second.prefect.writes, "the second one had nothing to write"


def test_an_operator_that_is_cut_off_stops_before_another_takes_over(
    replicas: Replicas, cluster: ControlPlane, prefect_api: PrefectApi
) -> None:
    """Without the API server the active one goes on to write to Prefect only until its Lease could
    be another's: it has ended by then, though it was busy with a template that others overwrite."""
    pool = "lease-cut"
    prefect_api.create_pool(pool, image="example.com/flows:1", namespace=NAMESPACE)
    before = prefect_api.template(pool)
    first = replicas.start()
    wait(lambda: first.active, what="the first to be active")
    second = replicas.start()
    apply(cluster, set_body("wanted", ["alpha"], namespace=NAMESPACE, pools=[pool]))
    # A template waits while sets of its pool are being worked on, and a pass that is cut off hangs.
    wait_ready(cluster, "wanted", namespace=NAMESPACE)
    wait(lambda: first.operator.idle, what="the first to have done all")
    assert find(prefect_api.template(pool)) is not None
    first.cluster.cut()
    cut = time.time()
    prefect_api.set_template(pool, before)
    takeover_by(second)
    assert first.ended() == 1
    active = second.time_of("active: ")
    assert first.time_of("not active any more: ") < active
    after = [when for when, _ in first.prefect.writes if when > cut]
    assert after, "it had nothing to write while it was cut off"
    assert max(after) < active
    prefect_api.set_template(pool, before)
    wait(lambda: find(prefect_api.template(pool)) is not None, what="the second one to mend it")


_BUSY = """\
import signal, time

def compute(*_):
    end = time.monotonic() + {seconds}
    while time.monotonic() < end:
        sum(range(1000))

signal.signal(signal.SIGUSR1, compute)
"""
"""Runs as Python starts. Handlers of signals run in the thread of the event loop."""


def test_an_operator_whose_loop_is_busy_keeps_the_lease_and_is_alive(
    replicas: Replicas, cluster: ControlPlane, tmp_path: Path
) -> None:
    """While its event loop computes for longer than a Lease lasts, the Lease is renewed, liveness
    is answered, metrics are served, and nobody takes over; then it goes on with its work."""
    (tmp_path / "sitecustomize.py").write_text(_BUSY.format(seconds=LEASE_SECONDS + 10))
    search_path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}".removesuffix(":")
    first = replicas.start(env={"PYTHONPATH": search_path})
    first.operator.may_stall = True
    wait(lambda: first.active, what="the first to be active")
    second = replicas.start()
    first.operator.signal(signal.SIGUSR1)
    begun = time.monotonic()
    while time.monotonic() - begun < LEASE_SECONDS + 5:
        assert first.operator.get("/healthz")[0] == 200
        assert second.stands_by
        time.sleep(1)
    assert first.operator.metric("flowdeps_leader") == 1
    assert replicas.lease()["holderIdentity"] == first.identity
    apply(cluster, set_body("after-busy", ["alpha"], namespace=NAMESPACE))
    wait_ready(cluster, "after-busy", namespace=NAMESPACE)
    assert first.operator.stalls(), "its event loop was never busy"
    assert replicas.lease()["holderIdentity"] == first.identity
    assert second.stands_by


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_operator_that_is_told_to_end_hands_over_at_once(
    number: signal.Signals, replicas: Replicas, cluster: ControlPlane
) -> None:
    """It gives the Lease away, so the next one need not wait for it to expire: one retry later it
    works."""
    first = replicas.start()
    wait(lambda: first.active, what="the first to be active")
    second = replicas.start()
    first.operator.signal(number)
    took = takeover_by(second)
    assert first.ended() == 0
    given = first.time_of(f"the Lease {NAMESPACE}/{replicas.name} is given away")
    assert second.time_of("active: ") - given < RETRY_SECONDS + SLACK_SECONDS / 2
    assert second.said(f"{first.identity} did not renew") is None
    assert took < LEASE_SECONDS
    assert replicas.lease()["holderIdentity"] == second.identity
    apply(cluster, set_body("after", ["alpha"], namespace=NAMESPACE))
    wait_ready(cluster, "after", namespace=NAMESPACE)


def test_one_that_stands_by_ends_when_it_is_told(replicas: Replicas) -> None:
    """Nothing is waited for, and the active one keeps the Lease."""
    first = replicas.start()
    wait(lambda: first.active, what="the first to be active")
    second = replicas.start()
    wait(lambda: second.stands_by, what="the second to stand by")
    second.operator.signal(signal.SIGTERM)
    assert second.ended() == 0
    assert replicas.lease()["holderIdentity"] == first.identity
    wait(lambda: first.active, what="the first to be active still")
