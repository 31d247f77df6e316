"""What the admission policy adds to the creation of a pod.

A pod that gets its environment, and the same one without the label by which the policy is asked,
in turns; nothing is stored.
"""

import time
from statistics import median

import httpx

from flowdeps.api.names import SET_LABEL
from tests.bench import pods
from tests.bench.figures import Figure
from tests.bench.stage import JOBS, SET, Stage
from tests.support import sets

_PAIRS = 100


def measure(stage: Stage, *, rounds: int) -> dict[str, Figure]:
    """Each round is the median of many pairs."""
    given = pods.body_of(stage, "pod-image", SET)
    meta = {**given["metadata"], "name": "policy", "namespace": JOBS}
    labels = {name: text for name, text in meta["labels"].items() if name != SET_LABEL}
    left_alone = {**given, "metadata": {**meta, "labels": labels}}
    given = {**given, "metadata": meta}
    found: dict[str, list[float]] = {"with": [], "without": [], "added": []}
    with sets.connect(stage.node) as client:
        assert _mounts(_post(client, given)[1])
        assert not _mounts(_post(client, left_alone)[1])
        for _ in range(rounds):
            pairs = []
            for number in range(_PAIRS):
                turn = (given, left_alone) if number % 2 else (left_alone, given)
                taken = {id(body): _post(client, body)[0] * 1000 for body in turn}
                pairs.append((taken[id(given)], taken[id(left_alone)]))
            found["with"].append(median(one for one, _ in pairs))
            found["without"].append(median(one for _, one in pairs))
            found["added"].append(median(one - other for one, other in pairs))
    return {
        "policy-with": Figure(
            title="creation of a pod that the policy upgrades", unit="ms", values=found["with"]
        ),
        "policy-without": Figure(
            title="creation of the same pod, which it is not asked about",
            unit="ms",
            values=found["without"],
        ),
        "policy-added": Figure(
            title=f"added by the policy ({_PAIRS} pairs a round)",
            unit="ms",
            values=found["added"],
            aim="≤ 5 ms",
        ),
    }


def _post(client: httpx.Client, body: pods.Body) -> tuple[float, pods.Body]:
    started = time.perf_counter()
    answer = client.post(f"/api/v1/namespaces/{JOBS}/pods", json=body, params={"dryRun": "All"})
    taken = time.perf_counter() - started
    answer.raise_for_status()
    made: pods.Body = answer.json()
    return taken, made


def _mounts(pod: pods.Body) -> bool:
    return any("image" in one for one in pod["spec"]["volumes"])
