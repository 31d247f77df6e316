"""Sets with environments in the simulation, and what runs are told of these."""

import asyncio
import json
from typing import Any

from flowdeps.api.names import ENVIRONMENT_ANNOTATION, ENVIRONMENTS, mounted_name
from flowdeps.reconcile.runs_namespace.lines import told_by
from tests.unit.locks.builders import digest
from tests.unit.reconcile.simulation import OPEN, MemoryImage, Simulation

IMAGE = "registry.example.com/flows:1"
FIRST, SECOND = (f"registry.example.com/flows@{digest(seed)}" for seed in ("first", "second"))
CONFIG: dict[str, Any] = {
    "environments": {
        "repository": "registry.example.com/environments",
        "image": "registry.example.com/flowdeps:1",
        "policy": "flowdeps-environments",
    },
    "prefect": {"pollInterval": "4m"},
}
MINUTE = 60


def with_pool(**changes: Any) -> dict[str, Any]:
    """A configuration with environments, and pools that take all sets, with changes."""
    return {**CONFIG, "workPools": [{**OPEN, **changes}]}


def prepare(sim: Simulation, *, namespace: str = "jobs") -> None:
    """An image, and a pool whose runs are in a namespace of their own."""
    sim.cluster.namespaces.add(namespace)
    sim.cluster.pods.images[IMAGE] = MemoryImage(id=FIRST)
    sim.prefect.make("k", namespace=namespace)


async def built(sim: Simulation, name: str = "ml", **changes: Any) -> str:
    """Apply a set for that image and pool, and wait; returns the reference of its environment."""
    given = {"pools": ["k"], "python": {"image": IMAGE}, "interval": "0s", **changes}
    sim.cluster.apply(name, **given)
    await asyncio.sleep(3 * MINUTE)
    return recorded(sim, name, namespace=changes.get("namespace", "flows"))


def recorded(sim: Simulation, name: str = "ml", *, namespace: str = "flows") -> str:
    """The reference of the environment that a set has."""
    annotations = sim.cluster.maps[namespace, mounted_name(name)]["metadata"]["annotations"]
    return str(json.loads(annotations.get(ENVIRONMENT_ANNOTATION, "{}")).get("reference", ""))


def told(sim: Simulation, namespace: str = "jobs") -> dict[str, str]:
    """What runs of a namespace are told: choices without the pool, and references."""
    body = sim.cluster.told.get((namespace, ENVIRONMENTS))
    lines = told_by(body) if body else {}
    return {key.partition(".")[2]: line["reference"] for key, line in lines.items()}


def delivery(sim: Simulation, name: str = "ml", *, namespace: str = "flows") -> list[str]:
    """How the pools of a set deliver it, by its status."""
    pools = sim.cluster.sets[namespace, name]["status"]["workPools"]
    return [one.get("delivery", "") for one in pools]
