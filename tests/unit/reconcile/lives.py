"""A life of sets in steps, each of which may meet faults, and what is compared when it is over.

A step begins where the one before it ended well, with a new operator that has come to rest. While
the step is under way, faults happen; an operator that is killed is followed by another. Then all
faults end, and the world comes to rest once more. `play` returns what it is like then, after it has
seen that nothing writes any more: neither when all is reconciled again nor after a restart.
"""

import asyncio
import base64
import random
import re
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from flowdeps.api.names import REFRESH_REQUESTED_ANNOTATION
from flowdeps.app.cleanup import Cleanup
from flowdeps.app.service import Service
from flowdeps.reconcile.dependency_set.retention import GRACE
from flowdeps.state.store import PoolKey
from tests.support.faults import Gate, Plan, no_fault
from tests.support.night import NIGHT
from tests.unit.locks.builders import digest
from tests.unit.reconcile.simulation import MemoryImage, MemoryWatch, Simulation
from tests.unit.scheduling import virtual

INDEX = {"url": "https://index.example.com/simple", "credentialsSecretRef": {"name": "index"}}
CONFIG: dict[str, Any] = {
    "prefect": {"pollInterval": "4m"},
    "workPools": [
        {"name": "k", "namespaces": ["flows", "team"], "jobNamespaces": ["jobs"]},
        {"name": "*", "namespaces": ["flows", "team"]},
    ],
}

ENVIRONMENTS = {
    "repository": "registry.example.com/environments",
    "image": "registry.example.com/flowdeps:1",
}
BUILT = "built"
"""A step in which environments are made, as in no other: what they left stays."""

QUIET = 30.0
FAULTY = 400.0
"""Seconds that faults go on."""
CALM = GRACE + 500.0
"""Until what was left is deleted: two lists of everything, and any pause after a failure that may
end by itself, are shorter."""


def ml(**changes: Any) -> dict[str, Any]:
    """A set with an image to be tried in, credentials, a short history and two revisions of it."""
    return {
        "name": "ml",
        "pools": ["k"],
        "python": {"image": "registry.example.com/flows:1"},
        "index": INDEX,
        "interval": "0s",
        "requirements": ["alpha", "beta"],
        "revisionHistoryLimit": 1,
        **changes,
    }


def rival(name: str, key: str) -> dict[str, Any]:
    """One of two sets that want a key of the same pool."""
    return {"name": name, "pools": [{"name": "l", "key": key}], "interval": "0s"}


def _asked(sim: Simulation, when: str, **changes: Any) -> None:
    sim.index.release += 1
    sim.cluster.apply(
        **ml(metadata={"annotations": {REFRESH_REQUESTED_ANNOTATION: when}}, **changes)
    )


def _status(sim: Simulation) -> dict[str, Any]:
    status: dict[str, Any] = sim.cluster.sets["flows", "ml"]["status"]
    return status


def _rolled_back(sim: Simulation) -> None:
    serving = _status(sim)["lock"]["revision"]
    older = next(one for one in _status(sim)["revisions"] if one["name"] != serving)
    _keep_asked(sim, revision=older["name"])


def _approved(sim: Simulation) -> None:
    _keep_asked(sim, updates="Manual", revision=_status(sim)["proposed"]["revision"])


def _keep_asked(sim: Simulation, **changes: Any) -> None:
    annotations = sim.cluster.sets["flows", "ml"]["metadata"].get("annotations", {})
    sim.cluster.apply(**ml(metadata={"annotations": annotations}, **changes))


def _moved(sim: Simulation) -> None:
    template = sim.prefect.pools["l"].template
    template["variables"]["properties"]["namespace"]["default"] = "team"


def _taken_over(sim: Simulation) -> None:
    sim.cluster.apply(**rival("older", "other"))


def _contested(sim: Simulation) -> None:
    sim.cluster.apply(**rival("older", "x"))


def _refused(sim: Simulation) -> None:
    sim.cluster.apply(**rival("younger", "x"))


def _applied(sim: Simulation) -> None:
    sim.cluster.apply(**ml(requirements=["alpha"]))


def _deleted(sim: Simulation) -> None:
    for namespace, name in list(sim.cluster.sets):
        sim.cluster.delete(name, namespace=namespace)


UNINSTALLED = "uninstalled"
"""What `flowdeps cleanup` does after the operator, in place of a step of the operator's."""

STEPS: dict[str, Callable[[Simulation], None]] = {
    "applied": _applied,
    "changed": lambda sim: sim.cluster.apply(**ml()),
    "refreshed": lambda sim: _asked(sim, "once"),
    "rolled back": _rolled_back,
    "forward again": _keep_asked,
    "proposed": lambda sim: _asked(sim, "twice", updates="Manual"),
    "approved": _approved,
    "key served": _contested,
    "key refused": _refused,
    "taken over": _taken_over,
    "pool moved": _moved,
    BUILT: lambda sim: sim.cluster.apply(**ml(requirements=["alpha", "gamma"])),
    UNINSTALLED: lambda _: None,
    "deleted": _deleted,
}


Worsen = Callable[[MemoryWatch], None]


def _shuffled(seed: int) -> Worsen:
    def shuffle(watch: MemoryWatch) -> None:
        chance = random.Random(seed)
        lags: dict[str, float] = {}
        watch.lag = lambda uid: lags.setdefault(uid, chance.choice((0.0, 0.01, 1.0, 5.0, 60.0)))

    return shuffle


def _behind(events: int) -> Worsen:
    def delay(watch: MemoryWatch) -> None:
        watch.behind = events

    return delay


def _missing(*events: str) -> Worsen:
    def lose(watch: MemoryWatch) -> None:
        watch.missed = lambda event: event in events

    return lose


WATCHES: dict[str, Worsen] = {
    "prompt": MemoryWatch.mend,
    **{f"behind by {events}": _behind(events) for events in (1, 2, 3, 5, 10)},
    "misses deletes": _missing("DELETED"),
    "misses new objects": _missing("ADDED"),
    "misses changes": _missing("MODIFIED"),
    "misses all": _missing("ADDED", "MODIFIED", "DELETED"),
    **{f"in another order, {seed}": _shuffled(seed) for seed in range(20 if NIGHT else 3)},
}


@dataclass(frozen=True)
class Faults:
    """What happens during a step."""

    plan: Plan = no_fault
    watch: Worsen = lambda _: None
    """Makes the watch worse."""
    delays: int = 0
    """The seed of how long requests take, before the server does what is asked and after; 0: no
    time."""


class End(NamedTuple):
    """How a step ended."""

    state: Any
    requests: int
    writes: int


def play(name: str, faults: Faults = Faults()) -> End:
    """Take a step, and return how it ended; the worlds before the steps are kept."""
    return _play(name, faults)[0]


@cache
def _world(number: int) -> tuple[bytes, float]:
    """The world before a step, and the time there."""
    if number == 0:
        return b"", 0.0
    name = [*STEPS][number - 1]
    if name == UNINSTALLED:  # what follows is done by an operator
        return _world(number - 1)
    return _play(name, Faults())[1:]


def _play(name: str, faults: Faults) -> tuple[End, bytes, float]:
    saved, start = _world([*STEPS].index(name))

    async def main() -> tuple[End, bytes, float]:
        sim = Simulation(**CONFIG, environments=ENVIRONMENTS if name == BUILT else {})
        if saved:
            sim.load(saved)
        else:
            prepare(sim)
        take = _uninstall if name == UNINSTALLED else _take
        requests, writes = await take(sim, name, faults)
        return End(state(sim), requests, writes), sim.save(), virtual.now()

    return virtual.run(main(), start=start)


def prepare(sim: Simulation) -> None:
    sim.cluster.namespaces.add("jobs")
    sim.prefect.make("k", namespace="jobs")
    sim.prefect.make("l")
    sim.cluster.pods.images["registry.example.com/flows:1"] = MemoryImage(
        id=f"registry.example.com/flows@{digest('flows')}"
    )
    encoded = {key: base64.b64encode(b"ci").decode() for key in ("username", "password")}
    sim.cluster.put_foreign_secret("flows", "index", encoded)


async def _take(sim: Simulation, name: str, faults: Faults) -> tuple[int, int]:
    gate, watch = Gate(), sim.cluster.watch
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(sim.operator(gate))
        await asyncio.sleep(QUIET)
        gate.arm(faults.plan, delay=_delays(faults.delays))
        faults.watch(watch)
        STEPS[name](sim)
        end = virtual.now() + FAULTY
        while await killed(gate, seconds=end - virtual.now()):
            await stack.aclose()
            gate.revive()
            service = await stack.enter_async_context(sim.operator(gate))
        counts = len(gate.requests), len(gate.writes)
        gate.arm(no_fault)
        watch.mend()
        await asyncio.sleep(CALM)
        await _at_rest(sim, service)
    return counts


def _delays(seed: int) -> Callable[[], float]:
    chance = random.Random(seed)
    return lambda: chance.choice((0.0, 0.0, 0.01, 0.5, 4.0)) if seed else 0.0


async def killed(gate: Gate, *, seconds: float) -> bool:
    """Wait for a kill; returns whether one came in time."""
    try:
        async with asyncio.timeout(seconds):
            await gate.killed.wait()
    except TimeoutError:
        return False
    return True


async def _at_rest(sim: Simulation, service: Service) -> None:
    """Nothing writes any more."""
    before, writes = state(sim), sim.writes()
    context = service.context
    context.requeue({*context.store.sets, *map(PoolKey, context.pool_states)})
    await asyncio.sleep(QUIET)
    assert sim.writes() == writes, "another reconcile wrote something"
    assert state(sim) == before
    async with sim.operator():
        await asyncio.sleep(QUIET)
    assert sim.writes() == writes, "a restart wrote something"
    assert state(sim) == before


async def _uninstall(sim: Simulation, _: str, faults: Faults) -> tuple[int, int]:
    gate = Gate(faults.plan)
    run = asyncio.create_task(Cleanup(sim.config, *sim.clients(gate), say=lambda _: None).run())
    killed = asyncio.create_task(gate.killed.wait())
    await asyncio.wait({run, killed}, return_when=asyncio.FIRST_COMPLETED)
    for task in (run, killed):
        task.cancel()
    await asyncio.wait({run, killed})
    again = Cleanup(sim.config, *sim.clients(), say=lambda _: None)
    await again.run()
    before, writes = state(sim), sim.writes()
    await again.run()
    assert again.left == []
    assert sim.writes() == writes, "another run wrote something"
    assert state(sim) == before
    return len(gate.requests), len(gate.writes)


# What is compared

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*")


def state(sim: Simulation) -> Any:
    """All objects and templates, without what differs from one run to another.

    That is: resource versions, uids (an owner is named), times (only whether there is one), and the
    order of a history, which is by time. The text of templates is compared as it is.
    """
    cluster = sim.cluster
    names = {body["metadata"]["uid"]: name for (_, name), body in cluster.sets.items()}
    kinds = {
        "set": cluster.sets,
        "map": cluster.maps,
        "secret": cluster.secrets,
        "told": cluster.told,
    }
    objects = {
        (kind, *where): _comparable(body, names)
        for kind, found in kinds.items()
        for where, body in found.items()
    }
    templates = {name: pool.template for name, pool in sim.prefect.pools.items()}
    return objects, templates, sorted(cluster.pods.pods)


def _comparable(body: Mapping[str, Any], names: Mapping[str, str]) -> Any:
    meta = body["metadata"]
    owners = [names.get(one["uid"], "nobody") for one in meta.get("ownerReferences", ())]
    status = dict(body.get("status", {}))
    if "revisions" in status:
        status["revisions"] = sorted(status["revisions"], key=lambda one: one["name"])
    return _timeless(
        {
            "labels": meta.get("labels"),
            "annotations": meta.get("annotations"),
            "finalizers": meta.get("finalizers"),
            "generation": meta.get("generation"),
            "owners": owners,
            **{part: body.get(part) for part in ("spec", "data", "immutable")},
            "status": status,
        }
    )


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_timeless(one) for one in value]
    return "a time" if isinstance(value, str) and _TIME.fullmatch(value) else value
