"""What errors mean to a set, and that all chance of an operator is what it was given."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from flowdeps.api.reasons import Reason
from flowdeps.app.assembly import to_failure
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.resolver.errors import IndexUnavailableError, ResolveError, UnsatisfiableError
from flowdeps.trials.errors import TrialError
from tests.unit.reconcile.simulation import Simulation
from tests.unit.reconcile.test_life import OUTAGE
from tests.unit.scheduling import virtual


@pytest.mark.parametrize(
    ("error", "reason", "retry"),
    [
        (TrialError("m", reason=Reason.PODS_FAILED), Reason.PODS_FAILED, True),
        (TrialError("m", reason=Reason.VERIFY_FAILED, retry=False), Reason.VERIFY_FAILED, False),
        (UnsatisfiableError("m"), Reason.UNSATISFIABLE, False),
        (IndexUnavailableError("m"), Reason.INDEX_UNAVAILABLE, True),
        (ClusterError(403, "Forbidden", "m"), Reason.FORBIDDEN, True),
        (ClusterError(422, "Invalid", "m"), Reason.GATHERING, True),
        (PoolsError(Reason.PREFECT_UNAUTHORIZED, "m"), Reason.PREFECT_UNAUTHORIZED, True),
        (ZeroDivisionError("m"), Reason.INTERNAL_ERROR, True),
    ],
)
def test_an_error_keeps_its_reason_its_message_and_whether_to_try_again(
    error: Exception, reason: Reason, retry: bool
) -> None:
    """Of a request to the cluster the status decides; what nobody foresaw is tried again."""
    failure = to_failure(error, "reading x")
    assert (failure.reason, failure.message, failure.retry) == (reason, "m", retry)


@pytest.mark.parametrize("status", [0, 429, 500, 503, 504])
def test_an_overload_is_nothing_to_people(status: int) -> None:
    """It is tried again, and has no message that a status could tell."""
    failure = to_failure(ClusterError(status, "Unknown", "m"), "reading x")
    assert (failure.reason, failure.message, failure.retry) == (Reason.GATHERING, "", True)


def test_only_an_unforeseen_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With what was being done, and its traceback."""
    to_failure(ClusterError(500, "Unknown", "m"), "reading x")
    assert caplog.records == []
    to_failure(ZeroDivisionError(), "reading x")
    [record] = caplog.records
    assert record.getMessage() == "reading x failed"
    assert record.exc_info


def _kinds(kind: type[ResolveError]) -> Iterator[type[ResolveError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from _kinds(one)


def test_every_error_of_the_resolver_has_a_reason_of_ours() -> None:
    """None becomes an InternalError on its way."""
    for kind in _kinds(ResolveError):
        assert isinstance(kind.reason, Reason)
        assert kind.reason is not Reason.INTERNAL_ERROR


def test_two_operators_with_the_same_seed_do_the_same() -> None:
    """Through an outage of everything, with all its pauses: every write and event, in order."""

    def run(seed: int) -> list[object]:
        async def main() -> list[object]:
            sim = Simulation()
            sim.chance = random.Random(seed)
            times: list[object] = []
            sim.prefect.make("k")
            async with sim.operator() as service:
                handle = service.context.queue.handle

                async def noted(key: object) -> float | None:
                    times.append((virtual.now(), str(key)))
                    return await handle(key)  # type: ignore[arg-type]

                service.context.queue.handle = noted
                for name in ("ml", "etl"):
                    sim.cluster.apply(name, pools=["k"])
                await asyncio.sleep(5)
                sim.cluster.away, sim.prefect.outage = True, OUTAGE
                sim.cluster.apply("ml", pools=["k"], requirements=["numpy"])
                await asyncio.sleep(600)
                sim.cluster.away, sim.prefect.outage = False, None
                await asyncio.sleep(600)
            return [times, sim.cluster.events, sim.state()]

        return virtual.run(main())

    assert run(1) == run(1)
    assert run(1) != run(2)
