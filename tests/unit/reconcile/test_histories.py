"""Random histories: people, outages and kills in any order, at any moment."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flowdeps.api.names import mounted_name
from flowdeps.api.reasons import Reason
from flowdeps.clients.prefect.errors import PoolsError
from tests.support.faults import Fault, Gate, at_requests, no_fault
from tests.support.night import examples
from tests.unit.reconcile.lives import WATCHES, killed
from tests.unit.reconcile.simulation import MemoryImage, Simulation
from tests.unit.scheduling import virtual

_NAMES = ("a", "b", "c")
_POOLS = ("k", "l", "missing")
_IMAGES = ("registry.example.com/flows:1", "registry.example.com/flows:2")
_OUTAGE = PoolsError(Reason.PREFECT_UNAVAILABLE, "the Prefect API did not answer: away")

_REF = st.fixed_dictionaries(
    {"name": st.sampled_from(_POOLS)},
    optional={"key": st.sampled_from([*_NAMES, "x"]), "default": st.booleans()},
)
_APPLY = st.fixed_dictionaries(
    {
        "name": st.sampled_from(_NAMES),
        "namespace": st.sampled_from(["flows", "team"]),
        "pools": st.lists(_REF, max_size=2, unique_by=lambda ref: str(ref["name"])),
        "requirements": st.lists(
            st.sampled_from(["alpha", "beta", "impossible", "no good"]), min_size=1, max_size=2
        ),
        "suspend": st.booleans() | st.just(False),
    },
    optional={
        "python": st.sampled_from([{}, {"image": _IMAGES[0]}, {"image": _IMAGES[1]}]),
        "updates": st.sampled_from(["Automatic", "Manual"]),
        "includes": st.sampled_from([[{"name": name}] for name in _NAMES]),
        "requirementsFrom": st.just([{"configMapKeyRef": {"name": "src", "key": "txt"}}]),
    },
)
_NAME = st.tuples(st.sampled_from(["flows", "team"]), st.sampled_from(_NAMES))
_OPERATION = st.one_of(
    st.tuples(st.just("apply"), _APPLY),
    st.tuples(st.just("delete"), _NAME),
    st.tuples(st.just("delete map"), st.integers(0, 20)),
    st.tuples(st.just("edit map"), st.integers(0, 20)),
    st.tuples(st.just("move jobs"), st.sampled_from(["flows", "jobs", "nowhere"])),
    st.tuples(st.just("restore"), st.sampled_from(["k", "l"])),
    st.tuples(st.just("prefect"), st.booleans()),
    st.tuples(st.just("cluster"), st.booleans()),
    st.tuples(st.just("index"), st.booleans()),
    st.tuples(st.just("release"), st.integers(1, 9)),
    st.tuples(st.just("image"), st.tuples(st.sampled_from(_IMAGES), st.sampled_from(["", "beta"]))),
    st.tuples(st.just("source"), st.sampled_from(["gamma", "gamma delta", ""])),
    st.tuples(st.just("forbid pods"), st.booleans()),
    st.tuples(st.just("kill"), st.none()),
    st.tuples(st.just("watch"), st.sampled_from([*WATCHES])),
    st.tuples(
        st.just("faults"),
        st.dictionaries(st.integers(1, 60), st.sampled_from(Fault), min_size=1, max_size=6),
    ),
)
_PAUSE = st.sampled_from([0.0, 0.003, 0.007, 0.02, 1.0, 3.01, 10.0, 100.0, 2000.0, 30000.0])
_HISTORY = st.lists(st.tuples(_PAUSE, _OPERATION), max_size=14)


class _History:
    """A simulation that people, faults and kills happen to."""

    def __init__(self) -> None:
        self.sim = Simulation(prefect={"pollInterval": "2m"})
        self.sim.cluster.namespaces.add("jobs")
        self.sim.prefect.make("k")
        self.sim.prefect.make("l", namespace="jobs")
        self.sim.cluster.pods.images[_IMAGES[0]] = MemoryImage()
        self.gate = Gate()
        self.originals = {name: pool.template for name, pool in self.sim.prefect.pools.items()}

    async def play(self, history: list[tuple[float, tuple[str, Any]]]) -> None:
        async with AsyncExitStack() as stack:

            async def restart() -> None:
                await stack.aclose()
                self.gate.revive()
                await stack.enter_async_context(self.sim.operator(self.gate))

            await restart()
            for pause, (what, how) in history:
                end = virtual.now() + pause
                while await killed(self.gate, seconds=end - virtual.now()):
                    await restart()
                if what == "kill":
                    await restart()
                else:
                    self._do(what, how)
            if self.gate.killed.is_set():
                await restart()
            self.gate.arm(no_fault)
            self.sim.cluster.watch.mend()
            self.sim.prefect.outage = None
            self.sim.cluster.away = self.sim.index.away = False
            self.sim.cluster.pods.forbidden = ""
            await asyncio.sleep(9000)  # beyond the hour for which a failure is remembered

    def _do(self, what: str, how: Any) -> None:
        cluster, prefect = self.sim.cluster, self.sim.prefect
        maps = sorted(cluster.maps)
        if what == "apply":
            cluster.apply(**how)
        elif what == "delete":
            cluster.delete(how[1], namespace=how[0])
        elif what == "delete map" and maps:
            cluster.delete_map(*maps[how % len(maps)])
        elif what == "edit map" and maps:
            cluster.edit_map(*maps[how % len(maps)], **{"requirements.txt": "evil==1.0"})
        elif what == "move jobs":
            self._move(how)
        elif what == "restore":
            prefect.edit(how, **self.originals[how])
        elif what == "prefect":
            prefect.outage = _OUTAGE if how else None
        elif what == "cluster":
            cluster.away = how
        elif what == "index":
            self.sim.index.away = how
        elif what == "release":
            self.sim.index.release = how

        elif what == "image":
            name, broken = how
            made = f"sha256:{virtual.now()}"
            self.sim.cluster.pods.images[name] = MemoryImage(id=made, broken=frozenset({broken}))
        elif what == "source" and how:
            cluster.put_foreign_map("flows", "src", {"txt": how})
        elif what == "source":
            cluster.maps.pop(("flows", "src"), None)
        elif what == "forbid pods":
            cluster.pods.forbidden = "exceeded quota" if how else ""
        elif what == "watch":
            WATCHES[how](cluster.watch)
        elif what == "faults":
            self.gate.arm(at_requests(how))

    def _move(self, namespace: str) -> None:
        """Somebody lets the jobs of pool l run elsewhere."""
        for template in (self.originals["l"], self.sim.prefect.pools["l"].template):
            template["variables"]["properties"]["namespace"]["default"] = namespace

    # What must hold in the end

    def check_words(self) -> None:
        """Every set says how it is, of its present spec, and whoever is Ready is offered."""
        under_way = {reason for reason in Reason if reason.is_under_way}
        for (namespace, name), body in self.sim.cluster.sets.items():
            status, reason = self.sim.ready(name, namespace=namespace)
            assert status in ("True", "False"), f"{namespace}/{name} says nothing: {body}"
            assert reason not in under_way - {Reason.PUBLISHING}, reason
            assert reason != Reason.INTERNAL_ERROR
            if status == "True" and reason == "Ready":
                assert self.sim.pins(name, namespace=namespace), "Ready without a lock"
                for ref in body["spec"]["workPools"]:
                    assert ref.get("key", name) in self.sim.prefect.keys(ref["name"])

    def check_offers(self) -> None:
        """Every key that a pool offers has a lock where the pool's jobs run, if they can."""
        for pool, key, namespace in self._offered():
            where = (namespace, mounted_name(key, pool=pool))
            if namespace not in self.sim.cluster.namespaces or key in self._at_rest():
                continue
            assert where in self.sim.cluster.maps, f"{pool} offers {key} without a lock"
            data = self.sim.cluster.maps[where]["data"]
            assert "evil" not in data["requirements.txt"]

    def _at_rest(self) -> set[str]:
        """Keys of sets that do nothing, by wish or mistake: what is deleted there stays so."""
        return {
            ref.get("key", name)
            for (_, name), body in self.sim.cluster.sets.items()
            if body["spec"].get("suspend") or "no good" in body["spec"]["requirements"]
            for ref in body["spec"]["workPools"]
        }

    def _offered(self) -> Iterator[tuple[str, str, str]]:
        for name, pool in self.sim.prefect.pools.items():
            namespace = pool.template["variables"]["properties"]["namespace"]["default"]
            for key in self.sim.prefect.keys(name):
                yield name, key, namespace

    async def check_restart(self) -> None:
        """A new operator finds nothing to do, but for trying again what did not work."""
        if any("Failed" in reason or "Image" in reason for reason in self._reasons()):
            return
        before, writes = self.sim.state(), self.sim.writes()
        async with self.sim.operator():
            await asyncio.sleep(400)
        assert self.sim.writes() == writes, "a restart wrote something"
        assert self.sim.state() == before

    def _reasons(self) -> list[str]:
        return [self.sim.ready(n, namespace=where)[1] for where, n in self.sim.cluster.sets]

    async def check_end(self) -> None:
        """With the last set goes everything that sets brought in."""
        async with self.sim.operator():
            for namespace, name in list(self.sim.cluster.sets):
                self.sim.cluster.delete(name, namespace=namespace)
            await asyncio.sleep(9000)
        assert not self.sim.cluster.sets
        assert set(self.sim.cluster.maps) <= {("flows", "src")}
        assert not self.sim.cluster.pods.pods
        templates = {name: pool.template for name, pool in self.sim.prefect.pools.items()}
        assert templates == self.originals


def _apply(name: str, *pools: dict[str, Any], namespace: str = "flows", **changes: Any) -> Any:
    given = {"name": name, "namespace": namespace, "pools": list(pools), **changes}
    return ("apply", {"requirements": ["alpha"], "suspend": False, **given})


# Histories that once did not end well.
@given(history=_HISTORY)
@example(
    history=[
        (0.0, _apply("a", {"name": "k"}, suspend=True)),
        (0.02, ("prefect", True)),
        (0.0, _apply("a", namespace="team")),
        (2000.0, ("delete map", 0)),
    ]
)
@example(
    history=[
        (0.0, _apply("b", {"name": "k", "key": "a"}, requirements=["no good"], suspend=True)),
        (0.003, _apply("a")),
    ]
)
@example(
    history=[
        (0.02, _apply("a", {"name": "l", "key": "b"})),
        (0.007, ("move jobs", "flows")),
        (0.0, _apply("b")),
    ]
)
@example(
    history=[
        (0.0, ("move jobs", "flows")),
        (0.0, _apply("a", {"name": "l", "key": "b"}, requirements=["no good"], suspend=True)),
        (0.0, _apply("b", {"name": "k"})),
    ]
)
@settings(max_examples=examples(100), suppress_health_check=list(HealthCheck))
def test_any_history_ends_well(history: list[tuple[float, tuple[str, Any]]]) -> None:
    """Whatever people, faults and kills did, once it is over: each set says how it is, whoever is
    Ready is offered and has its lock where runs look for it, a restart writes nothing, and deleting
    all sets leaves nothing behind."""

    async def main() -> None:
        told = _History()
        await told.play(history)
        told.check_words()
        told.check_offers()
        await told.check_restart()
        await told.check_end()

    virtual.run(main())
