"""Hundreds of sets that come at once: what they cost an operator that was told its limits.

`make load` measures a thousand.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from flowdeps.api.names import API_VERSION, PLURAL
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.support.fixtures import StartOperator
from tests.support.sets import Body, connect, names, set_body, wait
from tests.support.watched import Watched

SETS, LISTS = 200, 20
CONCURRENCY, MEMORY = 2, 256 * 2**20
OPERATOR_MEMORY = 600 * 2**20
NAMESPACE = "many"
_PATH = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/{PLURAL}"


@pytest.fixture
def namespace(cluster: ControlPlane) -> Iterator[str]:
    """A namespace of their own, from which all is deleted at once."""
    if NAMESPACE not in names(cluster, "ns"):
        cluster.kubectl("create", "namespace", NAMESPACE)
    yield NAMESPACE
    with connect(cluster) as client:

        def emptied(path: str) -> bool:
            return client.delete(path, timeout=120).is_success

        for path in (_PATH, f"/api/v1/namespaces/{NAMESPACE}/configmaps"):
            # The API server gives up on a request after a minute; what is gone by then is gone.
            wait(partial(emptied, path), what=f"{path} to be empty", seconds=600)


def test_hundreds_of_sets_are_locked_within_the_limits(
    cluster: ControlPlane,
    index: Index,
    start_operator: StartOperator,
    namespace: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All are Ready, equal ones by one resolution; never more resolvers than resolver.concurrency
    run at once, and the memory of the operator and of its children is bounded."""
    packages = [f"package-{number}" for number in range(LISTS)]
    for name, needs in itertools.pairwise([*packages, "last"]):
        index.add(name, "1.0", requires=[needs])
    index.add("last", "1.0")
    index.slow(0.1)  # so that each uv is seen at its work
    operator = start_operator(
        resolver={"concurrency": CONCURRENCY, "memory": f"{MEMORY // 2**20}Mi"}
    )
    with Watched(operator.pid) as watched:
        with connect(cluster) as client:

            def create(body: Body) -> None:
                client.post(_PATH, json=body).raise_for_status()

            bodies = (
                set_body(f"set-{number}", [packages[number % LISTS]], namespace=namespace)
                for number in range(SETS)
            )
            with ThreadPoolExecutor(8) as threads:
                list(threads.map(create, bodies))
        wait(
            lambda: operator.metric("flowdeps_sets", ready="True") == SETS,
            what=f"{SETS} sets to be Ready",
            seconds=900,
            show=lambda: operator.get("/metrics")[1],
        )
        peak, resolved = watched.peak, operator.metric("flowdeps_resolve_seconds_count")
        operator.stop()  # else it takes all sets apart, one after the other
    assert resolved == LISTS
    assert watched.seen >= LISTS
    assert 1 <= watched.most <= CONCURRENCY
    with capsys.disabled():
        print(f"\n{SETS} sets: operator {peak >> 20} MiB, ", end="")
        print(f"{watched.most} resolvers at once, together {watched.memory >> 20} MiB")
    assert peak < OPERATOR_MEMORY
    assert watched.memory < CONCURRENCY * MEMORY
