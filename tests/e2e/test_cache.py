"""Ten runs that start at once with a cache on a claim: one installs, the others have its packages.

They are bare pods with what the fragment adds: what Prefect does to a pod is tested elsewhere.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from flowdeps.api.names import INSTALL_CONTAINER
from flowdeps.delivery.choice import Choice
from flowdeps.delivery.methods.cache import Cache
from tests.cluster import images
from tests.e2e.stage import CACHE, CACHED, JOBS, SECONDS, SITE, TEAM, Stage
from tests.support import sets

pytestmark = pytest.mark.node

_RUNS = 10
_CODE = "import alone; print(alone.__file__, alone.__cached__)"


@pytest.fixture(scope="module")
def claim(stage: Stage) -> Iterator[None]:
    """A claim on a directory of the node."""
    storage = {"storageClassName": "", "accessModes": ["ReadWriteMany"]}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": CACHE},
        "spec": {
            **storage,
            "capacity": {"storage": "1Gi"},
            "hostPath": {"path": "/var/lib/flowdeps-cache", "type": "DirectoryOrCreate"},
            "persistentVolumeReclaimPolicy": "Retain",
        },
    }
    wanted = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CACHE, "namespace": JOBS},
        "spec": {
            **storage,
            "resources": {"requests": {"storage": "1Gi"}},
            "volumeName": CACHE,
        },
    }
    sets.apply(stage.node, volume, wanted)
    yield
    stage.node.kubectl("delete", "pods", "-n", JOBS, "-l", "app=cached", "--wait=false")
    stage.node.kubectl("delete", "pvc", CACHE, "-n", JOBS, "--wait=false")
    stage.node.kubectl("delete", "pv", CACHE, "--wait=false")
    stage.let_go()


def test_a_pool_without_its_claim_says_so(stage: Stage) -> None:
    """Its runs would never start, so its template stays as it is."""
    stage.index.add("alone", "1.0")
    body = sets.set_body("cached", ["alone"], namespace=TEAM, pools=[CACHED])
    sets.apply(stage.node, body)
    found = sets.wait_reason(
        stage.node, "cached", "CacheUnavailable", namespace=TEAM, seconds=SECONDS
    )
    assert f"no PersistentVolumeClaim {CACHE}" in sets.condition(found, "Ready")["message"]


@pytest.mark.usefixtures("claim")
def test_ten_runs_at_once_install_once(stage: Stage) -> None:
    """The claim comes, and the set is Ready by itself. Then nine of ten pods link to what the tenth
    has installed, whichever that is, and import its bytecode from a mount that they may not write;
    the next one starts while the index is away."""
    sets.wait_ready(stage.node, "cached", namespace=TEAM, seconds=SECONDS)
    [pool] = sets.get_set(stage.node, "cached", namespace=TEAM)["status"]["workPools"]
    assert pool["delivery"] == "Cache"
    names = [f"cached-{number}" for number in range(_RUNS)]
    sets.apply(stage.node, *map(_pod, names))
    logs = [_ended(stage, name) for name in names]
    assert sum("from the cache" in one for one in logs) == _RUNS - 1, logs
    assert sum("with uv" in one for one in logs) == 1
    stage.index.down()
    try:
        sets.apply(stage.node, _pod("cached-late"))
        assert "from the cache" in _ended(stage, "cached-late")
    finally:
        stage.index.up()


def _pod(name: str) -> dict[str, Any]:
    choice = Choice(owner="e2e", version="1", pool=CACHED, keys=("cached",))
    pieces = Cache(claim=CACHE).pieces(choice)
    image = {"image": images.FLOW_UV, "imagePullPolicy": "Never"}
    flow = {
        **image,
        "name": "prefect-job",
        "command": ["python3", "-c", _CODE],
        "env": [*pieces.flow_env, {"name": "PYTHONPATH", "value": ":".join(pieces.python_path)}],
        "volumeMounts": list(pieces.flow_mounts),
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": JOBS, "labels": {"app": "cached"}},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsUser": 0},  # whose directory of the node it is
            "volumes": list(pieces.volumes),
            "initContainers": [{**one, **image} for one in pieces.init_containers],
            "containers": [flow],
        },
    }
    text = json.dumps(pod).replace("{{ dependency_set }}", "cached")
    found: dict[str, Any] = json.loads(text.replace(" {{ extra_py_deps }}", ""))
    return found


def _ended(stage: Stage, name: str) -> str:
    """What the install container of a pod said whose flow found the packages."""
    path = f"/api/v1/namespaces/{JOBS}/pods/{name}"

    def ended() -> bool:
        found = sets.read(stage.node, path) or {}
        return found.get("status", {}).get("phase") in {"Succeeded", "Failed"}

    sets.wait(ended, what=f"{name} to end", seconds=SECONDS)
    said = stage.node.kubectl("logs", name, "-c", INSTALL_CONTAINER, "-n", JOBS)
    seen = stage.node.kubectl("logs", name, "-c", "prefect-job", "-n", JOBS)
    module, bytecode = seen.split()
    assert module == f"{SITE}/alone/__init__.py", said
    assert bytecode.startswith(f"{SITE}/alone/__pycache__/")
    return said
