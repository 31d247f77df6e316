"""What one team waits for while another one does its worst, in simulated seconds.

Each test measures a team's new set from `kubectl apply` to Ready, alone and beside a namespace that
keeps the operator as busy as it can. A namespace never has all turns, so the other team has its
own at once: it may wait as long as work takes that began a moment before its own, `SLACK`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from flowdeps.api.config import LimitsConfig
from tests.unit.reconcile.simulation import MemoryImage, Simulation
from tests.unit.reconcile.test_life import MINUTE, play
from tests.unit.scheduling import virtual

SLACK = 5.0
GOOD = "registry.example.com/good:1"

Script = Callable[[Simulation], Coroutine[Any, Any, None]]


def seconds_to_ready(*hostile: Script, image: str | None = None, **config: object) -> float:
    """How long a team waits for its set to be Ready: alone, or a minute after others began."""
    found: list[float] = []

    async def script(sim: Simulation) -> None:
        sim.prefect.make("theirs", namespace="team")
        sim.cluster.pods.images[GOOD] = MemoryImage()
        async with sim.operator():
            under_way = [asyncio.create_task(one(sim)) for one in hostile]
            await asyncio.sleep(MINUTE)
            changes = {"python": {"image": image}} if image else {}
            sim.cluster.apply("ml", namespace="team", pools=["theirs"], **changes)
            start = virtual.now()
            while sim.ready("ml", namespace="team") != ("True", "Ready"):
                await asyncio.sleep(0.5)
                assert virtual.now() - start < 2 * 86400, "it never gets ready"
            found.append(virtual.now() - start)
            for one in under_way:
                one.cancel()

    play(script, **config)
    print(f"Ready after {found[0]:.1f} s beside {len(hostile)} others")
    return found[0]


def hanging_sets(namespace: str, count: int = 60) -> Script:
    """Sets on an index that never ends an answer."""

    async def script(sim: Simulation) -> None:
        for number in range(count):
            name = f"slow-{number}"
            sim.cluster.apply(name, namespace=namespace, requirements=[f"hangs-{number}"])

    return script


def hanging_images(namespace: str, count: int = 200) -> Script:
    """Sets with an image each, in which nothing ends."""

    async def script(sim: Simulation) -> None:
        for number in range(count):
            image = f"registry.example.com/hangs:{number}"
            sim.cluster.pods.images[image] = MemoryImage(hangs=True)
            name = f"image-{number}"
            sim.cluster.apply(name, namespace=namespace, python={"image": image})

    return script


def test_an_index_that_never_answers_keeps_no_other_team_waiting() -> None:
    """60 sets, each for the five minutes that a resolution may take: one turn is always left."""
    alone = seconds_to_ready()
    assert seconds_to_ready(hanging_sets("flows")) <= alone + SLACK


def test_of_several_such_namespaces_each_has_its_turn() -> None:
    """Where others than its own took all turns a team waits for the next of them to end, and for a
    turn of each other namespace at most: here for less than one resolution's time."""
    hostile = [hanging_sets(f"flows-{number}") for number in range(3)]
    alone = seconds_to_ready(resolver={"concurrency": 4})
    assert seconds_to_ready(*hostile, resolver={"concurrency": 4}) <= alone + 300 + SLACK


def test_with_one_resolver_namespaces_take_turns() -> None:
    """Nothing is left over then: a team waits for what is under way, and comes next."""
    one = {"concurrency": 1}
    assert seconds_to_ready(hanging_sets("flows"), resolver=one) <= 300 + SLACK


@pytest.mark.parametrize("kind", ["resolution", "pod"])
def test_a_namespace_that_is_alone_has_all_turns(kind: str) -> None:
    """Where nothing else is watched, a turn that is left for others would be left for nobody."""
    hangs, image = (hanging_sets("team", 1), None)
    if kind == "pod":
        hangs, image = hanging_images("team", 1), GOOD
    two = {"resolver": {"concurrency": 2}, "pods": {"concurrency": 2}}
    alone = seconds_to_ready(image=image)
    assert seconds_to_ready(hangs, image=image, watchNamespaces=["team"], **two) <= alone + SLACK
    assert seconds_to_ready(hangs, image=image, **two) > alone + 60


def test_images_whose_pods_hang_keep_no_other_team_waiting() -> None:
    """200 of them, each for the quarter of an hour that a pod may take: one pod is always left."""
    alone = seconds_to_ready(image=GOOD)
    assert seconds_to_ready(hanging_images("flows"), image=GOOD) <= alone + SLACK


def test_pods_that_wait_for_a_node_keep_no_other_team_waiting() -> None:
    """Not even together: they do no work."""

    def unscheduled(namespace: str) -> Script:
        async def script(sim: Simulation) -> None:
            sim.cluster.pods.full.add(namespace)
            await hanging_images(namespace, 50)(sim)

        return script

    alone = seconds_to_ready(image=GOOD)
    hostile = [unscheduled(f"flows-{number}") for number in range(4)]
    assert seconds_to_ready(*hostile, image=GOOD) <= alone + SLACK


def test_edits_in_a_hot_loop_take_their_own_turns() -> None:
    """100 sets that are edited all the time, while each answer of the API server takes a second."""

    async def edit(sim: Simulation) -> None:
        for number in range(100_000):
            name = f"hot-{number % 100}"
            sim.cluster.apply(name, requirements=[f"a{number}"], suspend=number % 200 < 100)
            await asyncio.sleep(0.01)

    async def slow(sim: Simulation) -> None:
        sim.cluster.seconds = 1.0

    alone = seconds_to_ready(slow)
    assert seconds_to_ready(slow, edit) <= alone + SLACK


def test_an_edit_that_claims_nothing_else_calls_no_other_set() -> None:
    """An annotation in a hot loop is no work for the sets of others with the same key."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        async with sim.operator():
            for namespace in ("flows", "team"):
                sim.cluster.apply("ml", namespace=namespace, pools=["k"])
            await asyncio.sleep(MINUTE)
            before = sim.passes.copy()
            for number in range(100):
                noted = {"annotations": {"n": str(number)}}
                sim.cluster.apply("ml", pools=["k"], metadata=noted)
                await asyncio.sleep(0.1)
            spent = sim.passes - before
            assert set(spent) == {"flows/ml"}

    play(script)


def test_a_set_that_is_edited_or_deleted_withdraws_what_it_asked() -> None:
    """Of 200 edits only the last is worth an answer, and after a deletion none: no resolution goes
    on, and another set of the same namespace waits for none of them."""

    async def script(sim: Simulation) -> None:
        async with sim.operator() as service:
            for number in range(200):
                sim.cluster.apply("ml", requirements=[f"hangs-{number}"])
                await asyncio.sleep(2)
                assert sim.index.running == 1
            assert service.context.resolutions.running() == 1
            sim.cluster.delete("ml")
            await asyncio.sleep(1)
            assert (sim.index.running, service.context.resolutions.running()) == (0, 0)
            sim.cluster.apply("other", requirements=["alpha"])
            await asyncio.sleep(5)
            assert sim.pins("other") == "alpha==1.0"

    play(script)


@pytest.mark.parametrize("change", [{"suspend": True}, {"requirements": ["no good"]}])
def test_a_set_that_comes_to_rest_withdraws_what_it_asked(change: dict[str, Any]) -> None:
    """Suspended, or with a mistake in its spec."""

    async def script(sim: Simulation) -> None:
        async with sim.operator():
            sim.cluster.apply("ml", requirements=["hangs"])
            await asyncio.sleep(5)
            assert sim.index.running == 1
            sim.cluster.apply("ml", **{"requirements": ["hangs"], **change})
            await asyncio.sleep(1)
            assert sim.index.running == 0

    play(script)


def test_the_pods_of_sets_that_are_gone_end() -> None:
    """Those that inspect images and those that try locks, with what was made for them."""

    async def script(sim: Simulation) -> None:
        async with sim.operator() as service:
            await hanging_images("flows", 20)(sim)
            sim.cluster.pods.images[GOOD] = MemoryImage()
            sim.cluster.apply("ml", namespace="team", python={"image": GOOD})
            await asyncio.sleep(10)
            sim.cluster.pods.images[GOOD] = MemoryImage(hangs=True)
            await asyncio.sleep(10)
            assert sim.cluster.pods.made == {"probe": 4, "verify": 1}
            assert len(sim.cluster.pods.pods) == 4
            sim.cluster.delete("ml", namespace="team")
            for number in range(20):
                sim.cluster.delete(f"image-{number}")
            await asyncio.sleep(5)
            assert sim.cluster.pods.pods == {}
            assert [where for where in sim.cluster.maps if "verify" in where[1]] == []
            assert not service.context.runner.running
            assert sim.cluster.pods.made == {"probe": 4, "verify": 1}

    play(script)


def test_an_operator_that_ends_leaves_its_pods_to_the_next_one() -> None:
    """What is under way is not lost by a restart."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[GOOD] = MemoryImage()
        async with sim.operator():
            sim.cluster.apply("ml", python={"image": GOOD})
            await asyncio.sleep(5)
        assert len(sim.cluster.pods.pods) == 1
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
        assert sim.cluster.pods.made == {"probe": 1, "verify": 1}

    play(script)


def test_pools_that_are_missing_cost_no_requests() -> None:
    """50 sets that name 32 each: hardly a request more than without them, in ten minutes."""
    requests: list[int] = []

    def count(names: int) -> Script:
        async def script(sim: Simulation) -> None:
            sim.prefect.make("k")
            async with sim.operator():
                for number in range(50):
                    pools = ["k", *(f"missing-{number}-{one}" for one in range(names))]
                    sim.cluster.apply(f"ml-{number}", pools=pools)
                await asyncio.sleep(10 * MINUTE)
                requests.append(sim.prefect.requests)
                ready = "PoolNotFound" if names else "Ready"
                assert {sim.ready(f"ml-{number}")[1] for number in range(50)} == {ready}

        return script

    play(count(0))
    play(count(31))
    print(f"{requests[1]} requests instead of {requests[0]}")
    assert requests[1] <= requests[0] + 5


def test_variables_cost_few_requests_however_many_sets_name() -> None:
    """50 sets that name 16 each, none of which exists: less than a request a second."""

    async def script(sim: Simulation) -> None:
        async with sim.operator():
            for number in range(50):
                names = [f"v_{number}_{one}" for one in range(16)]
                sources = [{"prefectVariable": {"name": name}} for name in names]
                sim.cluster.apply(f"ml-{number}", requirementsFrom=sources)
            await asyncio.sleep(2 * MINUTE)
            assert {sim.ready(f"ml-{n}")[1] for n in range(50)} == {"SourceNotFound"}
            assert sim.prefect.requests < 140

    play(script)


def test_a_namespace_has_so_many_sets_and_the_oldest_are_served() -> None:
    """A further one says so, with what to do, and is served as soon as there is room; whoever is
    served stays so. Another namespace has as many."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        async with sim.operator():
            for name in "zyx":
                sim.cluster.apply(name, pools=["k"])
                await asyncio.sleep(1)
            sim.cluster.apply("a", namespace="team")
            await asyncio.sleep(MINUTE)
            assert [sim.ready(name)[1] for name in "zyx"] == ["Ready", "Ready", "TooManySets"]
            assert sim.ready("a", namespace="team") == ("True", "Ready")
            conditions = sim.cluster.sets["flows", "x"]["status"]["conditions"]
            messages = {one["message"] for one in conditions if one["reason"] == "TooManySets"}
            assert all("limits.setsPerNamespace" in one for one in messages)
            assert (len(messages), sim.pins("x")) == (1, "")
            sim.cluster.apply("x", namespace="team", pools=["k"])
            await asyncio.sleep(MINUTE)
            assert sim.prefect.keys("k") == ["x", "y", "z"], "x of the other namespace"
            sim.cluster.delete("x", namespace="team")
            sim.cluster.delete("z")
            await asyncio.sleep(MINUTE)
            assert [sim.ready(name)[1] for name in "yx"] == ["Ready", "Ready"]
            assert sim.prefect.keys("k") == ["x", "y"]

    play(script, limits={"setsPerNamespace": 2})


def test_a_lower_limit_takes_nothing_out_of_service() -> None:
    """A set that is one too many keeps its lock and its pools; changes of it are not followed."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        async with sim.operator():
            for name in "zyx":
                sim.cluster.apply(name, pools=["k"])
                await asyncio.sleep(1)
            await asyncio.sleep(MINUTE)
        sim.config = replace(sim.config, limits=LimitsConfig(sets_per_namespace=1))
        resolved = len(sim.index.resolved)
        async with sim.operator():
            sim.cluster.apply("x", pools=["k"], requirements=["alpha"])
            await asyncio.sleep(5 * MINUTE)
            assert [sim.ready(name)[1] for name in "zyx"] == ["Ready", *["TooManySets"] * 2]
            assert [sim.pins(name) for name in "zyx"] == ["pandas==1.0"] * 3
            assert sim.prefect.keys("k") == ["x", "y", "z"]
            assert len(sim.index.resolved) == resolved

    play(script)


def test_room_that_a_missed_deletion_makes_is_found_by_the_next_list() -> None:
    """However many sets went while no watch told of it, as many are served instead."""

    async def script(sim: Simulation) -> None:
        async with sim.operator():
            for number in range(6):
                sim.cluster.apply(f"ml-{number}")
                await asyncio.sleep(1)
            await asyncio.sleep(MINUTE)
            for number in range(3):
                del sim.cluster.sets["flows", f"ml-{number}"]
            await asyncio.sleep(15 * MINUTE)
            assert {sim.ready(f"ml-{number}")[1] for number in (3, 4, 5)} == {"Ready"}

    play(script, limits={"setsPerNamespace": 3})


def test_no_more_is_resolved_at_once_than_allowed() -> None:
    """Twelve sets of three namespaces: all turns are used, and never more."""

    async def script(sim: Simulation) -> None:
        async with sim.operator():
            for number in range(12):
                team = f"team-{number % 3}"
                sim.cluster.apply(f"ml-{number}", namespace=team, requirements=[f"a{number}"])
            await asyncio.sleep(MINUTE)
            assert (sim.index.most, len(sim.index.resolved)) == (3, 12)

    play(script, resolver={"concurrency": 3})
