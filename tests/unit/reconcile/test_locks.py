"""Locks for images, from sources, with credentials, with approvals: told by the simulation."""

import asyncio
import base64
import json
import re
from functools import partial
from typing import Any

import pytest

from flowdeps.api.names import mounted_name
from flowdeps.vulnerabilities.load import Advisories
from flowdeps.vulnerabilities.osv import Builder
from tests.unit.reconcile.simulation import OPEN, MemoryImage, Simulation
from tests.unit.reconcile.test_life import DAY, HOUR, MINUTE, play, settled

IMAGE = "registry.example.com/flows:1"


def image(name: str = IMAGE) -> dict[str, Any]:
    """A spec whose Python is an image's."""
    return {"python": {"image": name}}


def conditions(sim: Simulation, name: str = "ml") -> dict[str, tuple[str, str, str]]:
    """Status, reason and message of each condition."""
    status = sim.cluster.sets["flows", name].get("status", {})
    return {
        one["type"]: (one["status"], one["reason"], one["message"])
        for one in status.get("conditions", [])
    }


def status(sim: Simulation, name: str = "ml") -> dict[str, Any]:
    """A set's status."""
    found: dict[str, Any] = sim.cluster.sets["flows", name]["status"]
    return found


def text(sim: Simulation, name: str, namespace: str = "flows") -> str:
    """The lock that a ConfigMap holds."""
    found: str = sim.cluster.maps[namespace, name]["data"]["requirements.txt"]
    return found


def source(sim: Simulation, name: str, **data: str) -> None:
    """kubectl apply of a ConfigMap of the team's own."""
    sim.cluster.put_foreign_map("flows", name, data)


def advisories(name: str, *, introduced: str) -> Advisories:
    """A database that was read and knows one flaw, which nobody has fixed."""
    event = {"introduced": introduced}
    package = {"ecosystem": "PyPI", "name": name}
    affected = {"package": package, "ranges": [{"type": "ECOSYSTEM", "events": [event]}]}
    builder = Builder()
    builder.add({"id": "GHSA-1", "affected": [affected]})
    found = Advisories("/nonexistent")
    found.current, found.problem = builder.database(), None
    return found


def test_a_lock_for_an_image_is_probed_made_tried_and_published() -> None:
    """One pod looks at the image, one tries the lock; what the image has is left out, and a second
    operator has nothing to do."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.pods.images[IMAGE] = MemoryImage(packages={"prefect": "3.0", "six": "1.17.0"})
        sim.cluster.apply("ml", pools=["k"], requirements=["pandas", "six"], **image())
        await settled(sim)
        assert sim.ready("ml") == ("True", "Ready")
        assert sim.pins("ml") == "pandas==1.0"
        assert "# image: six==1.17.0\n" in text(sim, "flowdeps-ml")
        assert sim.cluster.pods.made == {"probe": 1, "verify": 1}
        assert sim.cluster.pods.pods == {}
        assert conditions(sim)["Verified"][:2] == ("True", "Verified")
        assert status(sim)["image"] == {
            "name": IMAGE,
            "id": "sha256:1",
            "python": "3.11.9",
            "packages": 2,
        }

    play(script)


def test_without_a_python_the_image_of_the_pool_counts() -> None:
    """A set that names neither image nor version is for what its pool runs."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("ml", pools=["k"], python={})
        await settled(sim)
        assert sim.ready("ml") == ("True", "Ready")
        assert status(sim)["image"]["name"] == IMAGE

    play(script)


@pytest.mark.slow
@pytest.mark.stalls  # in simulated time, what a thousand sets do at one moment is one turn
def test_a_thousand_sets_on_one_image_are_one_probe() -> None:
    """Sets of a namespace share what is known of an image, and equal locks share a trial."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        for number in range(1000):
            requirements = [f"package-{number % 10}"]
            sim.cluster.apply(f"set-{number}", requirements=requirements, **image())
        async with sim.operator() as service:
            await asyncio.sleep(HOUR)
            assert sim.cluster.pods.made == {"probe": 1, "verify": 10}
            assert sim.cluster.pods.most <= service.context.config.pods.concurrency
            assert len(sim.index.resolved) == 10
        ready = [sim.ready(f"set-{number}")[0] for number in range(1000)]
        assert ready == ["True"] * 1000

    play(script, limits={"setsPerNamespace": 1000})


def test_what_an_image_has_is_found_out_in_each_namespace() -> None:
    """What a pod in one namespace found is neither told nor believed in another: its team may not
    be able to pull the image, or may have written what stands there."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("ml", **image())
        await settled(sim)
        sim.cluster.apply("ml", namespace="team", **image())
        await settled(sim)
        assert sim.cluster.pods.made == {"probe": 2, "verify": 2}
        assert sim.cluster.sets["team", "ml"]["status"]["image"]["name"] == IMAGE
        found = [place for place, name in sim.cluster.maps if name.startswith("flowdeps-image.")]
        assert sorted(found) == ["flows", "team"]

    play(script)


def test_a_lock_that_waits_for_its_trial_is_not_swept_away() -> None:
    """What trials leave behind is looked for each ten minutes; a queue of trials may be longer."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.pods.seconds = 250
        for number in range(20):
            sim.cluster.apply(f"set-{number}", requirements=[f"package-{number}"], **image())
        async with sim.operator():
            await asyncio.sleep(HOUR)
        assert [sim.ready(f"set-{number}")[0] for number in range(20)] == ["True"] * 20
        assert sim.cluster.pods.made == {"probe": 1, "verify": 20}

    play(script)


def test_a_changed_set_is_ready_only_with_the_lock_of_its_change() -> None:
    """Whoever waits for Ready of the new generation gets the new lock, not the one before it."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("ml", pools=["k"], requirements=["pandas"], **image())
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            sim.cluster.pods.seconds = 40.0  # longer than the pool takes to be written
            sim.cluster.apply("ml", pools=["k"], requirements=["polars"], **image())
            generation = sim.cluster.sets["flows", "ml"]["metadata"]["generation"]
            seen = set()
            for _ in range(300):
                await asyncio.sleep(0.5)
                if status(sim)["observedGeneration"] == generation:
                    seen.add((*sim.ready("ml"), "polars" in text(sim, "flowdeps-ml")))
            assert ("False", "Verifying", False) in seen
            assert ("True", "Ready", True) in seen
            assert ("True", "Ready", False) not in seen

    play(script)


def test_what_a_resolver_notes_is_told_as_far_as_it_fits() -> None:
    """In the message of its condition, after a restart too; what doesn't fit is counted."""

    async def script(sim: Simulation) -> None:
        sim.index.notes = tuple(f"package-{number} has no extra x" for number in range(100))
        sim.cluster.apply("ml")
        await settled(sim)
        await settled(sim)
        state, _, message = conditions(sim)["Resolved"]
        assert state == "True"
        assert message.startswith("package-0 has no extra x; package-1 has no extra x; ")
        assert re.search(r"x and [1-9]\d more$", message)
        assert len(message) <= 800

    play(script)


def test_what_cannot_be_imported_is_never_published_and_a_mended_image_heals_it() -> None:
    """The last good lock stays; once the tag leads to an image in which the import works, the new
    lock is published, and nobody had to do a thing to the set."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.pods.images[IMAGE] = MemoryImage(broken=frozenset({"odd"}))
        sim.cluster.apply("ml", pools=["k"], requirements=["pandas"], **image())
        async with sim.operator():
            await asyncio.sleep(HOUR)
            good = text(sim, "flowdeps-ml")
            sim.cluster.apply("ml", pools=["k"], requirements=["pandas", "odd"], **image())
            await asyncio.sleep(10 * MINUTE)
            assert text(sim, "flowdeps-ml") == good
            assert sim.ready("ml") == ("False", "VerifyFailed")
            said = conditions(sim)["Verified"]
            assert said[0] == "False"
            assert "import odd: ImportError: libodd.so.1" in said[2]
            assert len(status(sim)["revisions"]) == 1
            tried = sim.cluster.pods.made["verify"]
            await asyncio.sleep(20 * MINUTE)
            assert sim.cluster.pods.made["verify"] == tried, "tried again in the same image"
            sim.cluster.pods.images[IMAGE] = MemoryImage(id="sha256:2")
            await asyncio.sleep(HOUR)
            assert sim.ready("ml") == ("True", "Ready")
            assert sim.pins("ml") == "odd==1.0 pandas==1.0"
        await settled(sim)

    play(script)


def test_what_hides_a_module_of_the_image_needs_leave() -> None:
    """The set says which, and what to write; once that is written, the same lock is tried again,
    and when it is taken back, once more."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage(clashes=frozenset({"vision-full"}))
        sim.cluster.apply("ml", requirements=["vision-full"], **image())
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("False", "VerifyFailed")
            said = conditions(sim)["Verified"][2]
            assert "vision-full 1.0 of the lock would hide the module cv3" in said
            assert "name vision-full in spec.shadow" in said
            leave = {**image(), "shadow": ["vision-full"]}
            sim.cluster.apply("ml", requirements=["vision-full"], **leave)
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            sim.cluster.apply("ml", requirements=["vision-full"], **image())
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("False", "VerifyFailed")
            sim.cluster.apply("ml", requirements=["vision-full"], **leave)
            await asyncio.sleep(MINUTE)
        await settled(sim)

    play(script)


def test_what_a_trial_notes_is_told_after_a_restart_too() -> None:
    """What could not be tried stays known with the lock; nothing is written for it again."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage(notes=["not imported: cloud-stubs"])
        sim.cluster.apply("ml", requirements=["cloud-stubs"], **image())
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            before = conditions(sim)["Verified"]
        assert before[0] == "True"
        assert before[2].endswith(f"imports in {IMAGE}; not imported: cloud-stubs")
        await settled(sim)
        assert conditions(sim)["Verified"] == before
        assert sim.cluster.pods.made["verify"] == 1

    play(script)


def test_what_a_lock_needs_and_nobody_has_is_told_before_a_run() -> None:
    """A package that is required and not there at all, as in a lock that was made elsewhere or
    trimmed by hand; what the image lacked before isn't charged to the lock."""

    async def script(sim: Simulation) -> None:
        requires = {"prefect": ["gone"], "pandas": ["pytz", "prefect>=3"]}
        sim.cluster.pods.images[IMAGE] = MemoryImage(requires=requires)
        sim.cluster.apply("ml", requirements=["pandas"], **image())
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("False", "VerifyFailed")
            said = conditions(sim)["Verified"][2]
            assert "pandas 1.0 requires pytz, there is none" in said
            assert "gone" not in said
            sim.cluster.apply("ml", requirements=["pandas", "pytz"], **image())
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
        await settled(sim)

    play(script)


def test_an_image_that_moved_is_seen_and_the_lock_in_service_tried_again() -> None:
    """A tag that leads elsewhere is noticed at the next look; a lock that no longer works there is
    reported, and stays in service."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("ml", **image())
        async with sim.operator():
            await asyncio.sleep(30 * MINUTE)
            good = text(sim, "flowdeps-ml")
            sim.cluster.pods.images[IMAGE] = MemoryImage(
                id="sha256:2", broken=frozenset({"pandas"})
            )
            await asyncio.sleep(2 * HOUR)
            assert sim.ready("ml") == ("False", "VerifyFailed")
            assert text(sim, "flowdeps-ml") == good

    play(script)


def test_a_quiet_day_looks_at_the_image_and_writes_only_when_it_did() -> None:
    """Once a day a pod looks whether the tag has moved; nothing of the set is written for it."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("ml", interval="0s", **image())
        async with sim.operator():
            await asyncio.sleep(30 * MINUTE)
            before = sim.cluster.sets["flows", "ml"], text(sim, "flowdeps-ml")
            await asyncio.sleep(3 * DAY)
            assert sim.cluster.pods.made["probe"] == 4
            assert sim.cluster.pods.made["verify"] == 1
            assert (sim.cluster.sets["flows", "ml"], text(sim, "flowdeps-ml")) == before

    play(script, images={})


def test_a_run_with_another_image_has_it_looked_at() -> None:
    """A tag that has moved is noticed by the first run that gets the new image, within minutes. A
    run that began before, and a node that has an older image, are no news each time."""

    async def script(sim: Simulation) -> None:
        probes, run = sim.cluster.pods.made, partial(sim.cluster.run_pod, "flows", choice="ml")
        sim.cluster.pods.images[IMAGE] = MemoryImage(id="new@sha256:1")
        run(pool="kubernetes", image=IMAGE, image_id="new@sha256:0")
        sim.cluster.apply("ml", interval="0s", **image())
        async with sim.operator():
            await asyncio.sleep(HOUR)
            assert probes["probe"] == 1
            run(pool="kubernetes", image=IMAGE, image_id="runtime://another@sha256:1")
            await asyncio.sleep(HOUR)
            assert probes["probe"] == 1
            sim.cluster.pods.images[IMAGE] = MemoryImage(id="new@sha256:2")
            run(pool="kubernetes", image=IMAGE, image_id="new@sha256:2")
            await asyncio.sleep(15 * MINUTE)
            assert (probes["probe"], probes["verify"]) == (2, 2)
            run(pool="kubernetes", image=IMAGE, image_id="new@sha256:1")
            await asyncio.sleep(HOUR)
            assert probes["probe"] == 3
            run(pool="kubernetes", image=IMAGE, image_id="new@sha256:1")
            await asyncio.sleep(10 * HOUR)
            assert (probes["probe"], probes["verify"]) == (3, 2)

    play(script, images={})


def test_a_pod_that_looks_at_an_image_belongs_to_the_sets_that_ask() -> None:
    """It goes with the last of them, and with none of other namespaces."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.pods.seconds = 60.0
        for name in ("a", "b"):
            sim.cluster.apply(name, **image())
        sim.cluster.apply("c", namespace="jobs", **image())
        async with sim.operator():
            await asyncio.sleep(30)
            pods = [body for body, _ in sim.cluster.pods.pods.values()]
            owners = {
                pod["metadata"]["namespace"]: [
                    (one["kind"], one["name"]) for one in pod["metadata"]["ownerReferences"]
                ]
                for pod in pods
            }
            kind = "FlowDependencySet"
            assert owners == {"flows": [(kind, "a"), (kind, "b")], "jobs": [(kind, "c")]}
            for pod in pods:
                for one in pod["metadata"]["ownerReferences"]:
                    where = pod["metadata"]["namespace"], one["name"]
                    assert sim.cluster.sets[where]["metadata"]["uid"] == one["uid"]

    play(script)


def test_why_no_pod_can_tell_is_said() -> None:
    """An image that can't be pulled, pods that quota forbids, no image at all: each has its reason,
    and goes on by itself when it is mended."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("bare")
        template = sim.prefect.pools["bare"].template
        template["variables"]["properties"]["image"]["default"] = None
        sim.cluster.apply("ml", **image())
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("False", "ImageUnavailable")
            assert "no such image" in conditions(sim)["Ready"][2]
            sim.cluster.pods.forbidden = "exceeded quota: pods=0"
            sim.cluster.apply("ml", **image("registry.example.com/other:1"))
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("False", "PodsForbidden")
            assert "exceeded quota" in conditions(sim)["Ready"][2]
            sim.cluster.pods.forbidden = ""
            sim.cluster.pods.images["registry.example.com/other:1"] = MemoryImage()
            await asyncio.sleep(10 * MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            sim.cluster.apply("ml", python={})
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("False", "ImageUnknown")

    play(script)


def test_a_trial_that_was_forbidden_is_made_once_it_may_be() -> None:
    """Nobody has to touch the set when there is room in the quota again."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("first", **image())
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            sim.cluster.pods.forbidden = "exceeded quota: pods=0"
            sim.cluster.apply("ml", requirements=["alpha"], **image())
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("False", "PodsForbidden")
            assert conditions(sim)["Verified"][:2] == ("False", "PodsForbidden")
            sim.cluster.pods.forbidden = ""
            await asyncio.sleep(10 * MINUTE)
            assert sim.ready("ml") == ("True", "Ready")

    play(script)


def test_an_evicted_pod_waits_for_nobody_and_blames_neither_image_nor_lock() -> None:
    """Neither the look at an image nor a trial: both are made again until their pods end by
    themselves."""
    evicted = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("ml", **image())
        async with sim.operator():
            for purpose in ("probe", "verify"):
                while not sim.cluster.pods.made[purpose]:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(1)
                sim.cluster.pods.instead = (evicted, "")
                await asyncio.sleep(MINUTE)
                assert sim.cluster.pods.made[purpose] > 1
                assert sim.ready("ml") == ("False", "PodsFailed")
                said = conditions(sim)
                assert "Stalled" not in said
                assert "The node was low on memory." in said["Ready"][2]
                assert "use an image" not in said["Ready"][2]
                assert "fix the image" not in said["Ready"][2]
                sim.cluster.pods.instead = None
            await asyncio.sleep(10 * MINUTE)
            assert sim.ready("ml") == ("True", "Ready")

    play(script)


def test_pods_that_no_node_takes_are_told_and_keep_no_other_namespace_waiting() -> None:
    """The sets say what the scheduler says, and are looked after once there is room."""

    async def script(sim: Simulation) -> None:
        images = [f"registry.example.com/large:{number}" for number in range(12)]
        sim.cluster.pods.images |= dict.fromkeys([IMAGE, *images], MemoryImage())
        sim.cluster.pods.full = {"flows"}
        for number, name in enumerate(images):
            sim.cluster.apply(f"large-{number}", **image(name))
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            sim.cluster.apply("ml", namespace="team", **image())
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml", namespace="team") == ("True", "Ready")
            assert sim.cluster.pods.made == {"probe": 4, "verify": 1}, "a node may yet come"
            await asyncio.sleep(20 * MINUTE)
            for number in range(12):
                assert sim.ready(f"large-{number}") == ("False", "PodsUnschedulable")
                assert "3 Insufficient cpu" in conditions(sim, f"large-{number}")["Ready"][2]
            sim.cluster.pods.full.clear()
            await asyncio.sleep(20 * MINUTE)
            for number in range(12):
                assert sim.ready(f"large-{number}") == ("True", "Ready")

    play(script)


def test_a_set_whose_pools_have_other_images_is_told_so() -> None:
    """The lock is for one of them; whoever reads the status learns which pool has another, also
    when it changes later."""

    async def script(sim: Simulation) -> None:
        other = "registry.example.com/other:1"
        sim.prefect.make("k")
        sim.prefect.make("l")
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("ml", pools=["k", "l"], python={})
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            assert "has the image" not in conditions(sim)["Ready"][2]
            properties = sim.prefect.pools["l"].template["variables"]["properties"]
            properties["image"]["default"] = other
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            assert f'work pool "l" has the image {other}' in conditions(sim)["Ready"][2]
        await settled(sim)

    play(script)


def test_an_image_whose_python_lacks_prefect_is_told_so() -> None:
    """Runs may have another Python, by an ENTRYPOINT that pods of ours don't go through. The set is
    served all the same: whoever installs Prefect at the start means it."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.pods.images[IMAGE] = MemoryImage(packages={"six": "1.17.0"})
        sim.cluster.apply("ml", pools=["k"], **image())
        await settled(sim)
        assert sim.ready("ml") == ("True", "Ready")
        told = f"python3 on the PATH of {IMAGE} is Python 3.11.9, without Prefect"
        assert told in conditions(sim)["Ready"][2]
        sim.cluster.pods.images[IMAGE] = MemoryImage(id="sha256:2")
        async with sim.operator():
            await asyncio.sleep(2 * HOUR)
        assert told not in conditions(sim)["Ready"][2]

    play(script)


def test_a_kill_while_a_pod_runs_costs_no_second_pod() -> None:
    """Whoever comes next finds the pod by its name, and waits for it."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("ml", **image())
        for _ in range(12):
            async with sim.operator():
                await asyncio.sleep(4)
        await settled(sim)
        assert sim.cluster.pods.made == {"probe": 1, "verify": 1}
        assert sim.ready("ml") == ("True", "Ready")

    play(script)


def test_verification_can_be_switched_off_and_says_so() -> None:
    """No trial is made, and the condition doesn't pretend that one was."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage(broken=frozenset({"pandas"}))
        sim.cluster.apply("ml", verify={"mode": "Disabled"}, **image())
        await settled(sim)
        assert sim.ready("ml") == ("True", "Ready")
        assert conditions(sim)["Verified"][:2] == ("Unknown", "VerifyDisabled")
        assert "verify" not in sim.cluster.pods.made

    play(script)


def test_sources_are_followed_as_they_change() -> None:
    """A ConfigMap and a Prefect variable bring requirements; a change of either is a new lock that
    keeps the other pins."""

    async def script(sim: Simulation) -> None:
        source(sim, "reqs", **{"requirements.txt": "alpha\n# a comment\nbeta\n"})
        sim.prefect.variable_values["extra"] = ["gamma"]
        sim.cluster.apply(
            "ml",
            requirements=["pandas"],
            requirementsFrom=[
                {"configMapKeyRef": {"name": "reqs", "key": "requirements.txt"}},
                {"prefectVariable": {"name": "extra"}},
                {"prefectVariable": {"name": "none", "optional": True}},
            ],
        )
        await settled(sim)
        assert sim.pins("ml") == "alpha==1.0 beta==1.0 gamma==1.0 pandas==1.0"
        sim.index.release = 2
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            source(sim, "reqs", **{"requirements.txt": "alpha\n"})
            sim.prefect.variable_values["extra"] = "gamma delta"
            await asyncio.sleep(2 * MINUTE)
            assert sim.pins("ml") == "alpha==1.0 delta==2.0 gamma==1.0 pandas==1.0"

    play(script)


def test_a_source_that_is_missing_or_wrong_keeps_the_lock_and_is_named() -> None:
    """Whatever becomes of a source, what is served stays, and the message leads to the place."""

    async def script(sim: Simulation) -> None:
        ref = {"configMapKeyRef": {"name": "reqs", "key": "requirements.txt"}}
        sim.cluster.apply("ml", requirementsFrom=[ref])
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("False", "SourceNotFound")
            assert "spec.requirementsFrom[0]" in conditions(sim)["Ready"][2]
            source(sim, "reqs", **{"requirements.txt": "alpha"})
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            source(sim, "reqs", **{"requirements.txt": "alpha\n-r other.txt\n"})
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("False", "SourceInvalid")
            assert "line 2" in conditions(sim)["Ready"][2]
            assert sim.pins("ml") == "alpha==1.0 pandas==1.0"
            sim.cluster.maps.pop(("flows", "reqs"))
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("False", "SourceNotFound")
            assert sim.pins("ml") == "alpha==1.0 pandas==1.0"

    play(script)


def test_a_source_in_utf_16_is_read_and_one_that_is_no_text_is_told() -> None:
    """kubectl puts both under binaryData: the key is there, so nobody is told to create it, and
    that it may be missing doesn't mean that it may be unreadable."""

    async def script(sim: Simulation) -> None:
        key = "requirements.txt"
        ref = {"configMapKeyRef": {"name": "reqs", "key": key, "optional": True}}
        wide = base64.b64encode("alpha\r\n".encode("utf-16")).decode()
        sim.cluster.put_foreign_map("flows", "reqs", {key: wide}, binary=True)
        sim.cluster.apply("ml", requirementsFrom=[ref])
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            assert sim.pins("ml") == "alpha==1.0 pandas==1.0"
            sim.cluster.put_foreign_map("flows", "reqs", {key: "6Q=="}, binary=True)
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("False", "SourceInvalid")
            assert conditions(sim)["Ready"][2].startswith(
                'spec.requirementsFrom[0]: key "requirements.txt" of ConfigMap flows/reqs is there,'
                " but not a text file in UTF-8; save it as one"
            )
            assert sim.pins("ml") == "alpha==1.0 pandas==1.0"

    play(script)


def test_included_sets_are_resolved_together_and_followed() -> None:
    """A change of what is included, at any depth, reaches whoever includes it; a cycle is named."""

    async def script(sim: Simulation) -> None:
        sim.cluster.apply("base", requirements=["alpha"])
        sim.cluster.apply("middle", requirements=["beta"], includes=[{"name": "base"}])
        sim.cluster.apply("ml", requirements=["gamma"], includes=[{"name": "middle"}])
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            assert sim.pins("ml") == "alpha==1.0 beta==1.0 gamma==1.0"
            sim.cluster.apply("base", requirements=["delta"])
            await asyncio.sleep(MINUTE)
            assert sim.pins("ml") == "beta==1.0 delta==1.0 gamma==1.0"
            sim.cluster.apply("base", requirements=["delta"], includes=[{"name": "ml"}])
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("False", "IncludeCycle")
            assert "ml → middle → base → ml" in conditions(sim)["Ready"][2]
            assert sim.pins("ml") == "beta==1.0 delta==1.0 gamma==1.0"
            sim.cluster.apply("base", requirements=["delta"])
            sim.cluster.delete("middle")
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("False", "IncludeNotFound")
        await settled(sim)

    play(script)


def test_a_finished_lock_is_published_without_a_resolver() -> None:
    """lockFrom: what a pull request made is what is served, byte for byte; one that isn't complete
    is refused with the line."""

    async def script(sim: Simulation) -> None:
        sim.cluster.apply("made", requirements=["alpha"])
        ref = {"configMapKeyRef": {"name": "lock", "key": "lock.txt"}}
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            lock, resolved = text(sim, "flowdeps-made"), len(sim.index.resolved)
            source(sim, "lock", **{"lock.txt": lock})
            sim.cluster.apply("ml", requirements=None, lockFrom=ref, python={})
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            assert text(sim, "flowdeps-ml") == lock
            assert len(sim.index.resolved) == resolved
            source(sim, "lock", **{"lock.txt": lock.partition(" \\")[0] + "\n"})
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("False", "LockInvalid")
            assert text(sim, "flowdeps-ml") == lock
        await settled(sim)

    play(script)


def test_a_finished_lock_for_an_image_has_a_status_that_an_api_server_takes() -> None:
    """What names its inputs, the lock and what the image has, is no longer than the schema says."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("made", requirements=["alpha"], **image())
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            source(sim, "lock", **{"lock.txt": text(sim, "flowdeps-made")})
            ref = {"configMapKeyRef": {"name": "lock", "key": "lock.txt"}}
            sim.cluster.apply("ml", requirements=None, lockFrom=ref, **image())
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            assert re.fullmatch("sha256:[0-9a-f]{64}", status(sim)["lock"]["inputsDigest"])
        await settled(sim)

    play(script)


def test_a_finished_lock_moves_only_what_shadow_names() -> None:
    """A package of the image that the lock has at another version is refused with both versions;
    named in shadow it is served, and runs aren't warned of it. The same version moves nothing."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage(
            packages={"prefect": "3.0", "six": "1.16.0", "alpha": "1.0.0"}
        )
        python = {"version": "3.11"}
        sim.cluster.apply("made", requirements=["alpha", "beta", "six"], python=python)
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            lock = text(sim, "flowdeps-made")
            source(sim, "lock", **{"lock.txt": lock})
            ref = {"configMapKeyRef": {"name": "lock", "key": "lock.txt"}}
            changes = {"requirements": None, "lockFrom": ref, **image()}
            sim.cluster.apply("ml", **changes, shadow=["beta"])
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("False", "LockInvalid")
            assert conditions(sim)["Ready"][2] == (
                f"spec.lockFrom: the lock puts other versions before those of {IMAGE}: six 1.0"
                " before 1.16.0; name them in spec.shadow, or make the lock for this image"
                " (`flowdeps lock --image-packages`)"
            )
            for shadow in (["six"], ["*"]):
                sim.cluster.apply("ml", **changes, shadow=shadow)
                await asyncio.sleep(MINUTE)
                assert sim.ready("ml") == ("True", "Ready")
                assert text(sim, "flowdeps-ml") == lock
                manifest = json.loads(sim.cluster.maps["flows", "flowdeps-ml"]["data"]["lock.json"])
                assert manifest["shadow"] == shadow
        await settled(sim)

    play(script)


def secret(sim: Simulation, password: str) -> None:
    """kubectl apply of credentials."""
    data = {"username": "reader", "password": password}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    sim.cluster.put_foreign_secret("flows", "index", encoded)


def netrc(sim: Simulation, namespace: str = "flows") -> str | None:
    """The netrc file that runs of a namespace get."""
    name = mounted_name("ml", pool="" if namespace == "flows" else "k")
    body = sim.cluster.secrets.get((namespace, name))
    return base64.b64decode(body["data"]["netrc"]).decode() if body else None


def test_credentials_reach_the_resolver_and_the_runs_and_follow_a_rotation() -> None:
    """A copy stands wherever the lock does; a new password is there within a minute, and with the
    reference, or the set, the copies go."""

    async def script(sim: Simulation) -> None:
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("k", namespace="jobs")
        index = {
            "url": "https://packages.example.com/simple",
            "credentialsSecretRef": {"name": "index"},
        }
        sim.cluster.apply("ml", pools=["k"], index=index)
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("False", "CredentialsInvalid")
            secret(sim, "first")
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            line = "machine packages.example.com login reader password first\n"
            assert netrc(sim) == netrc(sim, "jobs") == line
            assert [access.netrc for _, access in sim.index.asked if access] == [line]
            secret(sim, "second")
            await asyncio.sleep(MINUTE)
            assert netrc(sim) == netrc(sim, "jobs") == line.replace("first", "second")
        await settled(sim)
        for body in [*sim.cluster.maps.values(), *sim.cluster.sets.values()]:
            assert "first" not in str(body)
            assert "second" not in str(body)
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            sim.cluster.apply("ml", pools=["k"], index={"url": index["url"]})
            await asyncio.sleep(MINUTE)
            assert netrc(sim) is netrc(sim, "jobs") is None
            sim.cluster.apply("ml", pools=["k"], index=index)
            await asyncio.sleep(MINUTE)
            assert netrc(sim, "jobs")
            sim.cluster.delete("ml")
            await asyncio.sleep(2 * MINUTE)
            assert netrc(sim, "jobs") is None

    play(script, workPools=[OPEN | {"jobNamespaces": ["jobs"]}])


def test_an_index_that_is_not_allowed_is_not_asked() -> None:
    """The operator's configuration lists the indexes that sets may name."""

    async def script(sim: Simulation) -> None:
        sim.cluster.apply("ml", index={"url": "https://evil.example.com/simple"})
        await settled(sim)
        assert sim.ready("ml") == ("False", "IndexNotAllowed")
        assert sim.index.resolved == []
        sim.cluster.apply("ml", index={"url": "https://packages.example.com/simple"})
        await settled(sim)
        assert sim.ready("ml") == ("True", "Ready")

    play(script, index={"allowed": ["https://packages.example.com/"]})


def test_an_image_that_is_not_allowed_is_not_started() -> None:
    """The operator's configuration lists the images in which sets may start pods."""

    async def script(sim: Simulation) -> None:
        for name, named in (("a", f"{IMAGE}@sha256:1"), ("ml", f"{IMAGE}-evil")):
            sim.cluster.pods.images[named] = MemoryImage()
            sim.cluster.apply(name, **image(named))
        await settled(sim)
        assert sim.ready("a") == ("True", "Ready")
        assert sim.ready("ml") == ("False", "ImageNotAllowed")
        assert sim.cluster.pods.made["probe"] == 1

    play(script, images={"allowed": [IMAGE]})


def test_with_manual_updates_a_refresh_is_proposed_and_waits_for_its_approval() -> None:
    """What is served doesn't move before spec.revision names the proposal; a change of the spec is
    published at once and keeps the pins."""

    async def script(sim: Simulation) -> None:
        async with sim.operator():
            sim.cluster.apply("ml", requirements=["alpha"], updates="Manual")
            await asyncio.sleep(HOUR)
            sim.index.release = 2
            await asyncio.sleep(2 * DAY)
            assert sim.pins("ml") == "alpha==1.0"
            proposed = status(sim)["proposed"]
            assert proposed["summary"] == "alpha 1.0 → 2.0"
            assert sim.ready("ml") == ("True", "Ready")
            assert [e for e in sim.cluster.events if "RevisionProposed" in e[2]]
            sim.cluster.apply("ml", requirements=["alpha", "beta"], updates="Manual")
            await asyncio.sleep(HOUR)
            assert sim.pins("ml") == "alpha==1.0 beta==2.0"
            sim.index.release = 3
            await asyncio.sleep(2 * DAY)
            newer = status(sim)["proposed"]
            assert newer["summary"] == "alpha 1.0 → 3.0, beta 2.0 → 3.0"
            approved = {"updates": "Manual", "revision": newer["revision"]}
            sim.cluster.apply("ml", requirements=["alpha", "beta"], **approved)
            await asyncio.sleep(MINUTE)
            assert sim.pins("ml") == "alpha==3.0 beta==3.0"
            assert "proposed" not in status(sim)
            sim.index.release = 4
            await asyncio.sleep(2 * DAY)
            assert sim.pins("ml") == "alpha==3.0 beta==3.0"
            assert status(sim)["proposed"]["summary"] == "alpha 3.0 → 4.0, beta 3.0 → 4.0"
        await settled(sim)

    play(script)


def test_a_rollback_needs_no_resolver_and_no_pod() -> None:
    """spec.revision serves what was published before, at once; without it the newest again."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("ml", requirements=["alpha"], **image())
        async with sim.operator():
            await asyncio.sleep(HOUR)
            old = status(sim)["lock"]["revision"]
            sim.cluster.apply("ml", requirements=["alpha", "beta"], **image())
            await asyncio.sleep(10 * MINUTE)
            spent = len(sim.index.resolved), sim.cluster.pods.made.copy()
            sim.cluster.apply("ml", requirements=["alpha", "beta"], revision=old, **image())
            await asyncio.sleep(1)
            assert sim.pins("ml") == "alpha==1.0"
            await asyncio.sleep(MINUTE)
            assert sim.ready("ml") == ("True", "Ready")
            assert (len(sim.index.resolved), sim.cluster.pods.made) == spent
            sim.cluster.apply("ml", requirements=["alpha", "beta"], **image())
            await asyncio.sleep(MINUTE)
            assert sim.pins("ml") == "alpha==1.0 beta==1.0"

    play(script)


def test_a_lock_without_known_vulnerabilities_comes_however_long_it_takes() -> None:
    """It needs two resolutions, each longer than answers are kept: neither is made twice."""

    async def script(sim: Simulation) -> None:
        sim.index.release, sim.index.seconds = 2, HOUR
        async with sim.operator() as service:
            await asyncio.sleep(1)
            service.context.advisories = advisories("alpha", introduced="2.0")
            sim.cluster.apply("ml", requirements=["alpha", "beta"], interval="0s")
            await asyncio.sleep(DAY)
            assert sim.ready("ml") == ("True", "Ready")
            assert sim.pins("ml") == "alpha==1.0 beta==2.0"
            assert len(sim.index.resolved) == 2

    play(script)


def test_what_a_database_learns_counts_for_answers_that_are_still_kept() -> None:
    """A lock that was made a moment ago is asked for anew, without what is known by now."""

    async def script(sim: Simulation) -> None:
        sim.index.release = 2
        async with sim.operator() as service:
            sim.cluster.apply("first", requirements=["alpha"])
            await asyncio.sleep(MINUTE)
            service.context.advisories = advisories("alpha", introduced="2.0")
            service.context.recheck_all()
            sim.cluster.apply("second", requirements=["alpha"])
            await asyncio.sleep(MINUTE)
            assert (sim.pins("first"), sim.pins("second")) == ("alpha==2.0", "alpha==1.0")

    play(script)


def test_a_suspended_or_broken_set_still_keeps_its_lock_in_place() -> None:
    """What a pool offers is put back when somebody deletes it, whatever the set is like."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("ml", pools=["k"], requirements=["alpha"])
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            broken: list[dict[str, Any]] = [{"suspend": True}, {"requirements": ["no good"]}]
            for changes in broken:
                sim.cluster.apply("ml", pools=["k"], **{"requirements": ["alpha"], **changes})
                await asyncio.sleep(MINUTE)
                sim.cluster.delete_map("flows", "flowdeps-ml")
                await asyncio.sleep(MINUTE)
                assert sim.pins("ml") == "alpha==1.0"

    play(script)


def test_a_set_that_never_had_a_lock_and_cannot_be_read_stands_in_nobodys_way() -> None:
    """A younger good set may serve the key; one that is merely being made still comes first."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.apply("old", requirements=["no good"], pools=[{"name": "k", "key": "x"}])
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            sim.cluster.apply("young", pools=[{"name": "k", "key": "x"}])
            await asyncio.sleep(5 * MINUTE)
            assert sim.ready("young") == ("True", "Ready")

    play(script)


def test_a_revision_that_a_deployment_or_a_pod_names_is_kept_beyond_the_history() -> None:
    """Both name revisions as they name keys; those that nobody names go, and a Prefect that can't
    say who names what costs nothing."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        spec: dict[str, Any] = {"pools": ["k"], "revisionHistoryLimit": 1}
        async with sim.operator():
            names = []
            for release in range(1, 4):
                sim.index.release = release
                sim.cluster.apply("ml", requirements=["alpha", f"beta{release}"], **spec)
                await asyncio.sleep(5 * MINUTE)
                names.append(status(sim)["lock"]["revision"])
                if release == 1:
                    sim.prefect.chosen_sets = {names[0]}
            assert {one["name"] for one in status(sim)["revisions"]} == set(names)
            sim.prefect.chosen_sets = set()
            sim.cluster.run_pod("flows", choice=names[0], pool="k")
            sim.cluster.apply("ml", requirements=["alpha", "beta4"], **spec)
            await asyncio.sleep(5 * MINUTE)
            newest = status(sim)["lock"]["revision"]
            kept = {one["name"] for one in status(sim)["revisions"]}
            assert kept == {newest, names[2], names[0]}
            sim.cluster.pods.pods.clear()
            sim.cluster.apply("ml", requirements=["alpha", "beta5"], **spec)
            await asyncio.sleep(5 * MINUTE)
            kept = {one["name"] for one in status(sim)["revisions"]}
            assert kept == {newest, status(sim)["lock"]["revision"]}

    play(script)
