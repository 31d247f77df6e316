"""What probes say of a process whose loop is busy, or stands still."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from flowdeps.app.health import Candidate, Health
from flowdeps.leadership.election import Election
from flowdeps.scheduling.heartbeat import HUNG_SECONDS
from tests.unit.scheduling import virtual


def _health(**found: Any) -> Any:
    answers = {"alive": None, "ready": None, **found}
    return SimpleNamespace(**{name: lambda name=name: answers[name] for name in answers})


def _candidate(health: Any, *, still: float, lost: bool = False) -> Candidate:
    election = SimpleNamespace(active=True, lost=lost, problem=None)
    return Candidate(cast("Health", health), cast("Election", election), still=lambda: still)


def test_a_loop_that_stands_still_is_to_be_restarted_after_a_while() -> None:
    """A busy one is not: it answers within its minute."""
    assert _candidate(_health(), still=HUNG_SECONDS).alive() is None
    stuck = _candidate(_health(), still=HUNG_SECONDS + 1).alive()
    assert stuck == "the event loop has stood still for 61 s"


def test_what_the_loop_found_out_last_is_what_is_said() -> None:
    """Nothing of the work is read in another thread."""

    async def main() -> None:
        health = _health(ready="not listed yet")
        one = _candidate(health, still=0.0)
        assert one.ready() == "not listed yet"
        health.ready, health.alive = lambda: None, lambda: "stuck"
        assert (one.alive(), one.ready()) == (None, "not listed yet")
        observing = asyncio.create_task(one.observe())
        await asyncio.sleep(1.5)
        assert (one.alive(), one.ready()) == ("stuck", None)
        observing.cancel()

    virtual.run(main())


def test_a_lease_that_is_lost_is_a_reason_for_a_restart() -> None:
    """The process should have ended, and has not."""
    assert "Lease is lost" in str(_candidate(_health(), still=0.0, lost=True).alive())
