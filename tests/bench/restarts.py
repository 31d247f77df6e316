"""How an operator starts where many sets are settled: seconds, writes, memory.

An operator makes the locks first, of a few lists of requirements, so that many sets share one and
resolving takes no time. Then it ends, and one that knows nothing starts: what it does is measured
until it has looked at every set and every pool and nothing waits any more.
"""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from flowdeps.api.names import API_VERSION, PLURAL
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect import PrefectServer
from tests.cluster.progress import say
from tests.support import sets
from tests.support.fixtures import install_crd
from tests.support.operator import Operator

_NAMESPACES = 10
_LISTS = 20
_PINS = 40
_WRITERS = 8
_SECONDS = 1800.0
_SETTLED = 10.0
# Prefect's POSTs are questions.
_WRITES = {"kubernetes": ("POST", "PUT", "PATCH", "DELETE"), "prefect": ("PUT", "PATCH", "DELETE")}


@dataclass(frozen=True, kw_only=True)
class Restart:
    """Seconds from the start of the process until sets were known and Prefect answered (`ready`),
    and until every set was looked at (`passed`); bytes of memory at most; requests that changed
    anything."""

    sets: int
    ready: float
    passed: float
    memory: int
    writes: int


def measure(number: int, *, rounds: int) -> Iterator[Restart]:
    """Restarts with so many settled sets, each offered to the pool of its namespace."""
    with ExitStack() as stack:
        cluster = stack.enter_context(ControlPlane())
        install_crd(cluster)
        index = stack.enter_context(Index())
        lists = _fill(index)
        server = stack.enter_context(PrefectServer())
        api = stack.enter_context(server.api())
        for name in _namespaces():
            cluster.kubectl("create", "namespace", name)
            api.create_pool(name, image="example.com/flows:1", namespace=name)
        operator = Operator(
            kubeconfig=cluster.kubeconfig,
            prefect_url=server.url,
            until="alive",
            config={
                "index": {"url": index.url},
                "prefect": {"apiUrl": server.url, "pollInterval": "30s"},
            },
        )
        stack.enter_context(operator)
        _settle(cluster, operator, number, lists)
        for _ in range(rounds):
            operator.down()
            yield _restart(operator, number)


def _namespaces() -> list[str]:
    return [f"team-{number}" for number in range(_NAMESPACES)]


def _fill(index: Index) -> list[str]:
    """Publish what the lists require; returns the one requirement of each."""
    names = [f"lib-{number}" for number in range(_PINS - 1)]
    for name in names:
        index.add(name, "1.0")
    roots = [f"root-{number}" for number in range(_LISTS)]
    for root in roots:
        index.add(root, "1.0", requires=names)
    return roots


def _settle(cluster: ControlPlane, operator: Operator, number: int, lists: list[str]) -> None:
    bodies = [
        sets.set_body(
            f"set-{one}",
            [lists[one % len(lists)]],
            namespace=f"team-{one % _NAMESPACES}",
            pools=[f"team-{one % _NAMESPACES}"],
            interval="0s",
        )
        for one in range(number)
    ]
    started = time.monotonic()
    with sets.connect(cluster) as client, ThreadPoolExecutor(_WRITERS) as writers:
        list(writers.map(lambda body: _create(client, body), bodies))
    said = started
    while (ready := int(operator.metric("flowdeps_sets", ready="True"))) < number:
        if time.monotonic() - started > _SECONDS:
            raise TimeoutError(f"{ready} of {number} sets are Ready after {_SECONDS:.0f} s")
        if time.monotonic() - said > 15:
            said = time.monotonic()
            say(f"{ready} of {number} sets are Ready after {said - started:.0f} s")
        time.sleep(1)
    _quiet(operator)
    say(f"{number} sets are Ready after {time.monotonic() - started:.0f} s")


def _create(client: httpx.Client, body: sets.Body) -> None:
    path = f"/apis/{API_VERSION}/namespaces/{body['metadata']['namespace']}/{PLURAL}"
    client.post(path, json=body).raise_for_status()


def _restart(operator: Operator, number: int) -> Restart:
    started = time.monotonic()
    operator.up()
    ready = 0.0
    # Not more often: to count sets for its metrics costs an operator time, too.
    while operator.metric("flowdeps_pass_seconds_count", kind="set") < number or not ready:
        if not ready and operator.get("/readyz")[0] == 200:
            ready = time.monotonic() - started
        if time.monotonic() - started > _SECONDS:
            raise TimeoutError(f"not every set was looked at after {_SECONDS:.0f} s")
        time.sleep(0.5)
    passed = time.monotonic() - started
    _quiet(operator)
    return Restart(
        sets=number,
        ready=ready,
        passed=passed,
        memory=_peak(operator.pid),
        writes=_writes(operator),
    )


def _writes(operator: Operator) -> int:
    return sum(
        int(operator.metric("flowdeps_api_requests_total", target=target, method=method))
        for target, methods in _WRITES.items()
        for method in methods
    )


def _quiet(operator: Operator) -> None:
    """Wait until nothing was looked at for a while."""
    passes, since = -1.0, time.monotonic()
    while time.monotonic() - since < _SETTLED:
        now = operator.metric("flowdeps_pass_seconds_count")
        if now != passes:
            passes, since = now, time.monotonic()
        time.sleep(1)


def _peak(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
