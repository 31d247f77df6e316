"""How an operator does with many sets: all at once, settled, and after a restart.

An operator makes the locks first, of a few lists of requirements, so that many sets share one and
resolving takes no time. Then it ends, and one that knows nothing starts: what it does is measured
until it has looked at every set and every pool and nothing waits any more.

There is no node, so no pod ever runs: what pods would have found out (what the image has, that an
environment was made and mounted) is written into the cluster as an operator leaves it.
"""

import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from flowdeps.api import names
from flowdeps.api.names import API_VERSION, PLURAL, mounted_name
from flowdeps.api.times import format_time
from flowdeps.locks.inspection import parse_image_packages
from flowdeps.reconcile.runs_namespace.lines import Told, line_key
from flowdeps.reconcile.runs_namespace.lines import environments as environments_body
from flowdeps.state.environment import Environment
from flowdeps.trials.images import config_map
from tests.bench.figures import Figure
from tests.cluster import cache
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect import PrefectServer
from tests.cluster.prefect_api import PrefectApi
from tests.cluster.progress import say
from tests.integration.chart.helm import RELEASE, Helm, needed
from tests.support import sets
from tests.support.fixtures import install_crd
from tests.support.operator import Operator

_NAMESPACES = 10
_LISTS = 20
_PINS = 40
_WRITERS = 8
_SECONDS = 1800.0
_SETTLED = 10.0
_IDLE = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")
# Prefect's POSTs are questions.
_WRITES = {"kubernetes": ("POST", "PUT", "PATCH", "DELETE"), "prefect": ("PUT", "PATCH", "DELETE")}
_IMAGE = "example.com/flows:1"
_IMAGE_ID = f"example.com/flows@sha256:{'1' * 64}"
_REPOSITORY = "registry.example.com/environments"
_OWNER = "flowdeps/flowdeps"
_FREEZE = "prefect==3.9.1\n"


@dataclass(frozen=True, kw_only=True)
class Restart:
    """Seconds from the start of the process until sets were known and Prefect answered (`ready`),
    and until every set was looked at (`passed`); bytes of memory at most; requests that changed
    anything; the share of one core that it takes while nothing happens (`idle`)."""

    ready: float
    passed: float
    memory: int
    writes: int
    idle: float


def measure(number: int, *, rounds: int, environments: bool = False) -> dict[str, Figure]:
    """How so many sets, each offered to the pool of its namespace, are made Ready at once, and
    restarts when they are."""
    with ExitStack() as stack:
        place = stack.enter_context(_place())
        seconds = _settle(place, number)
        operator = place.operator
        if environments:
            operator.down()
            _write_environments(place, number)
            operator = stack.enter_context(place.with_environments())
            _quiet(operator)  # each set says what it has now
        found = []
        for _ in range(rounds):
            operator.down()
            found.append(_restart(operator, number))
    return _figures(number, seconds, found, environments=environments)


def _figures(
    number: int, seconds: float, found: list[Restart], *, environments: bool
) -> dict[str, Figure]:
    which = f"{number:,} settled sets{' with environments' if environments else ''}"
    key = f"{'environments' if environments else 'sets'}-{number}"
    aims = number == 10_000
    figures = {
        f"{key}-ready": Figure(
            title=f"restart with {which}: Prefect and sets are known",
            unit="s",
            values=[one.ready for one in found],
        ),
        f"{key}-passed": Figure(
            title=f"restart with {which}: every set was looked at",
            unit="s",
            values=[one.passed for one in found],
            aim="≤ 30 s" if aims else "",
        ),
        f"{key}-memory": Figure(
            title=f"restart with {which}: memory at most",
            unit="MiB",
            values=[one.memory / 2**20 for one in found],
            aim="≤ 350 MiB" if aims else "",
        ),
        f"{key}-writes": Figure(
            title=f"restart with {which}: writes",
            unit="",
            values=[one.writes for one in found],
            aim="0",
        ),
        f"{key}-idle": Figure(
            title=f"{which}, nothing happens: processor time",
            unit="% of a core",
            values=[one.idle * 100 for one in found],
        ),
    }
    if not environments:
        figures[f"{key}-at-once"] = Figure(
            title=f"{number:,} sets at once: all Ready", unit="s", values=[seconds]
        )
    return figures


@dataclass(frozen=True, kw_only=True)
class _Place:
    """What operators act on."""

    cluster: ControlPlane
    server: PrefectServer
    api: PrefectApi
    index: Index
    lists: list[str]
    operator: Operator

    def with_environments(self) -> Operator:
        """An operator that makes environments, too, where the chart's policy gives them to runs."""
        with TemporaryDirectory() as home:
            values = needed(
                config={"environments": {"repository": _REPOSITORY, "admission": "Enabled"}}
            )
            objects = Helm(Path(home)).template(values)
        sets.apply(self.cluster, *(one for one in objects if one["kind"].startswith("Mutating")))
        return _operator(
            self.cluster,
            self.server,
            self.index,
            environments={
                "repository": _REPOSITORY,
                "image": "example.com/flowdeps:1",
                "policy": f"{RELEASE}-environments",
            },
        )


@contextmanager
def _place() -> Iterator[_Place]:
    with ExitStack() as stack:
        cluster = stack.enter_context(ControlPlane())
        install_crd(cluster)
        index = stack.enter_context(Index())
        lists = _fill(index)
        server = stack.enter_context(PrefectServer())
        api = stack.enter_context(server.api())
        for name in _namespaces():
            cluster.kubectl("create", "namespace", name)
            api.create_pool(name, image=_IMAGE, namespace=name)
        operator = stack.enter_context(_operator(cluster, server, index))
        yield _Place(
            cluster=cluster, server=server, api=api, index=index, lists=lists, operator=operator
        )


def _operator(
    cluster: ControlPlane, server: PrefectServer, index: Index, **config: Any
) -> Operator:
    return Operator(
        kubeconfig=cluster.kubeconfig,
        prefect_url=server.url,
        until="alive",
        config={
            "index": {"url": index.url},
            "owner": _OWNER,
            "prefect": {"apiUrl": server.url, "pollInterval": "30s"},
            "images": {"recheck": "24h"},
            "pods": {"concurrency": _NAMESPACES},  # none of them ends: there is no node
            **config,
        },
    )


def _namespaces() -> list[str]:
    return [f"team-{number}" for number in range(_NAMESPACES)]


def _fill(index: Index) -> list[str]:
    """Publish what the lists require; returns the one requirement of each."""
    each = [f"lib-{number}" for number in range(_PINS - 1)]
    for name in each:
        index.add(name, "1.0")
    roots = [f"root-{number}" for number in range(_LISTS)]
    for root in roots:
        index.add(root, "1.0", requires=each)
    return roots


def _settle(place: _Place, number: int) -> float:
    """Make the sets; returns the seconds until all are Ready."""
    bodies = [_body(place.lists, one) for one in range(number)]
    with sets.connect(place.cluster) as client, ThreadPoolExecutor(_WRITERS) as writers:
        for body in bodies[:_NAMESPACES]:  # one of each namespace
            _create(client, body)
        _tell_of_image(client, place.operator)
        started = time.monotonic()
        list(writers.map(lambda body: _create(client, body), bodies[_NAMESPACES:]))
    operator, said = place.operator, started
    while (ready := int(operator.metric("flowdeps_sets", ready="True"))) < number:
        if time.monotonic() - started > _SECONDS:
            raise TimeoutError(f"{ready} of {number} sets are Ready after {_SECONDS:.0f} s")
        if time.monotonic() - said > 15:
            said = time.monotonic()
            say(f"{ready} of {number} sets are Ready after {said - started:.0f} s")
        time.sleep(0.5)
    seconds = time.monotonic() - started
    say(f"{number} sets are Ready after {seconds:.0f} s")
    _quiet(operator)
    return seconds


def _body(lists: list[str], number: int) -> sets.Body:
    namespace = f"team-{number % _NAMESPACES}"
    body = sets.set_body(
        f"set-{number}",
        [lists[number % len(lists)]],
        namespace=namespace,
        pools=[namespace],
        interval="0s",
        verify={"mode": "Disabled"},
    )
    body["spec"]["python"] = {"image": _IMAGE}
    return body


def _create(client: httpx.Client, body: sets.Body) -> None:
    path = f"/apis/{API_VERSION}/namespaces/{body['metadata']['namespace']}/{PLURAL}"
    client.post(path, json=body).raise_for_status()


def _tell_of_image(client: httpx.Client, operator: Operator) -> None:
    """Write what the image has where an operator finds it, as whom its pods have asked."""
    prefix = f"{names.PROBE_CONTAINER}-"
    asking: list[dict[str, str]] = []

    def all_ask() -> bool:
        asking[:] = [
            one["metadata"]
            for one in client.get("/api/v1/pods").json()["items"]
            if one["metadata"]["name"].startswith(prefix)
        ]
        return len(asking) == _NAMESPACES

    sets.wait(all_ask, what="the operator to ask what the image has")
    operator.down()
    facts = parse_image_packages(_FREEZE, python="3.11", platform="linux/amd64")
    for meta in asking:
        short = meta["name"].removeprefix(prefix)
        about = {
            "namespace": meta["namespace"],
            "name": names.image_facts_name(short),
            "annotations": {
                names.IMAGE_ANNOTATION: _IMAGE,
                names.IMAGE_ID_ANNOTATION: _IMAGE_ID,
                names.PROBED_AT_ANNOTATION: format_time(datetime.now(UTC)),
            },
        }
        body = config_map(about, purpose="image", data={"facts.json": facts.to_json()})
        path = f"/api/v1/namespaces/{meta['namespace']}"
        client.post(f"{path}/configmaps", json=body).raise_for_status()
        client.delete(f"{path}/pods/{meta['name']}").raise_for_status()
    operator.up()


def _write_environments(place: _Place, number: int) -> None:
    """Let each lock have an environment, as after its build, and runs be told of all of them."""
    lines: dict[str, dict[str, Told]] = defaultdict(dict)
    with sets.connect(place.cluster) as client, ThreadPoolExecutor(_WRITERS) as writers:

        def write(one: int) -> None:
            namespace, name = f"team-{one % _NAMESPACES}", f"set-{one}"
            status = sets.get_set(place.cluster, name, namespace=namespace)["status"]
            lock = status["lock"]["digest"]
            environment = Environment(
                reference=f"{_REPOSITORY}/{namespace}@sha256:{cache.digest(lock):0<64}",
                lock=lock,
                image=_IMAGE,
                image_id=_IMAGE_ID,
                size=10**8,
                unpacked=3 * 10**8,
                files=10_000,
                import_seconds=1.0,
            )
            annotations = {names.ENVIRONMENT_ANNOTATION: environment.to_json()}
            path = f"/api/v1/namespaces/{namespace}/configmaps/{mounted_name(name)}"
            client.patch(
                path,
                json={"metadata": {"annotations": annotations}},
                headers={"Content-Type": "application/merge-patch+json"},
            ).raise_for_status()
            choice = line_key(mounted_name(name, pool=namespace))
            reference = environment.reference
            lines[namespace][choice] = {"image": _IMAGE, "reference": reference, "lock": lock}

        list(writers.map(write, range(number)))
        for namespace, data in lines.items():
            body = environments_body(namespace, data, owner=_OWNER)
            place_of = f"/apis/{API_VERSION}/namespaces/{namespace}/{names.ENVIRONMENTS_PLURAL}"
            path = f"{place_of}/{names.ENVIRONMENTS}"
            client.patch(
                path,
                params={"fieldManager": "flowdeps", "force": "true"},
                headers={"Content-Type": "application/apply-patch+yaml"},
                json=body,
            ).raise_for_status()


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
    say(f"every one of {number} sets was looked at after {passed:.1f} s")
    return Restart(
        ready=ready,
        passed=passed,
        memory=_peak(operator.pid),
        writes=_writes(operator),
        idle=_idle(operator),
    )


def _idle(operator: Operator) -> float:
    before = _computed(operator.pid)
    time.sleep(_IDLE)
    return (_computed(operator.pid) - before) / _IDLE


def _computed(pid: int) -> float:
    """Seconds that a process has computed, in its own code and in the kernel."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _TICKS


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
