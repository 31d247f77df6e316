"""What Prefect is told of locks: pages and events, whatever comes between; by the simulation."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from flowdeps.api.names import artifact_key
from flowdeps.api.reasons import Reason
from flowdeps.app.cleanup import Cleanup
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.prefect.announcements import Announcements, Artifact, Deployment, PrefectEvent
from flowdeps.clients.prefect.client import Pool, Pools
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.locks.lock import parse_lock
from flowdeps.reconcile.announcements.page import document_of
from tests.support.faults import Fault, Gate, Request
from tests.unit.reconcile.simulation import Simulation
from tests.unit.reconcile.test_life import DAY, HOUR, MINUTE, OUTAGE, play, settled

KEY = artifact_key("ml", pool="k")
ON = {"prefect": {"artifacts": True, "events": True}}
PAGES = {"prefect": {"artifacts": True}}


def make_pool(sim: Simulation, name: str = "k") -> None:
    """A pool with an id."""
    sim.prefect.make(name)
    made = sim.prefect.pools[name]
    sim.prefect.pools[name] = Pool(name, made.type, made.template, id=f"id-{name}")


def document(sim: Simulation, key: str = KEY) -> Mapping[str, Any]:
    """What a program finds in the latest page of a key."""
    return document_of(sim.prefect.pages()[key].data)


def names(sim: Simulation) -> list[str]:
    """The names of the events so far."""
    return [one.name.removeprefix("flowdeps.lock.") for one in sim.prefect.events]


async def ran(sim: Simulation, seconds: float = 5 * MINUTE) -> None:
    """An operator runs for a while, and is killed."""
    async with sim.operator():
        await asyncio.sleep(seconds)


def test_a_published_lock_has_a_page_that_a_program_can_check() -> None:
    """The document's digest is that of the lock in it, which is what runs get; a restart, and a
    second look an hour later, write nothing."""

    async def script(sim: Simulation) -> None:
        make_pool(sim)
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        found = document(sim)
        assert (found["pool"], found["key"], found["lock.json"]["set"]) == ("k", "ml", "flows/ml")
        text = sim.cluster.maps["flows", "flowdeps-ml"]["data"]["requirements.txt"]
        assert found["requirements.txt"] == text
        assert parse_lock(text).digest == found["digest"] == found["lock.json"]["digest"]
        assert "| pandas | 1.0 |" in sim.prefect.pages()[KEY].data
        assert sim.prefect.writes["artifact"] == 1
        await ran(sim, 3 * HOUR)
        assert sim.prefect.writes["artifact"] == 1

    play(script, **PAGES)


def test_another_lock_is_another_version_of_the_page() -> None:
    """The page before stays in the key's history, of which the last ten are kept."""

    async def script(sim: Simulation) -> None:
        make_pool(sim)
        async with sim.operator():
            for number in range(13):
                sim.cluster.apply("ml", pools=["k"], requirements=["pandas", f"other{number}"])
                await asyncio.sleep(5 * MINUTE)
        assert "other12" in document(sim)["requirements.txt"]
        assert "other12" in sim.prefect.pages()[KEY].data.partition("## Vulnerabilities")[0]
        assert len(sim.prefect.artifact_versions) == 10

    play(script, **PAGES)


def test_a_key_that_two_pools_share_has_a_page_for_each() -> None:
    """A set that takes a key in one pool has nothing of the page of another pool's key."""

    async def script(sim: Simulation) -> None:
        for pool in ("k", "other"):
            make_pool(sim, pool)
        sim.cluster.apply("ml", pools=["k"])
        sim.cluster.apply("rival", pools=[{"name": "other", "key": "ml"}], requirements=["evil"])
        await settled(sim)
        assert document(sim)["lock.json"]["set"] == "flows/ml"
        other = document(sim, artifact_key("ml", pool="other"))
        assert other["lock.json"]["set"] == "flows/rival"

    play(script, **PAGES)


@pytest.mark.parametrize("when", ["at once", "while no operator runs"])
def test_a_page_goes_with_its_key(when: str) -> None:
    """All versions of the page of a key that no pool offers any more are deleted, also where the
    operator that wrote them is gone. Artifacts of others stay."""

    async def script(sim: Simulation) -> None:
        make_pool(sim)
        theirs = [
            Artifact("t1", "flowdeps-report", "# Ours", ""),
            Artifact("t2", "flowdeps-copy", "", ""),
        ]
        sim.prefect.artifact_versions += theirs
        sim.cluster.apply("ml", pools=["k"])
        sim.cluster.apply("rest", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            sim.cluster.apply("ml", pools=["k"], requirements=["alpha"])
            await asyncio.sleep(5 * MINUTE)
            copy = replace(sim.prefect.pages()[KEY], id="t2", key="flowdeps-copy")
            sim.prefect.artifact_versions[1] = theirs[1] = copy
            if when == "at once":
                sim.cluster.delete("ml")
                await asyncio.sleep(5 * MINUTE)
        if when != "at once":
            assert KEY in sim.prefect.pages()
            # The pool's template was written, and then the operator ended.
            sim.cluster.delete("ml")
            prefect, sim.config = (
                sim.config,
                replace(sim.config, prefect=replace(sim.config.prefect, artifacts=False)),
            )
            await ran(sim)
            assert KEY in sim.prefect.pages()
            sim.config = prefect
            await ran(sim, HOUR)
        assert set(sim.prefect.pages()) == {
            artifact_key("rest", pool="k"),
            "flowdeps-report",
            "flowdeps-copy",
        }
        assert [one for one in sim.prefect.artifact_versions if one.id in ("t1", "t2")] == theirs

    play(script, **PAGES)


def test_the_cleanup_deletes_all_pages() -> None:
    """With their versions, and with none of others'."""

    async def script(sim: Simulation) -> None:
        make_pool(sim)
        theirs = Artifact("t1", "flowdeps-report", "# Ours", "")
        sim.prefect.artifact_versions.append(theirs)
        async with sim.operator():
            for requirements in (["alpha"], ["beta"]):
                for number in range(7):
                    sim.cluster.apply(f"ml{number}", pools=["k"], requirements=requirements)
                await asyncio.sleep(5 * MINUTE)
        assert len(sim.prefect.artifact_versions) == 15
        cluster, pools = cast("Cluster", sim.cluster), cast("Pools", sim.prefect)
        lines: list[str] = []
        for dry in (True, False):
            run = Cleanup(sim.config, cluster, pools, say=lines.append, dry=dry)
            await run.run()
            assert run.left == []
            assert len([one for one in lines if one.startswith("artifact ")]) == 7 * (2 - dry)
            assert (len(sim.prefect.artifact_versions) == 15) == dry
        assert sim.prefect.artifact_versions == [theirs]

    play(script, **PAGES)


def test_a_page_that_others_change_is_put_right() -> None:
    """Within an hour: a version that someone has added, changed or deleted."""

    async def script(sim: Simulation) -> None:
        make_pool(sim)
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            right = sim.prefect.pages()[KEY].data
            forged = right.replace("pandas", "evil").replace('"sha256:', '"sha256:0', 1)
            for versions in (
                [Artifact("x", KEY, right.replace("pandas", "evil"), "")],
                [*sim.prefect.artifact_versions, Artifact("y", KEY, forged, "")],
                [Artifact("z", KEY, "[" * 100_000, "")],
                [],
            ):
                sim.prefect.artifact_versions = versions
                await asyncio.sleep(HOUR + MINUTE)
                assert sim.prefect.pages()[KEY].data == right

    play(script, **PAGES)


def test_without_prefect_a_set_is_as_ready_as_before() -> None:
    """Neither a Prefect that takes no artifacts, nor one page that it refuses, is in a set's way;
    when it takes them again they are written."""

    async def script(sim: Simulation) -> None:
        make_pool(sim)
        real = sim.prefect.latest_artifact

        counts = {"latest_artifact": 0}

        async def away(key: str) -> Artifact | None:
            counts["latest_artifact"] += 1
            raise PoolsError(Reason.PREFECT_UNAUTHORIZED, f"no right to read {key} (403)")

        sim.prefect.latest_artifact = away  # type: ignore[method-assign]
        sim.prefect.refused = {KEY}
        async with sim.operator():
            for name in ("ml", "rest", "third"):
                sim.cluster.apply(name, pools=["k"])
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == sim.ready("rest") == ("True", "Ready")
            assert sim.prefect.pages() == {}
            assert names(sim) == ["published"] * 3  # that is another right
            assert counts == {"latest_artifact": 1}
            sim.prefect.latest_artifact = real  # type: ignore[method-assign]
            await asyncio.sleep(20 * MINUTE)
            assert {artifact_key(one, pool="k") for one in ("rest", "third")} == {
                *sim.prefect.pages()
            }
            sim.prefect.refused = set()
            await asyncio.sleep(2 * HOUR)
            assert KEY in sim.prefect.pages()

    play(script, **ON)


def test_a_mistake_about_one_page_is_in_no_way_of_others() -> None:
    """It is logged, and tried again a minute later."""

    async def script(sim: Simulation) -> None:
        make_pool(sim)
        write = sim.prefect.write_artifact

        async def odd(key: str, data: str, *, description: str, id: str = "") -> None:  # noqa: A002
            if key == KEY:
                raise RuntimeError("a mistake of the test's")
            await write(key, data, description=description, id=id)

        sim.prefect.write_artifact = odd  # type: ignore[method-assign]
        async with sim.operator():
            sim.cluster.apply("ml", pools=["k"])
            await asyncio.sleep(MINUTE)
            sim.cluster.apply("rest", pools=["k"])
            await asyncio.sleep(30)
            assert set(sim.prefect.pages()) == {artifact_key("rest", pool="k")}
            sim.prefect.write_artifact = write  # type: ignore[method-assign]
            await asyncio.sleep(2 * MINUTE)
            assert KEY in sim.prefect.pages()

    play(script, **PAGES)


def test_pages_are_written_one_at_a_time_and_namespaces_take_turns() -> None:
    """A hundred sets of one namespace do not delay the page of another, and no more than sixty
    steps are taken in a minute."""

    async def script(sim: Simulation) -> None:
        make_pool(sim)
        for number in range(100):
            sim.cluster.apply(f"many{number}", pools=["k"], requirements=["alpha"])
        async with sim.operator():
            sim.cluster.apply("ml", namespace="team", pools=["k"], requirements=["alpha"])
            await asyncio.sleep(20 * MINUTE)
            assert len(sim.prefect.pages()) == 101
        sim.prefect.artifact_versions.clear()
        orders: list[str] = []
        async with sim.operator():
            for _ in range(10):
                before = sim.prefect.writes["artifact"]
                await asyncio.sleep(MINUTE)
                assert sim.prefect.writes["artifact"] - before <= 61
            orders += sim.prefect.pages()
        assert len(orders) == 101
        assert orders.index(KEY) <= 30

    play(script, **PAGES)


def test_nothing_is_asked_of_prefect_where_both_are_off() -> None:
    """No request about artifacts or events."""

    async def script(sim: Simulation) -> None:
        gate = Gate()
        make_pool(sim)
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator(gate):
            await asyncio.sleep(2 * HOUR)
        assert "write" in gate.requests
        assert not {one for one in gate.requests if hasattr(Announcements, one)}

    play(script)


def test_each_thing_that_happens_to_a_lock_is_one_event() -> None:
    """Published, proposed, rolled back and failed, related to the pool and to the deployments that
    say by a tag that they use the key; restarts repeat none, soon or much later."""

    async def script(sim: Simulation) -> None:
        make_pool(sim)
        ours = Deployment(id="d1", name="train", pool="k", tags=frozenset({"flowdeps:ml"}))
        other = replace(ours, id="d2", tags=frozenset({"flowdeps:rest"}))
        sim.prefect.deployments += [ours, other, replace(ours, id="d3", pool="z")]

        async def then(event: str) -> Any:
            await ran(sim)
            await ran(sim, 2 * MINUTE)
            assert names(sim)[-1:] == [event]
            return sim.prefect.events[-1]

        asked: dict[str, Any] = {
            "metadata": {"annotations": {"flowdeps.dev/refresh-requested-at": "now"}}
        }
        manual: dict[str, Any] = {"pools": ["k"], "updates": "Manual", "interval": "0s"}
        sim.cluster.apply("ml", **manual)
        published = await then("published")
        assert published.resource["prefect.resource.id"] == "flowdeps.set.flows.ml"
        assert [one["prefect.resource.id"] for one in published.related] == [
            "prefect.work-pool.id-k",
            "prefect.deployment.d1",
        ]
        first = published.payload["revision"]
        sim.index.release = 2
        sim.cluster.apply("ml", **manual, **asked)
        proposed = await then("proposed")
        assert proposed.payload["summary"] == "pandas 1.0 → 2.0"
        sim.cluster.apply("ml", **manual, revision=proposed.payload["proposal"], **asked)
        await then("published")
        sim.cluster.apply("ml", **manual, revision=first, **asked)
        assert (await then("rolled-back")).payload["revision"] == first
        sim.cluster.apply("ml", pools=["k"], requirements=["impossible"])
        failed = await then("failed")
        assert failed.resource["flowdeps.reason"] == "Unsatisfiable"
        assert failed.resource["flowdeps.serving"] == "true"
        await ran(sim, 2 * HOUR)
        # Without spec.revision the newest lock was back in service before the failure.
        after = ["rolled-back", "published", "failed"]
        assert names(sim) == ["published", "proposed", "published", *after]
        sim.prefect.events.clear()  # as Prefect does after a week
        await ran(sim)
        assert names(sim) == []

    play(script, **ON)


def test_an_upgrade_announces_no_lock_that_was_there_before() -> None:
    """A status of an earlier version does not say since when its lock is in service."""

    async def script(sim: Simulation) -> None:
        make_pool(sim)
        sim.cluster.apply("ml", pools=["k"])
        await settled(sim)
        await ran(sim, 2 * HOUR)
        sim.prefect.events.clear()
        lock = sim.cluster.sets["flows", "ml"]["status"]["lock"]
        since = lock.pop("servedSince")
        await settled(sim)
        assert names(sim) == []
        lock = sim.cluster.sets["flows", "ml"]["status"]["lock"]
        assert since >= lock["servedSince"] == lock["resolvedAt"]

    play(script, **ON)


@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.LOST])
@pytest.mark.parametrize("request_", ["apply_status", "emit", "write_artifact", "has_event"])
def test_a_kill_loses_no_event_and_repeats_none(fault: Fault, request_: str) -> None:
    """Around each write by which a lock comes into service or is announced."""

    async def script(sim: Simulation) -> None:
        make_pool(sim)
        counts: Counter[str] = Counter()

        def plan(request: Request) -> Fault | None:
            counts[request.name] += 1
            # The first status that has a lock is not the first one.
            number = 2 if request.name == "apply_status" else 1
            return fault if (request.name, counts[request.name]) == (request_, number) else None

        gate = Gate(plan)
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator(gate):
            await asyncio.sleep(5 * MINUTE)
        assert counts[request_]
        assert gate.killed.is_set() == fault.kills
        await settled(sim)
        assert names(sim) == ["published"]
        assert len(sim.prefect.artifact_versions) == 1

    play(script, **ON)


def test_events_wait_for_a_prefect_that_is_away() -> None:
    """Half a day later they are sent, if the operator has lived so long."""

    async def script(sim: Simulation) -> None:
        make_pool(sim)
        emit = sim.prefect.emit

        async def away(event: PrefectEvent) -> None:
            assert event.name == "flowdeps.lock.published"
            raise OUTAGE

        sim.prefect.emit = away  # type: ignore[method-assign]
        sim.cluster.apply("ml", pools=["k"])
        async with sim.operator():
            await asyncio.sleep(DAY / 2)
            assert sim.ready("ml") == ("True", "Ready")
            assert names(sim) == []
            sim.prefect.emit = emit  # type: ignore[method-assign]
            await asyncio.sleep(10 * MINUTE)
            assert names(sim) == ["published"]

    play(script, **ON)


def test_a_set_that_no_pool_admits_tells_prefect_nothing() -> None:
    """Whoever may make sets in a namespace has no word in the Prefect of others."""

    async def script(sim: Simulation) -> None:
        make_pool(sim)
        sim.cluster.apply("mine", pools=["k"])
        sim.cluster.apply("ml", namespace="team", pools=["k"])
        sim.cluster.apply("bad", namespace="team", pools=["k"], requirements=["impossible"])
        await settled(sim)
        assert set(sim.prefect.pages()) == {artifact_key("mine", pool="k")}
        assert {one.payload["set"] for one in sim.prefect.events} == {"flows/mine"}

    pools = [{"name": "*", "image": "registry.example.com/flows:1", "namespaces": ["flows"]}]
    play(script, workPools=pools, **ON)
