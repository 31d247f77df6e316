"""Environments of locks: made after the lock is served, used for one image, told by the
simulation."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from flowdeps.api.config import parse_config
from flowdeps.api.names import ENVIRONMENT_ANNOTATION, REFRESH_REQUESTED_ANNOTATION
from tests.unit.locks.builders import digest
from tests.unit.reconcile.simulation import OPEN, Body, MemoryImage, Simulation
from tests.unit.reconcile.test_life import DAY, HOUR, MINUTE, play, settled
from tests.unit.reconcile.test_locks import IMAGE, conditions, image, status

REPOSITORY = "registry.example.com/environments"
ENVIRONMENTS = {
    "repository": REPOSITORY,
    "image": "registry.example.com/flowdeps:1",
    "policy": "flowdeps-environments",
}
_BUILDING = 80.0
"""Seconds in which the image was looked at and the lock made and tried, with pods of 30 seconds."""
_INSTALL = {"delivery": "Install"}
FIRST, SECOND = (f"registry.example.com/flows@{digest(seed)}" for seed in ("first", "second"))


def flows(id_: str = FIRST, **changes: Any) -> MemoryImage:
    """The flows' image, by its digest."""
    return MemoryImage(id=id_, **changes)


def recorded(sim: Simulation, name: str = "flowdeps-ml") -> Body:
    """The environment that a ConfigMap tells of; nothing where it tells of none."""
    annotations = sim.cluster.maps["flows", name]["metadata"]["annotations"]
    found: Body = json.loads(annotations.get(ENVIRONMENT_ANNOTATION, "{}"))
    return found


def revisions(sim: Simulation) -> dict[str, Body]:
    """What each revision tells of its environment, by the short digest of its lock."""
    return {
        name.removeprefix("flowdeps-ml-"): recorded(sim, name)
        for namespace, name in sim.cluster.maps
        if namespace == "flows" and name.startswith("flowdeps-ml-")
    }


def short(sim: Simulation) -> str:
    """The short digest of the lock in service."""
    return str(status(sim)["lock"]["digest"].removeprefix("sha256:")[:10])


def start(sim: Simulation, **changes: Any) -> None:
    """A set whose lock is tried in an image that has a digest."""
    sim.prefect.make("k")
    sim.cluster.pods.images[IMAGE] = flows()
    sim.cluster.apply("ml", pools=["k"], interval="0s", **{**image(), **changes})


def test_a_lock_is_served_before_its_environment_is_made() -> None:
    """The set is Ready while the environment is made; then live ConfigMap, revision and status name
    it, and a second operator has nothing to do."""

    async def script(sim: Simulation) -> None:
        start(sim)
        sim.cluster.pods.seconds = 30.0
        async with sim.operator():
            await asyncio.sleep(_BUILDING)
            assert sim.ready("ml") == ("True", "Ready")
            assert conditions(sim)["Built"][:2] == ("False", "Building")
            assert "environment" not in status(sim)
            await asyncio.sleep(5 * MINUTE)
            assert conditions(sim)["Built"][:2] == ("True", "Built")
        await settled(sim)
        assert sim.ready("ml") == ("True", "Ready")
        [reference] = sim.registry.pushed
        assert reference.startswith(f"{REPOSITORY}/flows@sha256:")
        assert recorded(sim)["reference"] == reference
        assert revisions(sim) == {short(sim): recorded(sim)}
        assert status(sim)["environment"] == {
            "digest": reference.partition("@")[2],
            "reference": reference,
            "image": IMAGE,
            "size": 1000,
            "files": 40,
            "importSeconds": 0.5,
        }
        assert sim.cluster.pods.made["build"] == 1
        assert sim.cluster.pods.pods == {}
        assert not [name for _, name in sim.cluster.maps if name.startswith("flowdeps-build")]

    play(script, environments=ENVIRONMENTS)


def test_a_build_that_fails_leaves_the_set_ready_and_is_tried_again() -> None:
    """A registry that refuses is told with its words, once as an event, and asked ever more rarely;
    when it takes what is pushed, the environment is there."""

    async def script(sim: Simulation) -> None:
        start(sim)
        sim.registry.problem = "403 denied"
        async with sim.operator():
            await asyncio.sleep(DAY)
            assert sim.ready("ml") == ("True", "Ready")
            state, reason, message = conditions(sim)["Built"]
            assert (state, reason) == ("False", "RegistryUnavailable")
            assert "403 denied" in message
            assert "nothing was pushed to registry.example.com/environments/flows" in message
            tries = sim.cluster.pods.made["build"]
            assert 24 <= tries <= 40
            written = sim.writes()
            await asyncio.sleep(3 * HOUR)
            assert sim.cluster.pods.made["build"] > tries
            changed = {k: v - written[k] for k, v in sim.writes().items() if v != written[k]}
            assert "apply_status" not in changed
            events = [note for _, _, note in sim.cluster.events if "RegistryUnavailable" in note]
            assert len(events) == 1
            sim.registry.problem = ""
            await asyncio.sleep(2 * HOUR)
            assert conditions(sim)["Built"][:2] == ("True", "Built")

    play(script, environments=ENVIRONMENTS)


_IMAGES = {**ENVIRONMENTS, "images": True}


def test_a_derived_image_is_told_by_its_digest() -> None:
    """In status and record; a second operator has nothing to do."""

    async def script(sim: Simulation) -> None:
        start(sim)
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
        await settled(sim)
        [one] = status(sim)["images"]
        derived = digest(f"image of {status(sim)['environment']['digest']}")
        assert one == {
            "image": IMAGE,
            "reference": f"{REPOSITORY}/flows@{derived}",
            "digest": derived,
            "size": 9000,
        }
        assert recorded(sim)["derived"] == derived
        assert sim.cluster.pods.made["build"] == 1

    play(script, environments=_IMAGES)


def test_an_environment_serves_while_no_image_can_be_derived() -> None:
    """The set says why, an hour goes by between two tries, and no status is written."""

    async def script(sim: Simulation) -> None:
        start(sim)
        sim.registry.no_image = "403 denied"
        async with sim.operator():
            await asyncio.sleep(HOUR)
            assert conditions(sim)["Built"][:2] == ("True", "Built")
            assert "no image with it was derived: 403 denied" in conditions(sim)["Built"][2]
            assert (
                status(sim)["environment"]["digest"] == recorded(sim)["reference"].partition("@")[2]
            )
            assert "images" not in status(sim)
            written, tries = sim.writes(), sim.cluster.pods.made["build"]
            await asyncio.sleep(DAY)
            assert 10 <= sim.cluster.pods.made["build"] - tries <= 25
            assert conditions(sim)["Built"][:2] == ("True", "Built")
            changed = {k: v - written[k] for k, v in sim.writes().items() if v != written[k]}
            assert "apply_status" not in changed
            sim.registry.no_image = ""
            await asyncio.sleep(3 * HOUR)
            assert len(status(sim)["images"]) == 1
            assert "no image" not in conditions(sim)["Built"][2]

    play(script, environments=_IMAGES)


def test_an_image_needs_no_pool_whose_runs_can_mount_anything() -> None:
    """Without images, nothing is built that no pool's runs could get."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = flows()
        sim.cluster.apply("ml", interval="0s", **image())
        for environments, images in ((ENVIRONMENTS, 0), (_IMAGES, 1)):
            sim.config = Simulation(environments=environments).config
            async with sim.operator():
                await asyncio.sleep(5 * MINUTE)
            assert len(status(sim).get("images", [])) == images
            assert sim.cluster.pods.made["build"] == images

    play(script)


def test_images_are_derived_of_environments_that_are_there() -> None:
    """Where they are asked for later; the environment stays as it is."""

    async def script(sim: Simulation) -> None:
        start(sim)
        sim.config = Simulation(environments=ENVIRONMENTS).config
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
        before = recorded(sim)
        assert "derived" not in before
        sim.config = Simulation(environments=_IMAGES).config
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
        assert recorded(sim)["reference"] == before["reference"]
        assert len(status(sim)["images"]) == 1

    play(script)


def test_an_image_that_moved_gets_an_environment_of_its_own() -> None:
    """One that was made for what the image was is not shown any more, and is kept: when the name
    leads back to that image, it is used again without another build."""

    async def script(sim: Simulation) -> None:
        start(sim)
        async with sim.operator():
            await asyncio.sleep(30 * MINUTE)
            first = status(sim)["environment"]["reference"]
            sim.cluster.pods.images[IMAGE] = flows(SECOND)
            sim.registry.problem = "away"
            await asyncio.sleep(2 * HOUR)
            assert sim.ready("ml") == ("True", "Ready")
            assert conditions(sim)["Built"][0] == "False"
            assert "environment" not in status(sim)
            assert recorded(sim)["reference"] == first
            sim.cluster.pods.images[IMAGE] = flows(FIRST)
            await asyncio.sleep(2 * HOUR)
            assert status(sim)["environment"]["reference"] == first
            sim.registry.problem = ""
            sim.cluster.pods.images[IMAGE] = flows(SECOND)
            await asyncio.sleep(3 * HOUR)
            second = status(sim)["environment"]["reference"]
            assert second != first
            assert recorded(sim)["image_id"] == SECOND
            assert revisions(sim)[short(sim)]["reference"] == second
        await settled(sim)

    play(script, environments=ENVIRONMENTS)


def test_an_image_that_moves_during_a_build_is_looked_at_again() -> None:
    """Nothing is recorded of the image that it no longer is, and nobody waits an hour."""

    async def script(sim: Simulation) -> None:
        start(sim)
        sim.cluster.pods.seconds = 30.0
        async with sim.operator():
            await asyncio.sleep(_BUILDING)
            sim.cluster.pods.images[IMAGE] = flows(SECOND)
            await asyncio.sleep(MINUTE)
            assert recorded(sim) == {}
            await asyncio.sleep(10 * MINUTE)
            assert conditions(sim)["Built"][:2] == ("True", "Built")
            assert recorded(sim)["image_id"] == SECOND

    play(script, environments=ENVIRONMENTS)


def test_a_rollback_has_the_environment_of_its_revision() -> None:
    """Back and forth between two revisions, nothing is built again."""

    async def script(sim: Simulation) -> None:
        start(sim)
        await settled(sim)
        older, first = short(sim), status(sim)["environment"]["reference"]
        sim.cluster.apply("ml", pools=["k"], interval="0s", requirements=["alpha"], **image())
        await settled(sim)
        second = status(sim)["environment"]["reference"]
        assert second != first
        builds = sim.cluster.pods.made["build"]
        back: dict[str, Any] = {"requirements": ["alpha"], "revision": f"ml-{older}"}
        sim.cluster.apply("ml", pools=["k"], interval="0s", **back, **image())
        await settled(sim)
        assert status(sim)["environment"]["reference"] == first == recorded(sim)["reference"]
        sim.cluster.apply("ml", pools=["k"], interval="0s", requirements=["alpha"], **image())
        await settled(sim)
        assert status(sim)["environment"]["reference"] == second == recorded(sim)["reference"]
        sim.cluster.apply("ml", pools=["k"], interval="0s", **image())  # the first lock, made anew
        await settled(sim)
        assert status(sim)["environment"]["reference"] == first
        assert sim.cluster.pods.made["build"] == builds == 2

    play(script, environments=ENVIRONMENTS)


def test_a_lock_that_is_held_says_that_no_environment_is_made() -> None:
    """Nobody looks at the image of a revision that the set names, so there is nothing to wait for:
    the condition does not say that it does."""

    async def script(sim: Simulation) -> None:
        start(sim)
        await settled(sim)
        held = {"revision": f"ml-{short(sim)}"}
        sim.cluster.apply("ml", pools=["k"], interval="0s", **held, **image())
        await settled(sim)
        sim.config = parse_config({"environments": ENVIRONMENTS, "workPools": [OPEN]})
        await settled(sim)
        state, reason, message = conditions(sim)["Built"]
        assert (state, reason) == ("Unknown", "NotBuilt")
        assert "spec.revision holds it" in message

    play(script)


def test_what_no_lock_of_the_namespace_has_is_deleted_in_the_registry() -> None:
    """At the next build after one that has seen it there, and never before a revision goes. After
    a restart it takes one build more; without `deleteUnused` nothing is deleted."""
    there = f"{REPOSITORY}/flows"

    async def change(sim: Simulation, name: str) -> str:
        sim.cluster.apply(
            "ml", pools=["k"], interval="0s", requirements=[name], revisionHistoryLimit=1, **image()
        )
        await asyncio.sleep(10 * MINUTE)
        return short(sim)

    async def script(sim: Simulation) -> None:
        start(sim, revisionHistoryLimit=1)
        async with sim.operator():
            await asyncio.sleep(10 * MINUTE)
            first = short(sim)
            second = await change(sim, "beta")
            assert sim.registry.locks[there] == {first, second}
        assert set(revisions(sim)) == {first, second}
        async with sim.operator():
            third = await change(sim, "gamma")
            assert set(revisions(sim)) == {second, third}
            assert sim.registry.locks[there] == {first, second, third}
            fourth = await change(sim, "delta")
            assert sim.registry.locks[there] == {second, third, fourth}
            fifth = await change(sim, "alpha")
            assert sim.registry.locks[there] == {third, fourth, fifth}

    play(script, environments={**ENVIRONMENTS, "deleteUnused": True})


def test_a_proposal_is_built_when_it_is_served_and_not_before() -> None:
    """What waits for an approval costs no second pod."""

    async def script(sim: Simulation) -> None:
        start(sim, updates="Manual")
        await settled(sim)
        assert sim.cluster.pods.made["build"] == 1
        sim.index.release = 2
        asked: dict[str, Any] = {"metadata": {"annotations": {REFRESH_REQUESTED_ANNOTATION: "now"}}}
        again: dict[str, Any] = {"pools": ["k"], "interval": "0s", "updates": "Manual", **image()}
        sim.cluster.apply("ml", **again, **asked)
        await settled(sim)
        assert conditions(sim)["Built"][:2] == ("True", "Built")
        assert sim.cluster.pods.made["build"] == 1
        proposed = status(sim)["proposed"]["revision"]
        sim.cluster.apply("ml", **again, **asked, revision=proposed)
        await settled(sim)
        assert conditions(sim)["Built"][:2] == ("True", "Built")
        assert sim.cluster.pods.made["build"] == 2

    play(script, environments=ENVIRONMENTS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"python": {"version": "3.11"}}, "spec.python.image"),
        ({"verify": {"mode": "Disabled"}}, "spec.verify.mode"),
        (
            {"python": {"image": IMAGE, "platforms": ["linux/amd64", "linux/arm64"]}},
            "spec.python.platforms",
        ),
        ({"requirements": ["prefect"]}, "nothing to install"),
    ],
)
def test_a_lock_of_which_none_is_made_says_why(changes: dict[str, Any], says: str) -> None:
    """It is no fault: the condition is Unknown and the set Ready."""

    async def script(sim: Simulation) -> None:
        start(sim, **changes)
        await settled(sim)
        assert sim.ready("ml") == ("True", "Ready")
        state, reason, message = conditions(sim)["Built"]
        assert (state, reason) == ("Unknown", "NotBuilt")
        assert says in message
        assert sim.cluster.pods.made["build"] == 0

    play(script, environments=ENVIRONMENTS)


def test_a_set_whose_pools_all_install_has_none() -> None:
    """One pool that may mount it is enough for an environment."""

    async def script(sim: Simulation) -> None:
        start(sim)
        sim.prefect.make("l")
        await settled(sim)
        state, reason, message = conditions(sim)["Built"]
        assert (state, reason) == ("Unknown", "NotBuilt")
        assert "workPools[].delivery" in message
        assert sim.cluster.pods.made["build"] == 0
        sim.cluster.apply("ml", pools=["k", "l"], interval="0s", **image())
        await settled(sim)
        assert conditions(sim)["Built"][:2] == ("True", "Built")

    play(script, environments=ENVIRONMENTS, workPools=[{**OPEN, "name": "k", **_INSTALL}, OPEN])


def test_an_image_without_a_digest_has_none() -> None:
    """Nobody would notice if such an image were another one tomorrow."""

    async def script(sim: Simulation) -> None:
        start(sim)
        sim.cluster.pods.images[IMAGE] = flows("flows:1")
        await settled(sim)
        state, reason, message = conditions(sim)["Built"]
        assert (state, reason) == ("Unknown", "NotBuilt")
        assert "no digest" in message
        assert sim.cluster.pods.made["build"] == 0

    play(script, environments=ENVIRONMENTS)


def test_without_a_repository_nothing_is_built_and_one_line_says_what_would_help() -> None:
    """A set without environments is as well as one with them."""

    async def script(sim: Simulation) -> None:
        start(sim)
        await settled(sim)
        assert sim.ready("ml") == ("True", "Ready")
        state, reason, message = conditions(sim)["Built"]
        assert (state, reason) == ("Unknown", "NoEnvironments")
        assert "environments.repository" in message
        assert "environment" not in status(sim)
        assert sim.cluster.pods.made["build"] == 0

    play(script)


def test_switched_on_for_sets_that_have_settled_and_off_again() -> None:
    """All get one, a few at a time and never all turns for one namespace, and trials go on beside
    them; switched off, the records stay, nothing is said of them, and switched on again, nothing is
    built anew."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = flows()
        sim.prefect.make("k")
        names = [f"s{number}" for number in range(12)]
        for name in names:
            sim.cluster.apply(name, pools=["k"], interval="0s", requirements=[name], **image())
        await settled(sim)
        assert sim.cluster.pods.made["build"] == 0
        off, on = sim.config, Simulation(environments=ENVIRONMENTS).config
        sim.config = on
        sim.cluster.pods.seconds, sim.cluster.pods.most_builds = 60.0, 0
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            sim.cluster.apply(
                "late", namespace="team", pools=["k"], requirements=["late"], **image()
            )
            await asyncio.sleep(3 * MINUTE)
            assert sim.ready("late", namespace="team") == ("True", "Ready")
            await asyncio.sleep(20 * MINUTE)
        assert sim.cluster.pods.made["build"] == 13
        assert sim.cluster.pods.most_builds == 2
        await settled(sim)
        kept = {name: recorded(sim, f"flowdeps-{name}") for name in names}
        assert all(kept.values())
        sim.config = off
        await settled(sim)
        for name in names:
            assert conditions(sim, name)["Built"][1] == "NoEnvironments"
            assert "environment" not in status(sim, name)
            assert recorded(sim, f"flowdeps-{name}") == kept[name]
        sim.config = on
        sim.cluster.pods.seconds = 8.0  # two pods at once prove them again
        await settled(sim)
        assert conditions(sim, "s1")["Built"][:2] == ("True", "Built")
        assert sim.cluster.pods.made["build"] == 13

    play(script, environments={})


def test_one_namespace_leaves_a_turn_for_another() -> None:
    """However many sets a namespace has, the first of another is built at once."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = flows()
        sim.prefect.make("k")
        for number in range(10):
            sim.cluster.apply(f"s{number}", pools=["k"], requirements=[f"s{number}"], **image())
        async with sim.operator():
            await asyncio.sleep(2 * MINUTE)
            sim.cluster.pods.seconds = HOUR
            await asyncio.sleep(2 * MINUTE)
            assert sim.cluster.pods.most_builds == 1
            sim.cluster.pods.seconds = 8.0
            sim.cluster.apply(
                "mine", namespace="team", pools=["k"], requirements=["mine"], **image()
            )
            await asyncio.sleep(3 * MINUTE)
            assert sim.condition("mine", "Built", namespace="team")["status"] == "True"

    play(script, environments=ENVIRONMENTS)


def _forgeries(environment: Body) -> Iterator[str]:
    content = environment["reference"].partition("@")[2]
    for other in (
        {"reference": f"{REPOSITORY}/team@{content}"},
        {"reference": f"registry.example.org/environments/flows@{content}"},
        {"reference": f"{REPOSITORY}/flows:latest"},
        {"lock": digest("another lock")},
        {"files": -1},
        {"more": "fields"},
    ):
        yield json.dumps({**environment, **other})
    yield from ("", "null", "[", "[" * 5000, "x" * 5000)


def test_a_forged_environment_is_not_believed_and_replaced() -> None:
    """Whoever may write ConfigMaps in a namespace can neither lead runs to another registry or
    namespace, nor to the environment of another lock, and the true one is recorded again."""

    async def script(sim: Simulation) -> None:
        start(sim)
        await settled(sim)
        true = recorded(sim)
        for forged in _forgeries(true):
            for name in ("flowdeps-ml", f"flowdeps-ml-{short(sim)}"):
                body = sim.cluster.maps["flows", name]
                annotations = {**body["metadata"]["annotations"], ENVIRONMENT_ANNOTATION: forged}
                meta = {**body["metadata"], "annotations": annotations}
                sim.cluster.maps["flows", name] = {**body, "metadata": meta}
            await settled(sim)
            assert recorded(sim) == true, forged
            assert revisions(sim)[short(sim)] == true, forged
            assert status(sim)["environment"]["reference"] == true["reference"]

    play(script, environments=ENVIRONMENTS)


@pytest.mark.parametrize("how", ["changed", "deleted", "suspended"])
def test_a_build_that_nobody_needs_any_more_ends(how: str) -> None:
    """A set that gets another lock, goes or rests withdraws its build: the pod and its ConfigMap go
    with it."""

    async def script(sim: Simulation) -> None:
        start(sim)
        sim.cluster.pods.seconds = 30.0
        async with sim.operator():
            await asyncio.sleep(_BUILDING)
            [(_, first)] = sim.cluster.pods.pods
            assert first.startswith("flowdeps-build")
            if how == "deleted":
                sim.cluster.delete("ml")
            else:
                again = {"suspend": True} if how == "suspended" else {"requirements": ["other"]}
                sim.cluster.apply("ml", pools=["k"], **again, **image())
            await asyncio.sleep(5)
            assert ("flows", first) not in sim.cluster.pods.pods
            await asyncio.sleep(5 * MINUTE)
            assert sim.cluster.pods.pods == {}
            assert not [name for _, name in sim.cluster.maps if name.startswith("flowdeps-build")]
            if how == "suspended":
                assert sim.ready("ml") == ("True", "Suspended")
                assert conditions(sim)["Built"][:2] == ("Unknown", "NotBuilt")
            if how == "changed":
                assert conditions(sim)["Built"][:2] == ("True", "Built")

    play(script, environments=ENVIRONMENTS)
