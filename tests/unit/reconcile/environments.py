"""Environments in the simulation: a build's word in a lock's ConfigMaps, and what runs are told."""

import asyncio
import json
from typing import Any

from flowdeps.api.names import ENVIRONMENT_ANNOTATION, ENVIRONMENTS, mounted_name
from flowdeps.state.environment import Environment
from tests.unit.locks.builders import digest
from tests.unit.reconcile.simulation import OPEN, MemoryImage, Simulation

IMAGE = "registry.example.com/flows:1"
REPOSITORY = "registry.example.com/flowdeps"
CONFIG: dict[str, Any] = {
    "environments": {"repository": REPOSITORY, "policy": "flowdeps-environments"},
    "prefect": {"pollInterval": "4m"},
}
MINUTE = 60


def with_pool(**changes: Any) -> dict[str, Any]:
    """A configuration with environments, and pools that take all sets, with changes."""
    return {**CONFIG, "workPools": [{**OPEN, **changes}]}


def prepare(sim: Simulation, *, namespace: str = "jobs") -> None:
    """An image and a pool whose runs are in a namespace of their own."""
    sim.cluster.namespaces.add(namespace)
    sim.cluster.pods.images[IMAGE] = MemoryImage()
    sim.prefect.make("k", namespace=namespace)


def apply(sim: Simulation, name: str = "ml", **changes: Any) -> None:
    """A set for that image and pool."""
    given = {"pools": ["k"], "python": {"image": IMAGE}, "interval": "0s", **changes}
    sim.cluster.apply(name, **given)


def environment(lock: str, *, namespace: str = "flows", **changes: Any) -> Environment:
    """What a build says of a lock."""
    made = {
        "reference": f"{REPOSITORY}/{namespace}@{digest(lock)}",
        "lock": lock,
        "image": IMAGE,
        "image_id": "sha256:1",
        "size": 1,
        "unpacked": 2,
        "files": 3,
        "import_seconds": 0.1,
    }
    return Environment(**{**made, **changes})


def build(sim: Simulation, name: str = "ml", *, namespace: str = "flows", **changes: Any) -> str:
    """Have the lock in service of a set built; returns the reference."""
    maps = sim.cluster.maps
    live = maps[namespace, mounted_name(name)]
    lock = json.loads(live["data"]["lock.json"])["digest"]
    made = environment(lock, namespace=namespace, **changes)
    short = lock.removeprefix("sha256:")[:10]
    for one in (mounted_name(f"{name}-{short}"), mounted_name(name)):
        sim.cluster.annotate_map(namespace, one, **{ENVIRONMENT_ANNOTATION: made.to_json()})
    return made.reference


async def built(sim: Simulation, name: str = "ml", **changes: Any) -> str:
    """Apply a set, and have its lock built; returns the reference."""
    apply(sim, name, **changes)
    await asyncio.sleep(2 * MINUTE)
    reference = build(sim, name, namespace=changes.get("namespace", "flows"))
    await asyncio.sleep(2 * MINUTE)
    return reference


def told(sim: Simulation, namespace: str = "jobs") -> dict[str, str]:
    """What runs of a namespace are told: choices without the pool, and references."""
    body = sim.cluster.maps.get((namespace, ENVIRONMENTS))
    lines = body["data"] if body else {}
    return {key.partition(".")[2]: line.split(" ")[1] for key, line in lines.items()}


def delivery(sim: Simulation, name: str = "ml", *, namespace: str = "flows") -> list[str]:
    """How the pools of a set deliver it, by its status."""
    pools = sim.cluster.sets[namespace, name]["status"]["workPools"]
    return [one.get("delivery", "") for one in pools]
