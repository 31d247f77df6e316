"""Liveness and readiness.

Alive: the event loop turns, the queue moves, and the watch brings what a list finds. Ready: the
cluster's sets are known, and Prefect answers. An outage of Prefect is no reason for a restart.

Probes are answered in a thread of their own, so that a busy loop is not taken for one that hangs.
That thread reads what the loop has found out a moment ago, and nothing that the loop changes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from flowdeps.app.gauges import refresh
from flowdeps.leadership.election import Election
from flowdeps.reconcile.context import Context
from flowdeps.scheduling.heartbeat import HUNG_SECONDS

STUCK_SECONDS = 900.0
"""How long a key may wait or a reconcile may run; a resolution is neither."""
_OBSERVE_SECONDS = 1.0


@dataclass
class Health:
    """What the service's loops found out last."""

    context: Context
    listed: bool = False
    """Whether all sets were listed once."""
    silent_watch: str | None = None
    """Why the watch counts as dead; None: it does not."""
    last_event: float = float("-inf")
    """When the watch brought something last, in queue time."""
    prefect: str | None = "Prefect was not asked yet"
    """Why Prefect can't be used; None: it can."""
    failed_polls: int = 0
    """How many polls of Prefect failed in a row."""

    def alive(self) -> str | None:
        """Return why the process should be restarted; None: it should not."""
        queue = self.context.queue.health()
        if queue.oldest_ready > STUCK_SECONDS or queue.longest_running > STUCK_SECONDS:
            return (
                f"the queue is stuck: oldest key waits {queue.oldest_ready:.0f} s,"
                f" longest reconcile runs {queue.longest_running:.0f} s"
            )
        return self.silent_watch

    def ready(self) -> str | None:
        """Return what is missing to do the work; None: nothing."""
        if not self.listed:
            return "the cluster's dependency sets were not listed yet"
        return self.prefect

    def before_scrape(self) -> None:
        """Bring the gauges up to date."""
        refresh(self.context)


@dataclass
class Candidate:
    """The health of a process that may stand by; then it is ready to take over.

    Made in the loop of the work, which observes; asked in any thread.
    """

    health: Health
    election: Election | None
    """None: it is always active."""
    still: Callable[[], float]
    """Returns for how many seconds the loop has stood still."""
    _seen: tuple[str | None, str | None] = field(init=False)

    def __post_init__(self) -> None:
        self._observe()

    async def observe(self) -> NoReturn:
        """Find out how the work is, again and again."""
        while True:
            self._observe()
            await asyncio.sleep(_OBSERVE_SECONDS)

    def alive(self) -> str | None:
        """Return why the process should be restarted; None: it should not."""
        if self.election and self.election.lost:
            return "the Lease is lost, and the process did not end"
        if (seconds := self.still()) > HUNG_SECONDS:
            return f"the event loop has stood still for {seconds:.0f} s"
        return self._seen[0]

    def ready(self) -> str | None:
        """Return what is missing to do the work or to take over; None: nothing."""
        if self.election and not self.election.active:
            return self.election.problem
        return self._seen[1]

    def well(self) -> str:
        """Return what a ready process answers."""
        return self.election.standby() if self.election and not self.election.active else "ok"

    def _observe(self) -> None:
        self._seen = self.health.alive(), self.health.ready()
