"""Candidates for a Lease on a real API server, with clocks that the test sets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowdeps.api.config import ElectionConfig
from flowdeps.clients.fence import Fence, FenceClosedError
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.leadership.election import Election, LostError
from tests.cluster.controlplane import ControlPlane

pytestmark = pytest.mark.cluster

_NAMESPACE = "default"
_SETTINGS = ElectionConfig(
    enabled=True,
    namespace=_NAMESPACE,
    name="elected",
    lease_duration=timedelta(seconds=15),
    renew_deadline=timedelta(seconds=10),
    retry_period=timedelta(seconds=1),
)


@dataclass
class Candidate:
    """One, with its fence and its clock."""

    election: Election
    fence: Fence
    now: float = 0.0

    @property
    def may_write(self) -> bool:
        """Whether its fence is open."""
        try:
            self.fence.check()
        except FenceClosedError:
            return False
        return True

    async def takes(self) -> bool:
        """Whether one look is enough to get the Lease."""
        return await self.election.try_once()


@pytest.fixture
async def candidate(
    cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[str], Any]]:
    """Makes candidates for a Lease that is not there yet."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    cluster.kubectl("delete", "lease", _SETTINGS.name, "-n", _NAMESPACE, "--ignore-not-found")
    async with AsyncExitStack() as stack:

        async def make(name: str) -> Candidate:
            client = await stack.enter_async_context(Cluster.connect())
            made: Candidate

            def clock() -> float:
                return made.now

            fence = Fence(clock=clock)
            election = Election(client, _SETTINGS, identity=name, fence=fence, clock=clock)
            made = Candidate(election, fence)
            return made

        yield make


def _patch(cluster: ControlPlane, **spec: Any) -> None:
    text = json.dumps({"spec": spec})
    cluster.kubectl("patch", "lease", _SETTINGS.name, "-n", _NAMESPACE, "--type=merge", "-p", text)


def _spec(cluster: ControlPlane) -> dict[str, Any]:
    text = cluster.kubectl("get", "lease", _SETTINGS.name, "-n", _NAMESPACE, "-o", "json")
    spec: dict[str, Any] = json.loads(text)["spec"]
    return spec


async def test_one_of_many_gets_it(candidate: Any) -> None:
    """However many reach for a new Lease, or for one that was given away, at once."""
    many = [await candidate(f"c{number}") for number in range(8)]
    assert sum(await asyncio.gather(*(one.takes() for one in many))) == 1
    assert [one.may_write for one in many] == [one.election.active for one in many]
    (first,) = (one for one in many if one.election.active)
    await first.election.release()
    others = [one for one in many if one is not first]
    assert sum(await asyncio.gather(*(one.takes() for one in others))) == 1
    assert not first.may_write


async def test_a_lease_that_was_not_renewed_is_taken_after_its_time(
    candidate: Any, cluster: ControlPlane
) -> None:
    """Not sooner, by the clock of the one that waits since it saw the Lease first."""
    first, second = await candidate("first"), await candidate("second")
    assert await first.takes()
    assert not await second.takes()
    second.now = 14.9
    assert not await second.takes()
    second.now = 15.0
    assert await second.takes()
    spec = _spec(cluster)
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("second", 1)


async def test_a_renewal_begins_the_time_anew(candidate: Any) -> None:
    """What counts is the last change that was seen."""
    first, second = await candidate("first"), await candidate("second")
    assert await first.takes()
    assert not await second.takes()
    second.now = 14.0
    first.now = 5.0
    assert await first.takes()  # it is its own: a renewal
    assert not await second.takes()
    second.now = 28.0
    assert not await second.takes()
    second.now = 29.0
    assert await second.takes()


@pytest.mark.parametrize("years", [-10, 10])
async def test_the_clocks_of_two_machines_are_never_compared(
    years: int, candidate: Any, cluster: ControlPlane
) -> None:
    """A holder whose clock is years behind or ahead is neither replaced at once nor for ever
    waited for."""
    first, second = await candidate("first"), await candidate("second")
    assert await first.takes()
    wrong = datetime.now(UTC) + timedelta(days=365 * years)
    _patch(cluster, renewTime=wrong.isoformat(timespec="microseconds"))
    assert not await second.takes()
    second.now = 15.0
    assert await second.takes()


async def test_the_holder_says_how_long_it_holds(candidate: Any, cluster: ControlPlane) -> None:
    """One that was started with a longer time, before an upgrade, is not cut short."""
    first, second = await candidate("first"), await candidate("second")
    assert await first.takes()
    _patch(cluster, leaseDurationSeconds=60)
    assert not await second.takes()
    second.now = 59.0
    assert not await second.takes()
    second.now = 60.0
    assert await second.takes()


async def test_the_fence_is_closed_before_another_may_take_over(candidate: Any) -> None:
    """By its own clock, without an answer of anybody: also in a process that was stopped."""
    first = await candidate("first")
    first.now = 100.0
    assert await first.takes()
    first.now = 109.9
    assert first.may_write
    first.now = 110.0
    assert not first.may_write


async def test_who_finds_another_holder_has_lost(candidate: Any) -> None:
    """At the next renewal, and nothing opens the fence again."""
    first, second = await candidate("first"), await candidate("second")
    assert await first.takes()
    assert not await second.takes()
    second.now = 15.0
    assert await second.takes()
    with pytest.raises(LostError, match="second"):
        await first.election.keep()
    assert first.election.lost
    assert not first.may_write
    assert second.may_write


async def test_a_lease_that_is_deleted_is_lost(candidate: Any, cluster: ControlPlane) -> None:
    """Somebody else may have made it anew and given it away since: it is not made again."""
    first = await candidate("first")
    assert await first.takes()
    cluster.kubectl("delete", "lease", _SETTINGS.name, "-n", _NAMESPACE)
    with pytest.raises(LostError, match="nobody"):
        await first.election.keep()


async def test_a_foreign_touch_takes_nothing_away(candidate: Any, cluster: ControlPlane) -> None:
    """An annotation, or an answer that was lost, makes the next renewal a conflict: the holder
    looks, and goes on."""
    first = await candidate("first")
    assert await first.takes()
    cluster.kubectl("annotate", "lease", _SETTINGS.name, "-n", _NAMESPACE, "a=b")
    before = _spec(cluster)["renewTime"]
    keeping = asyncio.create_task(first.election.keep())
    async with asyncio.timeout(30):
        while (await asyncio.to_thread(_spec, cluster))["renewTime"] == before:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert not keeping.done()
    keeping.cancel()
    await asyncio.wait({keeping})


async def test_what_is_given_away_is_still_there_and_free(
    candidate: Any, cluster: ControlPlane
) -> None:
    """The next one need not wait; who never had it gives nothing away."""
    first, second = await candidate("first"), await candidate("second")
    assert await first.takes()
    await second.election.release()
    assert _spec(cluster)["holderIdentity"] == "first"
    await first.election.release()
    assert not _spec(cluster).get("holderIdentity")
    second = await candidate("second")
    assert await second.takes()


async def test_only_its_holder_removes_it(candidate: Any, cluster: ControlPlane) -> None:
    """At the end of a cleanup the Lease goes too."""
    first, second = await candidate("first"), await candidate("second")
    assert await first.takes()
    await second.election.remove()
    assert _spec(cluster)["holderIdentity"] == "first"
    await first.election.remove()
    leases = cluster.kubectl("get", "lease", "-n", _NAMESPACE, "-o", "name")
    assert _SETTINGS.name not in leases
