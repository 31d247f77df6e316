"""A pod that installs a lock has the room that the lock needs, as far as its size is known."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from flowdeps.api.names import INSTALL_CONTAINER, SITE_VOLUME
from flowdeps.api.trialconfig import PodsConfig
from flowdeps.locks.size import Size
from flowdeps.trials.room import give_room
from tests.unit.delivery.test_pods import build, verify
from tests.unit.reconcile.simulation import MemoryImage, Simulation
from tests.unit.reconcile.test_life import play
from tests.unit.reconcile.test_locks import IMAGE, image

GB = 10**9


def room(body: dict[str, Any]) -> tuple[str, str | None]:
    """What the install container asks its node for, and what its volume takes."""
    [install] = [one for one in body["spec"]["initContainers"] if one["name"] == INSTALL_CONTAINER]
    [volume] = [one for one in body["spec"]["volumes"] if one["name"] == SITE_VOLUME]
    asked = install["resources"].get("requests", {}).get("ephemeral-storage")
    return asked, volume["emptyDir"].get("sizeLimit")


@pytest.mark.parametrize("make", [verify, build])
def test_a_large_lock_asks_for_room_and_its_volume_has_a_limit(make: Any) -> None:
    """The wheels and what is unpacked of them are there at once; no set needs eight times that."""
    body = make()
    give_room(body, Size(download=2 * GB))
    assert room(body) == (str(6 * GB), str(16 * GB + 4 * 2**30))


def test_a_small_lock_asks_for_what_the_configuration_says() -> None:
    """Its wheels may be packed tightly, so the limit is far from its size."""
    storage = {"requests": {"ephemeral-storage": "64Mi"}, "limits": {"ephemeral-storage": "40Gi"}}
    body = verify(settings=PodsConfig(resources=storage))
    give_room(body, Size(download=10_000_000))
    asked, limit = room(body)
    assert asked == "64Mi"
    assert int(limit or 0) > 4 * 2**30


def test_what_is_not_known_limits_nothing() -> None:
    """An index without sizes, or one of several: then there is more to download."""
    without = room(verify())
    body = verify()
    give_room(body, None)
    assert room(body) == without
    give_room(body, Size(download=GB, whole=False))
    assert room(body) == (str(3 * GB), without[1])


def test_what_the_configuration_allows_is_not_exceeded() -> None:
    """Whatever an index says of its files; and who asks for no room is given none."""
    body = verify()
    [volume] = [one for one in body["spec"]["volumes"] if one["name"] == SITE_VOLUME]
    volume["emptyDir"] = {"sizeLimit": "5Gi"}
    give_room(body, Size(download=10**15 - 1))
    assert room(body) == (str(40 * 2**30), str(5 * 2**30))
    [install] = body["spec"]["initContainers"]
    install["resources"] = {"requests": {"cpu": 1}}
    give_room(body, Size(download=4 * GB))
    assert room(body)[0] is None
    install["resources"] = {"requests": {"ephemeral-storage": "1e9"}}
    give_room(body, replace(Size(), download=4 * GB))
    assert room(body)[0] == "1e9"


def test_a_trial_has_the_room_of_its_lock() -> None:
    """By what the index says, which is known before anything is downloaded."""

    async def script(sim: Simulation) -> None:
        sim.index.sizes = {"torch": 4 * GB}
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("ml", requirements=["torch"], **image())
        async with sim.operator():
            for _ in range(100):
                await asyncio.sleep(0.5)
                pods = [pod for pod, _ in sim.cluster.pods.pods.values()]
                tried = [one for one in pods if one["spec"].get("initContainers")]
                if tried:
                    break
            assert room(tried[0])[0] == str(12 * GB)

    play(script)
