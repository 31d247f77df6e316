"""What a scrape shows of sets, pools and the queue is what there is at that moment."""

import asyncio
from collections.abc import Mapping

from prometheus_client import generate_latest

from flowdeps.app import gauges
from flowdeps.app.service import Service
from flowdeps.state.store import SetKey
from tests.unit.reconcile.simulation import MemoryImage, Simulation
from tests.unit.reconcile.test_life import DAY, HOUR, MINUTE, OUTAGE, play

IMAGE = "registry.example.com/flows:2"

Samples = Mapping[tuple[str, frozenset[str]], float]


def scrape(service: Service) -> Samples:
    """Every sample by its name and the values of its labels."""
    service.health.before_scrape()
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in service.context.metrics.registry.collect()
        for sample in family.samples
    }


def value(samples: Samples, name: str, *labels: str) -> float | None:
    return samples.get((f"flowdeps_{name}", frozenset(labels)))


def test_sets_are_counted_by_their_conditions() -> None:
    """By Ready, by each condition and by what pools say; who waits for a person is named."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        async with sim.operator() as service:
            for name in ("a", "b"):
                sim.cluster.apply(name, pools=["k"])
            sim.cluster.apply("bad", requirements=["impossible"], pools=["k"])
            await asyncio.sleep(HOUR)
            found = scrape(service)
        assert value(found, "sets", "True", "Ready") == 2
        assert value(found, "sets", "False", "Unsatisfiable") == 1
        assert value(found, "set_conditions", "Resolved", "False", "Unsatisfiable") == 1
        assert value(found, "set_conditions", "Published", "True") == 2
        assert value(found, "pool_sets", "k", "Synced") == 2
        stalled = value(found, "set_stalled_seconds", "flows", "bad", "Unsatisfiable")
        assert stalled is not None
        assert HOUR - MINUTE < stalled <= HOUR
        assert value(found, "queue_delayed") == 3  # two refreshes, and another try
        assert value(found, "queue_ready") == 0

    play(script)


def test_what_somebody_writes_into_a_status_makes_no_series() -> None:
    """Conditions that the operator doesn't know, and reasons that it has not."""

    async def script(sim: Simulation) -> None:
        async with sim.operator() as service:
            sim.cluster.apply("ml", suspend=True)
            await asyncio.sleep(MINUTE)
            body = service.context.store.sets[SetKey("flows", "ml")].body
            forged = [{"type": f"Odd{n}", "status": "True", "reason": f"Odd{n}"} for n in range(9)]
            for one in body["status"]["conditions"]:
                one["reason"] = f"Odd{one['type']}"
            body["status"]["conditions"] += forged
            found = scrape(service)
        assert value(found, "set_conditions", "Resolved", "False", "Other") == 1
        assert value(found, "sets", "False", "Other") == 1
        assert not [labels for _, labels in found if any("Odd" in one for one in labels)]

    play(script)


def test_a_lock_grows_old_and_its_refresh_late() -> None:
    """The oldest lock of a namespace; a refresh that does not come is late by so much, one that is
    still to come has no series."""

    async def script(sim: Simulation) -> None:
        async with sim.operator() as service:
            sim.cluster.apply("old", interval="0s")
            sim.cluster.apply("ml", namespace="team", interval="1h")
            await asyncio.sleep(MINUTE)
            assert value(scrape(service), "refresh_overdue_seconds", "team") is None
            sim.index.away = True
            await asyncio.sleep(2 * DAY)
            found = scrape(service)
        age = value(found, "lock_age_seconds", "flows")
        late = value(found, "refresh_overdue_seconds", "team")
        assert age is not None
        assert late is not None
        assert 2 * DAY <= age <= 2 * DAY + MINUTE
        assert 2 * DAY - 2 * HOUR < late < 2 * DAY
        assert value(found, "refresh_overdue_seconds", "flows") is None

    play(script)


def test_nothing_is_left_of_what_is_gone() -> None:
    """When sets and pools are gone, no series has their names, namespaces or reasons."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("pool-x")
        async with sim.operator() as service:
            sim.cluster.apply("set-x", namespace="team", pools=["pool-x"])
            sim.cluster.apply("bad-x", namespace="team", requirements=["impossible"])
            await asyncio.sleep(10 * MINUTE)
            scrape(service)
            before = generate_latest(service.context.metrics.registry).decode()
            for name in ("pool-x", '"team"', "bad-x"):
                assert name in before, name
            for name in ("set-x", "bad-x"):
                sim.cluster.delete(name, namespace="team")
            await asyncio.sleep(10 * MINUTE)
            del sim.prefect.pools["pool-x"]
            await asyncio.sleep(10 * MINUTE)
            scrape(service)
            after = generate_latest(service.context.metrics.registry).decode()
        for name in ("pool-x", '"team"', "bad-x", 'reason="Unsatisfiable"'):
            assert name not in after, name

    play(script)


def test_so_many_stalled_sets_are_named_and_no_more() -> None:
    """With more sets stalled than are shown, those that have waited longest are."""

    async def script(sim: Simulation) -> None:
        async with sim.operator() as service:
            sim.cluster.apply("first", requirements=["impossible"])
            await asyncio.sleep(HOUR)
            for number in range(gauges.STALLED_SHOWN + 20):
                sim.cluster.apply(f"s{number}", requirements=["impossible"])
            await asyncio.sleep(HOUR)
            found = scrape(service)
        named = [labels for name, labels in found if name == "flowdeps_set_stalled_seconds"]
        assert len(named) == gauges.STALLED_SHOWN
        assert frozenset({"flows", "first", "Unsatisfiable"}) in named

    play(script)


def test_each_set_that_goes_is_counted_once() -> None:
    """By how its traces went: taken out, or left in a pool that could not be reached."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        async with sim.operator() as service:
            for name in ("a", "b"):
                sim.cluster.apply(name, pools=["k"])
            await asyncio.sleep(MINUTE)
            sim.cluster.delete("a")
            await asyncio.sleep(5 * MINUTE)
            assert value(scrape(service), "cleanups_total", "Done") == 1
            sim.prefect.outage = OUTAGE
            sim.cluster.delete("b")
            await asyncio.sleep(30 * MINUTE)
            found = scrape(service)
        assert value(found, "cleanups_total", "GivenUp") == 1
        assert value(found, "cleanups_total", "Done") == 1

    play(script)


def test_looks_and_trials_are_timed_by_their_outcome() -> None:
    """A pod that looked into an image, one that could not, a lock that works, one that does not."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.pods.images[IMAGE] = MemoryImage(broken=frozenset({"broken"}))
        async with sim.operator() as service:
            sim.cluster.apply("good", pools=["k"], python={"image": IMAGE})
            python = {"image": "registry.example.com/none:1"}
            sim.cluster.apply("away", namespace="team", pools=["k"], python=python)
            sim.cluster.apply("bad", requirements=["broken"], pools=["k"], python={"image": IMAGE})
            await asyncio.sleep(5 * MINUTE)
            found = scrape(service)
        # After a trial that fails the image is looked at again: its tag may have moved.
        assert (value(found, "probe_seconds_count", "Probed") or 0) > 0
        assert value(found, "verify_seconds_count", "Verified") == 1
        assert value(found, "verify_seconds_count", "VerifyFailed") == 1
        assert (value(found, "probe_seconds_count", "ImageUnavailable") or 0) > 0
        assert (value(found, "probe_seconds_sum", "Probed") or 0) > 0

    play(script)
