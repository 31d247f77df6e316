"""How long many teams' sets take to be Ready, alone and beside a namespace that does its worst.

Against a real API server, Prefect and uv; there is no node, so no image's pod ever starts. A set
comes each second. What the hostile namespace does is in tests/support/load.py; its index answers
each question after a minute.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import httpx

from flowdeps.api.names import API_VERSION, PLURAL
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect import PrefectServer
from tests.cluster.progress import say
from tests.support import load, sets
from tests.support.fixtures import OPEN, install_crd
from tests.support.load import FORGED, HOSTILE, TEXTS, Size
from tests.support.operator import Operator

SIZE = replace(load.FULL, apart=1.0)
_PHASES = ("before", "beside")
_LONGEST = 3600.0
_ENDLESS = 60.0


def measure(size: Size = SIZE) -> str:
    """The table of how long sets took, before the hostile namespace began and beside it."""
    with ExitStack() as stack:
        cluster = stack.enter_context(ControlPlane())
        install_crd(cluster)
        index, endless = (stack.enter_context(Index()) for _ in range(2))
        endless.slow(_ENDLESS)
        for phase in _PHASES:
            for one in load.sets_of_teams(size, prefix=phase):
                index.add(one["name"], "1.0")
        index.add("alpha", "1.0")
        server = stack.enter_context(PrefectServer())
        api = stack.enter_context(server.api())
        for name in (HOSTILE, *size.teams):
            cluster.kubectl("create", "namespace", name)
        for number, pool in enumerate(size.pool_names()):
            team = size.teams[number % size.namespaces]
            api.create_pool(pool, image="example.com/flows:1", namespace=team)
        operator = Operator(
            kubeconfig=cluster.kubeconfig,
            prefect_url=server.url,
            config={
                "index": {"url": index.url, "allowed": ["*"]},
                "prefect": {"apiUrl": server.url, "pollInterval": "30s"},
                "workPools": [OPEN],
            },
        )
        stack.enter_context(operator)
        client = stack.enter_context(sets.connect(cluster))
        before = _times(client, size, "before")
        other = stack.enter_context(sets.connect(cluster))
        with _hostile(other, size, endless):
            beside = _times(client, size, "beside")
    return load.report(before, beside)


def _times(client: httpx.Client, size: Size, phase: str) -> list[float]:
    """How long each set of the teams takes from its apply to Ready."""
    say(f"{size.sets} sets come {phase}")
    coming = load.sets_of_teams(size, prefix=phase)
    waiting: dict[str, float] = {}
    found: list[float] = []
    start, sent = time.monotonic(), 0
    while len(found) < size.sets:
        if sent < size.sets and time.monotonic() >= start + sent * size.apart:
            body = _body(next(coming))
            _apply(client, PLURAL, body)
            waiting[_path(PLURAL, body)] = time.monotonic()
            sent += 1
        for path, since in list(waiting.items()):
            ready = sets.condition(client.get(path).raise_for_status().json(), "Ready")
            if ready.get("status") == "True":
                found.append(time.monotonic() - since)
                del waiting[path]
            elif time.monotonic() - since > _LONGEST:
                raise TimeoutError(f"{path} is not Ready: {ready}")
        time.sleep(0.1)
    return found


@contextmanager
def _hostile(client: httpx.Client, size: Size, endless: Index) -> Iterator[None]:
    """Do what the hostile namespace does, and edit its set each second until the end."""
    hanging = {"index": {"url": endless.url}}
    _apply(client, "configmaps", sets.config_map(TEXTS, namespace=HOSTILE, **load.long_texts()))
    for number in range(size.forged):
        body = sets.config_map(f"forged-{number}", namespace=HOSTILE, text="evil==1.0\n" * 1000)
        body["metadata"]["labels"] = FORGED
        _apply(client, "configmaps", body)
    for one in load.hostile_sets(size, **hanging):
        _apply(client, PLURAL, _body(one))
    ended = threading.Event()

    def edit() -> None:
        while True:
            for one in load.hostile_edits(size, **hanging):
                _apply(client, PLURAL, _body(one))
                if ended.wait(1):
                    return

    thread = threading.Thread(target=edit)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _body(given: dict[str, Any]) -> sets.Body:
    rest = dict(given)
    names = {name: rest.pop(name) for name in ("name", "namespace", "requirements")}
    body = sets.set_body(**names, pools=rest.pop("pools", ()))
    body["spec"] |= rest
    return body


def _apply(client: httpx.Client, plural: str, body: sets.Body) -> None:
    client.patch(
        _path(plural, body),
        params={"fieldManager": "bench", "force": "true"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        content=json.dumps(body),
    ).raise_for_status()


def _path(plural: str, body: sets.Body) -> str:
    meta = body["metadata"]
    group = f"/apis/{API_VERSION}" if plural == PLURAL else "/api/v1"
    return f"{group}/namespaces/{meta['namespace']}/{plural}/{meta['name']}"
