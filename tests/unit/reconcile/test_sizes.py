"""How large a set is: in its status, kept with its lock, and warned of above a limit."""

import asyncio
from dataclasses import replace

from flowdeps.api.names import INSTALL_CONTAINER, SIZE_ANNOTATION, mounted_name
from flowdeps.clients.kubernetes.client import FailedInstall
from tests.unit.reconcile.simulation import MemoryImage, Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, play, settled
from tests.unit.reconcile.test_locks import IMAGE, conditions, image, status

GB = 10**9
LARGE = "large: 3.9 GB to download, 7.5 GB installed (most of it torch), more than"


def sizes(sim: Simulation) -> tuple[int | None, int | None]:
    """What is to be downloaded, and what is installed."""
    lock = status(sim)["lock"]
    return lock.get("downloadSize"), lock.get("installedSize")


def test_a_large_set_is_ready_with_a_warning_and_its_size_survives_a_restart() -> None:
    """What the index says and what the trial measured; nothing is tried or written again for it."""

    async def script(sim: Simulation) -> None:
        sim.index.sizes = {"torch": 39 * GB // 10}
        sim.cluster.pods.images[IMAGE] = MemoryImage(installed=75 * GB // 10)
        sim.cluster.apply("ml", requirements=["torch"], **image())
        await settled(sim)
        assert sizes(sim) == (39 * GB // 10, 75 * GB // 10)
        state, reason, message = conditions(sim)["Ready"]
        assert (state, reason) == ("True", "Ready")
        assert LARGE in message
        assert "index.packages" in message
        before = sim.cluster.maps["flows", "flowdeps-ml"]
        assert '"download":3900000000' in before["metadata"]["annotations"][SIZE_ANNOTATION]
        await settled(sim)
        assert sizes(sim) == (39 * GB // 10, 75 * GB // 10)
        assert sim.cluster.pods.made["verify"] == 1
        assert sim.cluster.maps["flows", "flowdeps-ml"] == before

    play(script)


def test_how_far_a_long_installation_is_is_told_by_the_set() -> None:
    """While its trial installs, and no longer; a set that is in service is not bothered."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("ml", requirements=["torch"], **image())
        async with sim.operator():
            for _ in range(100):
                if "verify" in sim.cluster.pods.made:
                    break
                await asyncio.sleep(0.5)
            running = {"name": INSTALL_CONTAINER, "state": {"running": {}}}
            status = {"phase": "Pending", "initContainerStatuses": [running]}
            sim.cluster.pods.instead = (status, "flowdeps: installing: 1 of 9, under way: torch")
            await asyncio.sleep(MINUTE)
            assert conditions(sim)["Ready"][1] == "Verifying"
            assert conditions(sim)["Ready"][2].endswith(": 1 of 9, under way: torch")
            sim.cluster.pods.instead = None
            await asyncio.sleep(MINUTE)
            assert conditions(sim)["Ready"][1] == "Ready"
            assert "under way" not in str(conditions(sim))

    play(script)


def test_a_trial_that_runs_out_of_time_names_the_field_and_more_time_heals_it() -> None:
    """An installation that takes six minutes ends within the default time. Where a set gives it
    five, its condition names both; the imports have theirs in each case."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        late = {"name": INSTALL_CONTAINER, "state": {"terminated": {"exitCode": 124}}}
        said = (
            "flowdeps: flows/ml: the installation did not end within 300 seconds (1 of 9 packages"
            " are there): give it more by spec.verify.installTimeout; nothing was installed"
        )
        asked = {**image(), "verify": {"installTimeout": "5m"}}
        sim.cluster.apply("ml", requirements=["torch"], **asked)
        async with sim.operator():
            assert await _times(sim) == ("300", "300")
            sim.cluster.pods.instead = ({"phase": "Failed", "initContainerStatuses": [late]}, said)
            await asyncio.sleep(MINUTE)
            state, reason, message = conditions(sim)["Verified"]
            assert (state, reason) == ("False", "VerifyTimeout")
            assert "300 seconds" in message
            assert "spec.verify.installTimeout" in message
            sim.cluster.pods.instead = None
            sim.cluster.apply("ml", requirements=["torch"], **image())
            assert await _times(sim) == ("900", "300")
            await asyncio.sleep(MINUTE)
            assert conditions(sim)["Ready"][:2] == ("True", "Ready")

    play(script)


async def _times(sim: Simulation) -> tuple[str, ...]:
    """The seconds that the steps of the next trial have."""
    for _ in range(100):
        for pod, _since in sim.cluster.pods.pods.values():
            if pod["metadata"]["name"].startswith("flowdeps-verify"):
                steps = (*pod["spec"]["initContainers"], *pod["spec"]["containers"])
                values = [
                    one["value"]
                    for step in steps
                    for one in step["env"]
                    if one["name"] == "FLOWDEPS_TIMEOUT"
                ]
                return tuple(values)
        await asyncio.sleep(0.5)
    raise AssertionError("no trial")


def test_a_limit_is_the_configurations() -> None:
    """0 warns of none, and the size is told as ever."""

    async def script(sim: Simulation) -> None:
        sim.index.sizes = {"torch": 39 * GB // 10}
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("ml", requirements=["torch"], **image())
        await settled(sim)
        assert sizes(sim) == (39 * GB // 10, None)
        assert "large" not in conditions(sim)["Ready"][2]

    play(script, limits={"warnAboveSize": "0"})


def test_what_an_index_does_not_tell_is_in_no_status_and_no_annotation() -> None:
    """A lock of before sizes were known is served as it is, without a write."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("ml", requirements=["torch"], **image())
        await settled(sim)
        assert sizes(sim) == (None, None)
        before = sim.cluster.maps["flows", "flowdeps-ml"]
        assert SIZE_ANNOTATION not in before["metadata"]["annotations"]
        sim.index.sizes = {"torch": GB}
        await settled(sim)
        assert sim.cluster.maps["flows", "flowdeps-ml"] == before

    play(script)


def test_what_was_measured_stays_where_a_refresh_moves_no_pin() -> None:
    """The index may have begun to tell sizes meanwhile; both are known then."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage(installed=7 * GB)
        sim.cluster.apply("ml", requirements=["torch"], interval="1h", **image())
        async with sim.operator():
            await asyncio.sleep(10 * MINUTE)
            assert sizes(sim) == (None, 7 * GB)
            sim.index.sizes = {"torch": 3 * GB}
            changed = replace(sim.cluster.pods.images[IMAGE], installed=0)
            sim.cluster.pods.images[IMAGE] = changed
            await asyncio.sleep(2 * HOUR)
            assert sizes(sim) == (3 * GB, 7 * GB)

    play(script)


def test_a_run_that_is_ended_while_it_installs_is_told_to_its_set() -> None:
    """With what it lacked, the field and the size; however many end so, once in ten minutes. Who
    names a ConfigMap that is not of a set's lock tells nobody anything."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.pods.images[IMAGE] = MemoryImage(installed=7 * GB)
        sim.cluster.apply("ml", pools=["k"], requirements=["torch"], **image())
        lock = mounted_name("ml", pool="k")
        async with sim.operator():
            await asyncio.sleep(5 * MINUTE)
            assert conditions(sim)["Ready"][0] == "True"
            [copy] = [where for where in sim.cluster.maps if where[1] == lock]
            for killed, name in (("", lock), ("memory", "other"), ("memory", lock), ("disk", lock)):
                run = FailedInstall(copy[0], pod="run-1", lock=name, killed=killed)
                sim.cluster.failing.put_nowait(run)
            await asyncio.sleep(MINUTE)
            memory = (
                "InstallKilled: pod flows/run-1: flowdeps-install had too little memory: give it"
                " more by install.resources of the pool in the operator's configuration; by default"
                " it has the resources of the flow's container; the set takes 7.0 GB once it is"
                " installed"
            )
            assert _killed(sim) == [("ml", "Warning", memory)]
            await asyncio.sleep(10 * MINUTE)
            disk = FailedInstall(copy[0], pod="run-2", lock=lock, killed="disk (it is full)")
            sim.cluster.failing.put_nowait(disk)
            await asyncio.sleep(MINUTE)
            told = _killed(sim)[1:]
            assert len(told) == 1
            assert "flows/run-2: flowdeps-install had too little disk (it is full)" in told[0][2]
            assert "install.sizeLimit, and ephemeral-storage" in told[0][2]

    play(script)


def _killed(sim: Simulation) -> list[tuple[str, str, str]]:
    return [one for one in sim.cluster.events if one[2].startswith("InstallKilled")]
