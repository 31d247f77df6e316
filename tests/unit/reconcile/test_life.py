"""Days in the life of sets, told by the simulation."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flowdeps.api.names import SET_LABEL, mounted_name
from flowdeps.api.reasons import Reason
from flowdeps.clients.prefect.errors import PoolsError
from tests.unit.reconcile.simulation import Simulation
from tests.unit.scheduling import virtual

MINUTE, HOUR, DAY = 60, 3600, 86400
COPY = mounted_name("ml", pool="k")

OUTAGE = PoolsError(Reason.PREFECT_UNAVAILABLE, "the Prefect API did not answer: away")


def play(script: Callable[[Simulation], Awaitable[None]], **config: object) -> Simulation:
    """A simulation in which the script has happened."""

    async def main() -> Simulation:
        simulation = Simulation(**config)
        await script(simulation)
        return simulation

    return virtual.run(main())


async def settled(simulation: Simulation) -> None:
    """An operator runs until all is done, and a second one has nothing to do."""
    async with simulation.operator():
        await asyncio.sleep(5 * MINUTE)
    before, writes = simulation.state(), simulation.writes()
    async with simulation.operator():
        await asyncio.sleep(5 * MINUTE)
    assert simulation.writes() == writes, "a restart wrote something"
    assert simulation.state() == before


def test_a_set_is_locked_published_and_offered() -> None:
    """From apply to Ready, with the lock at home and where the pool's jobs run."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("k", namespace="jobs")
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        assert sim.ready("ml") == ("True", "Ready")
        assert sim.pins("ml") == sim.pins("ml", namespace="jobs", pool="k") == "pandas==1.0"
        assert sim.prefect.keys("k") == ["ml"]
        assert sim.prefect.writes["k"] == 1

    play(script)


@pytest.mark.parametrize(
    ("changes", "ready"),
    [
        ({}, ("True", "Ready")),
        ({"pools": []}, ("True", "Ready")),
        ({"suspend": True}, ("False", "Suspended")),
        ({"requirements": ["impossible"]}, ("False", "Unsatisfiable")),
        ({"requirements": ["no good"]}, ("False", "InvalidSpec")),
        ({"pools": ["missing"]}, ("False", "PoolNotFound")),
        ({"pools": ["k", "missing", "other"]}, ("False", "PoolNotFound")),
        ({"pools": ["lost"]}, ("False", "NamespaceNotFound")),
        ({"pools": [{"name": "k", "key": "taken"}]}, ("False", "Conflict")),
        ({"namespace": "team", "name": "keyed"}, ("True", "Ready")),
    ],
)
def test_every_situation_comes_to_rest(changes: dict[str, Any], ready: tuple[str, str]) -> None:
    """Whatever becomes of a set, after that nothing is written, also by a restarted operator."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.prefect.make("lost", namespace="nowhere")
        sim.prefect.make("other")
        sim.prefect.make("team", namespace="team")
        sim.cluster.apply("taken", pools=["k", {"name": "team", "key": "keyed"}])
        await settled(sim)
        given = {"name": "ml", "pools": ["k"], **changes}
        sim.cluster.apply(**given)
        await settled(sim)
        assert sim.ready(given["name"], namespace=given.get("namespace", "flows")) == ready

    play(script)


def test_a_quiet_day_has_one_refresh_and_no_other_write() -> None:
    """The interval passes once in a day and a half: one resolution; no pin has moved, so nothing
    but the time of the refresh is written, and the pool is not touched."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(HOUR)
            writes, resolved = sim.writes(), len(sim.index.resolved)
            sim.passes.clear()
            await asyncio.sleep(1.5 * DAY)
            assert len(sim.index.resolved) - resolved == 1
            spent = {k: n - writes.get(k, 0) for k, n in sim.writes().items() if n != writes.get(k)}
            assert spent == {"apply_config_map": 1, "apply_status": 1}
            assert sim.passes["flows/ml"] < 20

    play(script)


def test_a_refresh_moves_pins_and_a_change_does_not() -> None:
    """A new requirement keeps the others' versions; the refresh takes the newest of all."""

    async def script(sim: Simulation) -> None:
        sim.cluster.apply("ml", requirements=["alpha"])
        async with sim.operator():
            await asyncio.sleep(HOUR)
            sim.index.release = 2
            sim.cluster.apply("ml", requirements=["alpha", "beta"])
            await asyncio.sleep(HOUR)
            assert sim.pins("ml") == "alpha==1.0 beta==2.0"
            await asyncio.sleep(1.2 * DAY)
            assert sim.pins("ml") == "alpha==2.0 beta==2.0"

    play(script)


def test_a_refresh_knows_the_last_lock_too() -> None:
    """It keeps no pin, but a resolver that knows them can tell what the index has lost."""

    async def script(sim: Simulation) -> None:
        sim.cluster.apply("ml", requirements=["alpha"])
        async with sim.operator():
            await asyncio.sleep(1.2 * DAY)
            (first, _), (before, keep) = sim.index.after
            assert first is None
            assert before is not None
            assert [(one.name, one.version) for one in before.pins] == [("alpha", "1.0")]
            assert not keep

    play(script)


@pytest.mark.parametrize("fault", ["index", "impossible"])
def test_a_refresh_that_fails_is_not_tried_every_second(fault: str) -> None:
    """While a refresh is due and can't be had, its lock stays in service, and passes and
    resolutions come with the pauses of the failure."""

    async def script(sim: Simulation) -> None:
        sim.cluster.apply("ml", requirements=["alpha"])
        async with sim.operator():
            await asyncio.sleep(HOUR)
            sim.index.away = fault == "index"
            if fault == "impossible":
                sim.cluster.apply("ml", requirements=["alpha", "impossible"])
            await asyncio.sleep(1.2 * DAY)
            sim.passes.clear()
            tries = len(sim.index.resolved)
            await asyncio.sleep(6 * HOUR)
            assert len(sim.index.resolved) - tries < 6 * HOUR / 200
            assert sim.passes["flows/ml"] < 6 * HOUR / 60
            assert sim.pins("ml") == "alpha==1.0"
            sim.index.away = False
            sim.cluster.apply("ml", requirements=["alpha"])
            sim.index.release = 2
            await asyncio.sleep(HOUR)
            assert sim.ready("ml") == ("True", "Ready")

    play(script)


def test_a_day_without_prefect_loses_nothing() -> None:
    """Locks go on being made; the condition names the cause; when Prefect returns, all is well."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(HOUR)
            sim.prefect.outage = OUTAGE
            await asyncio.sleep(HOUR)
            assert sim.ready("ml") == ("False", "PrefectUnavailable")
            sim.cluster.apply("ml", requirements=["pandas", "alpha"], pools=["k"])
            sim.cluster.apply("new", pools=["k"])
            await asyncio.sleep(DAY)
            assert sim.pins("ml").startswith("alpha==1.0")
            assert sim.ready("new") == ("False", "PrefectUnavailable")
            sim.prefect.outage = None
            await asyncio.sleep(10 * MINUTE)
            assert sim.ready("ml") == sim.ready("new") == ("True", "Ready")
            assert sim.prefect.keys("k") == ["ml", "new"]

    play(script)


def test_an_outage_of_prefect_without_any_change_ends_with_it() -> None:
    """Sets that were Ready say so again when Prefect returns, though nothing has changed."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(HOUR)
            writes = dict(sim.prefect.writes)
            sim.prefect.outage = OUTAGE
            await asyncio.sleep(HOUR)
            assert sim.ready("ml") == ("False", "PrefectUnavailable")
            sim.prefect.outage = None
            await asyncio.sleep(2 * MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            assert sim.prefect.writes == writes
        await settled(sim)

    play(script)


def test_a_long_outage_of_prefect_never_ends_the_operator() -> None:
    """Ten days of failures are pauses, which grow, and not an overflow."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=["k"])
        sim.prefect.outage = OUTAGE
        async with sim.operator():
            await asyncio.sleep(10 * DAY)
            assert sim.prefect.requests < 4 * 10 * DAY / (5 * MINUTE)
            sim.prefect.outage = None
            await asyncio.sleep(10 * MINUTE)
            assert sim.ready("ml") == ("True", "Ready")

    play(script, prefect={"pollInterval": "5m"})


def test_an_outage_of_the_api_server_is_waited_out() -> None:
    """An hour without the cluster, at the start and later, ends in the same state."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.away = True
        async with sim.operator() as service:
            await asyncio.sleep(HOUR)
            assert service.health.ready()
            sim.cluster.away = False
            sim.cluster.apply("ml", pools=["k"])
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            sim.cluster.away = True
            sim.cluster.apply("ml", requirements=["beta"], pools=["k"])
            await asyncio.sleep(HOUR)
            sim.cluster.away = False
            await asyncio.sleep(15 * MINUTE)
            assert sim.pins("ml") == "beta==1.0"
            assert sim.ready("ml") == ("True", "Ready")

    play(script)


def test_a_status_never_lands_on_a_set_that_was_made_anew() -> None:
    """A set is deleted and applied anew while a pass over the old one ends, and the watch lags: the
    first status of the new one is its own, and nothing is tried each second until it is seen."""

    async def script(sim: Simulation) -> None:
        apply_status = sim.cluster.apply_status
        told: list[tuple[str, Any]] = []

        async def late(**write: Any) -> Any:
            if write["status"].get("lock") and not told:
                sim.cluster.watch.lag = lambda _uid: MINUTE
                sim.cluster.delete("ml")
                sim.cluster.apply("ml", requirements=["impossible"])
            told.append((write["uid"], write["status"].get("lock")))
            return await apply_status(**write)

        sim.cluster.apply("ml")
        async with sim.operator():
            await asyncio.sleep(1)
            old = sim.cluster.sets["flows", "ml"]["metadata"]["uid"]
            sim.cluster.apply_status = late  # type: ignore[method-assign]
            await asyncio.sleep(MINUTE / 2)
            assert [uid for uid, _ in told] == [old]
            assert "status" not in sim.cluster.sets["flows", "ml"]
            sim.cluster.watch.lag = lambda _uid: 0.001
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("False", "Unsatisfiable")
            assert all(lock is None for uid, lock in told if uid != old)
        await settled(sim)

    play(script)


def test_a_job_namespace_that_comes_later_is_filled_and_the_key_offered() -> None:
    """NamespaceNotFound mends itself when the namespace is made."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k", namespace="late")
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(14 * MINUTE)
            assert sim.condition("ml", "Reconciling")
            await asyncio.sleep(2 * MINUTE)  # though it tries again later than that
            assert sim.condition("ml", "Stalled")["reason"] == "NamespaceNotFound"
            await asyncio.sleep(HOUR)
            assert sim.ready("ml") == ("False", "NamespaceNotFound")
            assert sim.prefect.keys("k") == []
            sim.cluster.namespaces.add("late")
            await asyncio.sleep(HOUR / 2 + MINUTE)  # it tries again after half of the time
            assert sim.ready("ml") == ("True", "Ready")
            assert sim.prefect.keys("k") == ["ml"]

    play(script)


def test_a_key_that_becomes_free_goes_to_who_waits_for_it() -> None:
    """A set in conflict takes over when the one that has the key changes it, and again when it is
    deleted; of two that wait, the older one."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("a", namespace="jobs")

        def serves(key: str) -> str:
            body = sim.cluster.maps["jobs", mounted_name(key, pool="a")]
            return str(body["metadata"]["labels"][SET_LABEL])

        sim.cluster.apply("first", pools=[{"name": "a", "key": "x"}])
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            sim.cluster.apply("second", pools=[{"name": "a", "key": "x"}])
            await asyncio.sleep(MINUTE)
            sim.cluster.apply("third", namespace="team", pools=[{"name": "a", "key": "x"}])
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("second")[1] == sim.ready("third", namespace="team")[1] == "Conflict"
            sim.cluster.apply("first", pools=[{"name": "a", "key": "y"}])
            await asyncio.sleep(5 * MINUTE)
            assert (sim.prefect.keys("a"), serves("x"), serves("y")) == (
                ["x", "y"],
                "second",
                "first",
            )
            assert sim.ready("first") == sim.ready("second") == ("True", "Ready")
            assert sim.ready("third", namespace="team") == ("False", "Conflict")
            sim.cluster.delete("second")
            await asyncio.sleep(5 * MINUTE)
            assert (sim.prefect.keys("a"), serves("x")) == (["x", "y"], "third")
            assert sim.ready("third", namespace="team") == ("True", "Ready")
        await settled(sim)

    play(script)


def test_a_set_keeps_its_home_whatever_pools_do_there() -> None:
    """A pool's jobs move to where another set has its home, which is named like a key of the pool:
    both are Ready, and each has a ConfigMap of its own."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("k", namespace="jobs")
        async with sim.operator():
            sim.cluster.apply("guest", pools=[{"name": "k", "key": "host"}])
            await asyncio.sleep(MINUTE)
            sim.cluster.apply("host", requirements=["alpha"])
            for namespace in ("flows", "jobs"):
                properties = sim.prefect.pools["k"].template["variables"]["properties"]
                properties["namespace"]["default"] = namespace
                await asyncio.sleep(5 * MINUTE)
                assert sim.ready("host") == sim.ready("guest") == ("True", "Ready")
                assert sim.pins("host") == "alpha==1.0"
                assert sim.pins("host", namespace=namespace, pool="k") == "pandas==1.0"
        await settled(sim)

    play(script)


@pytest.mark.parametrize("unlistable", [set(), {"jobs"}], ids=["listed", "forbidden"])
def test_copies_where_nothing_is_watched_are_kept_without_writing(unlistable: set[str]) -> None:
    """With watchNamespaces, a job namespace that only the pool's template names: neither time nor a
    restart writes anything there, and no watch is taken for silent; a copy that somebody changed is
    mended by the next list, also where the operator may not list there."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.cluster.unlistable = unlistable
        sim.prefect.make("k", namespace="jobs")
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        assert sim.pins("ml", namespace="jobs", pool="k") == "pandas==1.0"
        async with sim.operator() as service:
            writes = sim.writes()
            await asyncio.sleep(HOUR)
            assert sim.writes() == writes
            sim.cluster.edit_map("jobs", COPY, **{"requirements.txt": "evil==1.0"})
            await asyncio.sleep(11 * MINUTE)
            assert sim.pins("ml", namespace="jobs", pool="k") == "pandas==1.0"
            await asyncio.sleep(HOUR)
            assert service.health.silent_watch is None
        await settled(sim)

    play(script, watchNamespaces=["flows"])


def test_a_file_that_somebody_adds_to_a_lock_makes_no_storm() -> None:
    """A foreign file in the ConfigMap, and a refresh that was asked for before, are no reason to
    write or to resolve again."""

    async def script(sim: Simulation) -> None:
        annotation = {"annotations": {"flowdeps.dev/refresh-requested-at": "now"}}
        sim.cluster.apply("ml", metadata=annotation)
        async with sim.operator():
            await asyncio.sleep(HOUR)
            sim.cluster.edit_map("flows", "flowdeps-ml", note="mine")
            await asyncio.sleep(MINUTE)
            writes, resolved = sim.writes(), len(sim.index.resolved)
            await asyncio.sleep(HOUR)
            assert (sim.writes(), len(sim.index.resolved)) == (writes, resolved)
        await settled(sim)

    play(script)


@pytest.mark.parametrize("what", ["edited", "deleted", "revision deleted", "all deleted"])
def test_a_slip_of_kubectl_is_mended_and_moves_no_pin(what: str) -> None:
    """A ConfigMap that was edited or deleted by hand is made anew from its revision, without a
    resolution; where everything is gone, it is resolved once."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(HOUR)
            before, resolved = sim.pins("ml"), len(sim.index.resolved)
            sim.index.release = 2
            revision = next(name for _, name in sim.cluster.maps if name.startswith("flowdeps-ml-"))
            if what == "edited":
                sim.cluster.edit_map("flows", "flowdeps-ml", **{"requirements.txt": "evil==1.0"})
            if what in ("deleted", "all deleted"):
                sim.cluster.delete_map("flows", "flowdeps-ml")
            if what in ("revision deleted", "all deleted"):
                sim.cluster.delete_map("flows", revision)
            await asyncio.sleep(5 * MINUTE)
            lost = what == "all deleted"
            assert sim.pins("ml") == ("pandas==2.0" if lost else before)
            assert len(sim.index.resolved) - resolved == int(lost)
            assert sim.ready("ml") == ("True", "Ready")
        await settled(sim)

    play(script)


def test_drift_of_a_template_is_mended_by_the_next_poll() -> None:
    """What others take out of our fragment comes back; what they add of their own stays."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        original = sim.prefect.pools["k"].template
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(HOUR)
            sim.prefect.edit("k", **original, note="theirs")
            await asyncio.sleep(2 * MINUTE)
            assert sim.prefect.keys("k") == ["ml"]
            assert sim.prefect.pools["k"].template["note"] == "theirs"
        await settled(sim)

    play(script)


def test_many_sets_at_once_are_few_writes_of_the_template() -> None:
    """Fifty sets applied together: all Ready, at most five writes of the pool."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            for number in range(50):
                sim.cluster.apply(f"s{number}", requirements=[f"p{number}"], pools=["k"])
            await asyncio.sleep(10 * MINUTE)
            assert {sim.ready(f"s{number}") for number in range(50)} == {("True", "Ready")}
            assert sim.prefect.writes["k"] <= 5
        await settled(sim)

    play(script)


def test_deleting_sets_gives_everything_back() -> None:
    """The template is what it was, to the letter, and no ConfigMap is left, also in a job
    namespace and after a change of key and pools."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("k", namespace="jobs")
        sim.prefect.make("l")
        before = {name: pool.template for name, pool in sim.prefect.pools.items()}
        async with sim.operator():
            sim.cluster.apply("ml", pools=["k"])
            sim.cluster.apply("etl", pools=["k", "l"])
            await asyncio.sleep(HOUR)
            sim.cluster.apply("ml", pools=[{"name": "l", "key": "x"}])
            await asyncio.sleep(HOUR)
            assert ("jobs", COPY) not in sim.cluster.maps
            sim.cluster.delete("ml")
            sim.cluster.delete("etl")
            await asyncio.sleep(10 * MINUTE)
        assert not sim.cluster.sets
        assert not sim.cluster.maps
        assert {name: pool.template for name, pool in sim.prefect.pools.items()} == before

    play(script)


@pytest.mark.parametrize("heir", [False, True], ids=["gone", "taken over"])
@pytest.mark.parametrize("chosen", [set(), {"ml"}, {"ml-extras"}], ids=str)
def test_a_deletion_says_that_deployments_still_choose_the_key(
    heir: bool, chosen: set[str]
) -> None:
    """Whoever deletes a set learns whose next runs are refused; where another set has its key,
    none are."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.prefect.chosen_sets = chosen
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(HOUR)
            if heir:
                sim.cluster.apply("other", pools=[{"name": "k", "key": "ml"}])
                await asyncio.sleep(HOUR)
            sim.cluster.delete("ml")
            await asyncio.sleep(10 * MINUTE)
            said = [text for _, _, text in sim.cluster.events if "KeyInUse" in text]
            assert len(said) == (1 if "ml" in chosen and not heir else 0)

    play(script)


def test_a_deletion_waits_for_prefect_and_gives_up_in_the_end() -> None:
    """While Prefect is away a deleted set stays for some minutes, then it goes and says so; the
    key goes from the pool when Prefect is back."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        before = sim.prefect.pools["k"].template
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(HOUR)
            sim.prefect.outage = OUTAGE
            sim.cluster.delete("ml")
            await asyncio.sleep(5 * MINUTE)
            assert sim.cluster.sets
            await asyncio.sleep(15 * MINUTE)
            assert not sim.cluster.sets
            assert any("CleanupGivenUp" in text for _, _, text in sim.cluster.events)
            sim.prefect.outage = None
            await asyncio.sleep(10 * MINUTE)
            assert sim.prefect.pools["k"].template == before
            assert not sim.cluster.maps

    play(script)
