"""Trials while the API server does not answer, or answers no looks at pods."""

import asyncio
from typing import NoReturn

import pytest

from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.trials.errors import TrialError
from tests.unit.reconcile.simulation import MemoryCluster, MemoryImage
from tests.unit.scheduling import virtual
from tests.unit.trials.builders import IMAGE, TRIAL, verify


def cluster() -> MemoryCluster:
    """One with the image."""
    memory = MemoryCluster()
    memory.pods.images[IMAGE] = MemoryImage()
    return memory


async def away(memory: MemoryCluster, *, seconds: float, status: int) -> None:
    """From a moment in the life of a trial's pod on, looks at pods are answered like this."""

    async def refuse(*_: object) -> NoReturn:
        raise ClusterError(status, "Unknown", f"answered with {status}")

    await asyncio.sleep(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "get_pod", refuse)
        await asyncio.sleep(seconds)


@pytest.mark.parametrize("status", [0, 429, 500, 503])
def test_an_api_server_that_is_replaced_ends_no_trial(status: int) -> None:
    """Looks at the pod that fail for less than a minute are made again."""

    async def main() -> None:
        memory = cluster()
        told, _ = await asyncio.gather(verify(memory), away(memory, seconds=50, status=status))
        assert told.notes == "", "it does not succeed"
        assert memory.pods.pods == {}
        assert memory.maps == {}

    virtual.run(main())


def test_a_trial_that_is_given_up_leaves_its_lock_to_its_pod() -> None:
    """The pod that nobody could look at lives on, and so does its lock: whoever asks again finds
    both."""

    async def main() -> None:
        memory = cluster()
        outage = asyncio.create_task(away(memory, seconds=300, status=503))
        with pytest.raises(ClusterError):
            await verify(memory)
        await outage
        assert [len(memory.maps), len(memory.pods.pods)] == [1, 1]
        assert (await verify(memory)).notes == "", "it does not succeed"
        assert memory.pods.made == {"verify": 1}
        assert memory.pods.pods == {}
        assert memory.maps == {}

    virtual.run(main())


def test_what_no_wait_mends_is_told_at_once() -> None:
    """A role that may not look at pods."""

    async def main() -> None:
        memory = cluster()
        outage = asyncio.create_task(away(memory, seconds=300, status=403))
        with pytest.raises(ClusterError, match="answered with 403"):
            await verify(memory)
        assert virtual.now() < 6
        outage.cancel()

    virtual.run(main())


def test_a_pod_of_somebody_else_is_neither_believed_nor_deleted() -> None:
    """One that has the name of a trial's pod, and so could say that a lock works."""

    async def main() -> None:
        memory = cluster()
        name = f"flowdeps-verify-{TRIAL.short}"
        container = {"name": "theirs", "image": IMAGE}
        meta = {"namespace": TRIAL.namespace, "name": name, "uid": "theirs", "labels": {}}
        body = {"metadata": meta, "spec": {"containers": [container]}}
        memory.pods.pods[TRIAL.namespace, name] = (body, 0.0)
        with pytest.raises(TrialError, match="exists and is not flowdeps'"):
            await verify(memory)
        assert memory.pods.pods.keys() == {(TRIAL.namespace, name)}

    virtual.run(main())
