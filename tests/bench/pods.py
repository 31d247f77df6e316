"""How long a pod takes from its creation to its first line, and to its packages imported.

The pods are those of runs, as the worker's own code makes them of the pools' templates, with a
program in place of the flow's: what Prefect takes is no part of a figure. One at a time, round by
round, or ten at once; pods and this process share one clock.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from tests.bench import mirror
from tests.bench.stage import BARE, FLOWDEPS, JOBS, READY, RECIPE, Stage, baked
from tests.cluster import images, prefect_env, rootfs
from tests.cluster.progress import say
from tests.support import sets, worker

# What is new below /opt was written for this run.
_PROGRAM = """
import os, time
print(time.time(), flush=True)
import {modules}
print(time.time(), flush=True)
since = float(os.environ["BENCH_SINCE"])
files = [os.lstat(f"{{at}}/{{name}}") for at, _, names in os.walk("/opt") for name in names]
new = [one.st_size for one in files if one.st_ctime >= since]
print(len(new), sum(new))
"""
# As the entrypoint of Prefect's own images does it.
_ENTRYPOINT = f"""
uv pip install --python {rootfs.ENVIRONMENT}/bin/python $EXTRA_PIP_PACKAGES && exec python -c "$0"
"""
_SECONDS = 600.0
_EVERY = 0.1
_PODS = f"/api/v1/namespaces/{JOBS}/pods"

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way by which a pod has its packages, or none."""

    title: str
    pool: str
    image: str = images.FLOW_UV
    chooses: bool = False
    imports: bool = True
    bakes: bool = False
    by_entrypoint: bool = False
    cold: bool = False
    """The node has never pulled the environment."""


@dataclass(frozen=True, kw_only=True)
class Pod:
    """Seconds from the creation of a pod, and what it cost others."""

    created: float
    """Until the API server had answered."""
    first_line: float
    imported: float
    files: int
    """Written for it, with their bytes."""
    bytes: int
    asked: int
    """Requests to the index and to the registry, until it ended."""


WAYS: Mapping[str, Way] = {
    "pod-bare": Way(title="pool without flowdeps", pool=BARE, imports=False),
    "pod-none": Way(title="no set chosen", pool=READY, imports=False),
    "pod-baked": Way(title="packages baked into the image", pool=BARE, bakes=True),
    "pod-cold": Way(title="ready environment, cold node", pool=READY, chooses=True, cold=True),
    "pod-image": Way(title="ready environment, warm", pool=READY, chooses=True),
    "pod-uv": Way(title="Install, by uv", pool=FLOWDEPS, chooses=True),
    "pod-pip": Way(title="Install, by pip", pool=FLOWDEPS, image=images.FLOW_PIP, chooses=True),
    "pod-extra": Way(title="EXTRA_PIP_PACKAGES", pool=BARE, by_entrypoint=True),
    "pod-recipe": Way(title="the usual recipe", pool=RECIPE, image=images.FLOW_PIP),
}
TOGETHER = ("pod-none", "pod-baked", "pod-cold", "pod-image", "pod-uv")
AT_ONCE = 10


def measure(
    stage: Stage, names: Sequence[str], packages: str, *, rounds: int, at_once: int = 1
) -> Iterator[dict[str, list[Pod]]]:
    """Pods of each way, round by round; a first one of each is not counted."""
    with worker.running(prefect_env.bin_directory() / "python") as rendering:
        bodies = {name: _body(stage, rendering, WAYS[name], packages) for name in names}
    for number in range(rounds + 1):
        found = {}
        for name in names:
            each = [f"{packages}-{name}-{number}-{one}" for one in range(at_once if number else 1)]
            found[name] = _start(stage, WAYS[name], bodies[name], each, packages)
            last = max(one.first_line for one in found[name])
            say(f"{packages}, round {number}: {WAYS[name].title}, {last:.2f} s")
        if number:
            yield found


def saved(packages: str, rounds: Sequence[Mapping[str, Sequence[Pod]]]) -> dict[str, Any]:
    """What was measured, for a file: of each way and figure a list, with the pods of a round side
    by side where there were several."""
    about = mirror.SETS[packages]
    found: dict[str, Any] = {"title": about.title, "requirements": list(about.requirements)}
    found["ways"] = [
        {"name": name, "title": WAYS[name].title, "imports": WAYS[name].imports}
        | {
            of: [
                value if len(value) > 1 else value[0]
                for one in rounds
                for value in [[round(asdict(pod)[of], 4) for pod in one[name]]]
            ]
            for of in asdict(rounds[0][name][0])
        }
        for name in rounds[0]
    ]
    return found


def start_alone(stage: Stage, packages: str, *, name: str) -> Pod:
    """A pod that is given its environment, while whatever is stopped is stopped."""
    way = WAYS["pod-image"]
    with worker.running(prefect_env.bin_directory() / "python") as rendering:
        body = _body(stage, rendering, way, packages)
    [pod] = _start(stage, way, body, [name], packages)
    return pod


def body_of(stage: Stage, name: str, packages: str) -> Body:
    """The pod of a run in this way."""
    with worker.running(prefect_env.bin_directory() / "python") as rendering:
        return _body(stage, rendering, WAYS[name], packages)


def _body(stage: Stage, rendering: worker.Worker, way: Way, packages: str) -> Body:
    about = mirror.SETS[packages]
    image = baked(packages) if way.bakes else way.image
    variables = {"image": image, "namespace": JOBS}
    if way.chooses:
        variables["dependency_set"] = packages
    [job] = rendering.manifests((stage.api.template(way.pool), variables))
    template = job["spec"]["template"]
    [flow] = template["spec"]["containers"]
    program = _PROGRAM.format(modules=", ".join(about.modules) if way.imports else "time")
    flow["command"] = ["python", "-c", program]
    flow.pop("args", None)
    wanted = " ".join(about.requirements)
    if way.by_entrypoint:
        flow["command"] = ["sh", "-c", _ENTRYPOINT, program]
        flow["securityContext"] = {"runAsUser": 0}
        variables = {"EXTRA_PIP_PACKAGES": wanted, "UV_DEFAULT_INDEX": stage.index.url}
        flow["env"] += [{"name": name, "value": value} for name, value in variables.items()]
    if way.pool == RECIPE:
        [install] = template["spec"]["initContainers"]
        [given] = [one for one in install["env"] if one["name"] == "EXTRA_PY_DEPS"]
        given["value"] = wanted
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template.get("metadata", {}),
        "spec": {**template["spec"], "restartPolicy": "Never"},
    }


def _start(stage: Stage, way: Way, body: Body, names: Sequence[str], packages: str) -> list[Pod]:
    if way.cold:
        environment = sets.get_set(stage.node, packages)["status"]["environment"]
        stage.node.end_leases()
        stage.node.forget_image(environment["reference"])
    asked = _asked(stage)
    with sets.connect(stage.node) as client, ThreadPoolExecutor(len(names)) as threads:
        begun = time.time()
        created = list(threads.map(lambda name: _create(client, way, body, name, begun), names))
        logs = _logs(client, names)
        for name in names:
            client.delete(f"{_PODS}/{name}", params={"gracePeriodSeconds": 0})
    now = _asked(stage) - asked
    found = []
    for seconds, log in zip(created, logs, strict=True):
        first, last, written = log.splitlines()[-3:]
        files, size = map(int, written.split())
        pod = Pod(
            created=seconds,
            first_line=float(first) - begun,
            imported=float(last) - begun,
            files=files,
            bytes=size,
            asked=now,
        )
        found.append(pod)
    return found


def _create(client: httpx.Client, way: Way, body: Body, name: str, begun: float) -> float:
    spec, meta = body["spec"], {**body["metadata"], "name": name, "namespace": JOBS}
    [flow] = spec["containers"]
    flow = {**flow, "env": [*flow["env"], {"name": "BENCH_SINCE", "value": str(begun)}]}
    started = time.time()
    answer = client.post(
        _PODS, json={**body, "metadata": meta, "spec": {**spec, "containers": [flow]}}
    )
    seconds = time.time() - started
    answer.raise_for_status()
    volumes = answer.json()["spec"].get("volumes", [])
    if (way.pool == READY and way.chooses) != any("image" in one for one in volumes):
        raise RuntimeError(f"{way.title}: the pod has the volumes {json.dumps(volumes)}")
    return seconds


def _logs(client: httpx.Client, names: Sequence[str]) -> list[str]:
    """What pods have written once all of them have ended."""
    deadline = time.monotonic() + _SECONDS
    while True:
        items = client.get(_PODS).json()["items"]
        phases = {one["metadata"]["name"]: one["status"]["phase"] for one in items}
        found = {phases[name] for name in names}
        if found <= {"Succeeded", "Failed"}:
            break
        if time.monotonic() > deadline:
            raise RuntimeError(f"pods do not end: {phases}")
        time.sleep(_EVERY)
    logs = [client.get(f"{_PODS}/{name}/log").text for name in names]
    if found != {"Succeeded"}:
        raise RuntimeError(f"pods failed: {logs}")
    return logs


def _asked(stage: Stage) -> int:
    registry = len(stage.registry.requests()) if stage.registry else 0
    return len(stage.index.requests) + registry
