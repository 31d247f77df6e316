"""How long it takes from applying a set to the pool offering it, where the lock is known.

Against the sum of the operator's own requests meanwhile, as its metrics count them, each taken as
long as the same request takes from here.
"""

import base64
import json
import re
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

import httpx

from flowdeps.api.names import API_VERSION, PLURAL
from flowdeps.delivery.choice import find
from tests.bench import mirror
from tests.bench.stage import JOBS, SET, Stage
from tests.cluster import images
from tests.support import sets

_SECONDS = 60.0
_REPEATED = 9
_APPLY = {"Content-Type": "application/apply-patch+yaml"}
_REQUESTS = re.compile(r"^flowdeps_api_requests_total{(.*)} ([\d.]+)$", re.MULTILINE)

Kind = tuple[str, str]  # target, method


@dataclass(frozen=True, kw_only=True)
class Applied:
    """Seconds until the template was in place, and of the requests that it took."""

    in_place: float
    requests: float
    made: Mapping[Kind, int]


def measure(stage: Stage, *, rounds: int) -> Iterator[Applied]:
    """Each round is a set whose lock is known, offered to a pool that no set was offered to."""
    with _kubernetes(stage) as kubernetes:
        for number in range(rounds):
            name = f"applied-{number}"
            stage.api.create_pool(name, image=images.FLOW_UV, namespace=JOBS)
            sets.apply(stage.node, sets.set_body(name, mirror.SETS[SET].requirements))
            sets.wait_ready(stage.node, name, seconds=300)
            time.sleep(1)  # for what the operator still has to write about it
            before = _counted(stage)
            in_place = _apply(stage, kubernetes, name)
            made = _counted(stage) - before
            costs = _costs(stage, kubernetes, pool=name)
            yield Applied(
                in_place=in_place,
                requests=sum(costs[kind] * count for kind, count in made.items()),
                made=made,
            )


def _apply(stage: Stage, kubernetes: httpx.Client, name: str) -> float:
    body = sets.set_body(name, mirror.SETS[SET].requirements, pools=[name])
    path = f"/apis/{API_VERSION}/namespaces/default/{PLURAL}/{name}"
    started = time.time()
    answer = kubernetes.patch(
        path, params={"fieldManager": "bench", "force": "true"}, headers=_APPLY, json=body
    )
    answer.raise_for_status()
    while True:
        pool = stage.api.call("GET", f"/work_pools/{name}")
        if find(pool["base_job_template"]) is not None:
            # The server's time of the write, so that looking often is no part of the figure.
            return datetime.fromisoformat(pool["updated"]).timestamp() - started
        if time.time() - started > _SECONDS:
            raise TimeoutError(f"the pool {name} does not offer the set after {_SECONDS:.0f} s")
        time.sleep(0.2)


def _counted(stage: Stage) -> Counter[Kind]:
    counted: Counter[Kind] = Counter()
    for text, value in _REQUESTS.findall(stage.operator.get("/metrics")[1]):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', text))
        counted[labels["target"], labels["method"]] += int(float(value))
    return counted


def _costs(stage: Stage, kubernetes: httpx.Client, *, pool: str) -> dict[Kind, float]:
    """Seconds of a request of each kind, with what the operator sends."""
    lock = sets.get(stage.node, "cm", f"flowdeps-{SET}")
    path = f"/api/v1/namespaces/{JOBS}/configmaps/bench"
    copy = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "bench", "namespace": JOBS},
    }
    event = {
        "metadata": {"generateName": "bench-", "namespace": "default"},
        "eventTime": "2024-01-01T00:00:00.000000Z",
        "reportingController": "example.com/bench",
        "reportingInstance": "bench",
        "type": "Normal",
        "reason": "Bench",
        "action": "Bench",
        "regarding": {"kind": "ConfigMap", "name": "bench", "namespace": "default"},
    }
    template = stage.api.template(pool)
    marks = iter(range(_REPEATED))

    def applied() -> None:
        # Other data each time: applying what is there already costs less.
        data = {**lock["data"], "mark": str(next(marks))}
        parameters = {"fieldManager": "bench", "force": "true"}
        body = {**copy, "data": data}
        kubernetes.patch(path, params=parameters, headers=_APPLY, json=body).raise_for_status()

    def posted() -> None:
        events = "/apis/events.k8s.io/v1/namespaces/default/events"
        kubernetes.post(events, json=event).raise_for_status()

    return {
        ("kubernetes", "PATCH"): _seconds(applied),
        ("kubernetes", "GET"): _seconds(lambda: kubernetes.get(path).raise_for_status()),
        ("kubernetes", "POST"): _seconds(posted),
        ("prefect", "GET"): _seconds(lambda: stage.api.template(pool)),
        ("prefect", "PATCH"): _seconds(lambda: stage.api.set_template(pool, template)),
    }


def _seconds(call: Callable[[], Any]) -> float:
    taken = []
    for _ in range(_REPEATED):
        started = time.monotonic()
        call()
        taken.append(time.monotonic() - started)
    return median(taken)


@contextmanager
def _kubernetes(stage: Stage) -> Iterator[httpx.Client]:
    """A client as the administrator, whose connection stays."""
    settings = json.loads(stage.node.kubeconfig.read_text())
    cluster, user = settings["clusters"][0]["cluster"], settings["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    with httpx.Client(
        base_url=cluster["server"],
        headers={"Authorization": f"Bearer {user['token']}"},
        verify=ssl.create_default_context(cadata=authority),
        trust_env=False,
        timeout=30,
    ) as client:
        yield client
