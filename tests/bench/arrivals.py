"""How long it takes from applying a set to it being Ready, and to runs being given its environment.

First nothing is known of it, so its lock is made, tried, installed once more, packed, pushed and
mounted. Then the same set is offered to another pool, for which lock and environment are known.
Pools are new in each round: one whose template changes often is written ever more rarely.
"""

import time
from collections.abc import Mapping

from tests.bench import mirror
from tests.bench.figures import Figure
from tests.bench.stage import JOBS, SET, Stage
from tests.cluster import images
from tests.cluster.progress import say
from tests.support import sets

_SECONDS = 600.0
_EVERY = 0.1


def measure(stage: Stage, *, rounds: int) -> dict[str, Figure]:
    """Each round is a set with a package that no other has."""
    found: dict[str, list[tuple[float, float]]] = {"unknown": [], "known": []}
    for number in range(rounds):
        name = f"arrival-{number}"
        stage.index.add(name, "1.0")
        wanted = [*mirror.SETS[SET].requirements, name]
        for state in found:
            pool = f"{name}-{state}"
            stage.api.create_pool(pool, image=images.FLOW_UV, namespace=JOBS)
            body = sets.set_body(name, wanted, pools=[pool])
            body["spec"]["python"] = {"image": images.FLOW_UV}
            found[state].append(_arrive(stage, body, pool))
            say(f"round {number}, {state}: {found[state][-1]}")
        stage.node.kubectl("delete", "fds", name)
    title = mirror.SETS[SET].title
    told = {"unknown": "nothing is known of it", "known": "its lock and environment are known"}
    figures = {}
    for state, pairs in found.items():
        for at, what in enumerate(("Ready", "runs are given its environment")):
            figures[f"arrival-{state}-{at}"] = Figure(
                title=f"from applying a set ({title}) to {what}, {told[state]}",
                unit="s",
                values=[pair[at] for pair in pairs],
            )
    return figures


def _arrive(stage: Stage, body: sets.Body, pool: str) -> tuple[float, float]:
    name = body["metadata"]["name"]
    started = time.monotonic()
    sets.apply(stage.node, body)
    ready = given = 0.0
    while not given:
        found = sets.get_set(stage.node, name)
        condition = sets.condition(found, "Ready")
        seen = condition.get("observedGeneration") == found["metadata"]["generation"]
        now = time.monotonic() - started
        if seen and condition.get("status") == "True":
            ready = ready or now
            given = now if _way(found, pool) == "Image" else 0.0
        if now > _SECONDS:
            raise TimeoutError(f"{name} has no environment: {found.get('status')}")
        time.sleep(_EVERY)
    return ready, given


def _way(body: Mapping[str, object], pool: str) -> str:
    status = body["status"]
    assert isinstance(status, Mapping)
    pools = status.get("workPools", [])
    return next((one.get("delivery", "") for one in pools if one["name"] == pool), "")
