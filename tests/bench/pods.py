"""How long a pod takes from its creation to its first line, and to its packages imported.

The pods are those of runs, as the worker's own code makes them of the pools' templates, with a
program in place of the flow's: what Prefect takes is no part of a figure. One at a time, round by
round; pods and this process share one clock.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench import mirror
from tests.bench.stage import BAKED, BARE, FLOWDEPS, JOBS, READY, RECIPE, SET, Stage
from tests.cluster import images, prefect_env
from tests.cluster.progress import say
from tests.support import sets, worker

_PROGRAM = """
import sys, time
print(time.time(), flush=True)
if {imports}:
    import pandas, pyarrow
print(time.time(), flush=True)
"""
_SECONDS = 300.0
_EVERY = 0.02
_PODS = f"/api/v1/namespaces/{JOBS}/pods"


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way by which a pod has its packages, or none."""

    title: str
    pool: str
    image: str
    choice: str | None = None
    imports: bool = True


@dataclass(frozen=True, kw_only=True)
class Pod:
    """Seconds from the creation of a pod, and the bytes of what it has of ours."""

    created: float
    """Until the API server had answered."""
    first_line: float
    imported: float


WAYS: Mapping[str, Way] = {
    "pod-bare": Way(title="pool without flowdeps", pool=BARE, image=images.FLOW_UV, imports=False),
    "pod-none": Way(title="no set chosen", pool=READY, image=images.FLOW_UV, imports=False),
    "pod-baked": Way(title="packages baked into the image", pool=BARE, image=BAKED),
    "pod-image": Way(title="ready environment, warm", pool=READY, image=images.FLOW_UV, choice=SET),
    "pod-uv": Way(title="Install, by uv", pool=FLOWDEPS, image=images.FLOW_UV, choice=SET),
    "pod-pip": Way(title="Install, by pip", pool=FLOWDEPS, image=images.FLOW_PIP, choice=SET),
    "pod-recipe": Way(title="the usual recipe", pool=RECIPE, image=images.FLOW_PIP),
}


def measure(stage: Stage, names: Sequence[str], *, rounds: int) -> Iterator[dict[str, Pod]]:
    """A pod of each way, round by round; a first one of each is not counted."""
    ways = {name: WAYS[name] for name in names}
    with worker.running(prefect_env.bin_directory() / "python") as rendering:
        bodies = {name: _body(stage, rendering, way) for name, way in ways.items()}
    for number in range(rounds + 1):
        found = {}
        for name, way in ways.items():
            found[name] = _start(stage, way, bodies[name], name=f"{name}-{number}")
            say(f"round {number}: {way.title}, {found[name].first_line:.2f} s")
        if number:
            yield found


def saved(rounds: Sequence[Mapping[str, Pod]]) -> dict[str, Any]:
    """What was measured, for a file."""
    return {
        "packages": list(mirror.PACKAGES),
        "ways": [
            {
                "name": name,
                "title": WAYS[name].title,
                "imports": WAYS[name].imports,
                "created": [round(one[name].created, 4) for one in rounds],
                "first_line": [round(one[name].first_line, 3) for one in rounds],
                "imported": [round(one[name].imported, 3) for one in rounds],
            }
            for name in rounds[0]
        ],
    }


def _body(stage: Stage, rendering: worker.Worker, way: Way) -> dict[str, Any]:
    """The pod of a run."""
    variables = {"image": way.image, "namespace": JOBS, "dependency_set": way.choice}
    given = {name: value for name, value in variables.items() if value is not None}
    [job] = rendering.manifests((stage.api.template(way.pool), given))
    template = job["spec"]["template"]
    [flow] = template["spec"]["containers"]
    flow["command"] = ["python", "-c", _PROGRAM.format(imports=way.imports)]
    flow.pop("args", None)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template.get("metadata", {}),
        "spec": {**template["spec"], "restartPolicy": "Never"},
    }


def _start(stage: Stage, way: Way, body: dict[str, Any], *, name: str) -> Pod:
    body = {**body, "metadata": {**body["metadata"], "name": name, "namespace": JOBS}}
    with sets.connect(stage.node) as client:
        begun = time.time()
        answer = client.post(_PODS, json=body)
        created = time.time() - begun
        answer.raise_for_status()
        volumes = answer.json()["spec"].get("volumes", [])
        if (way.pool == READY and way.choice is not None) != any("image" in v for v in volumes):
            raise RuntimeError(f"{way.title}: the pod has the volumes {json.dumps(volumes)}")
        phase = _end(client, name)
        log = client.get(f"{_PODS}/{name}/log").text
        client.delete(f"{_PODS}/{name}", params={"gracePeriodSeconds": 0})
    if phase != "Succeeded":
        raise RuntimeError(f"{way.title}: {phase}: {log}")
    first, last = (float(line) - begun for line in log.splitlines()[-2:])
    return Pod(created=created, first_line=first, imported=last)


def _end(client: Any, name: str) -> str:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        phase: str = client.get(f"{_PODS}/{name}").json()["status"]["phase"]
        if phase in {"Succeeded", "Failed"}:
            return phase
        time.sleep(_EVERY)
    raise RuntimeError(f"the pod {name} does not end")
