"""Whether the operator does its work: liveness and readiness.

Alive: the queue moves, and the watch brings what a list finds. Ready: the cluster's sets are
known, and Prefect answers. An outage of Prefect is no reason for a restart.
"""

from dataclasses import dataclass

from flowdeps.app.gauges import refresh
from flowdeps.leadership.election import Election
from flowdeps.reconcile.context import Context

STUCK_SECONDS = 900.0
"""How long a key may wait or a pass may run; a resolution is neither."""


@dataclass
class Health:
    """What the service's loops found out last; `last_event` is in queue time."""

    context: Context
    listed: bool = False
    silent_watch: str | None = None
    last_event: float = float("-inf")
    prefect: str | None = "no look at Prefect yet"
    failed_polls: int = 0

    def alive(self) -> str | None:
        """Why the process should be restarted; None while it should not."""
        queue = self.context.queue.health()
        if queue.oldest_ready > STUCK_SECONDS or queue.longest_running > STUCK_SECONDS:
            return (
                f"the queue is stuck: oldest key waits {queue.oldest_ready:.0f} s,"
                f" longest pass runs {queue.longest_running:.0f} s"
            )
        return self.silent_watch

    def ready(self) -> str | None:
        """What is missing to do the work; None where nothing is."""
        if not self.listed:
            return "the cluster's dependency sets were not listed yet"
        return self.prefect

    def before_scrape(self) -> None:
        """Bring the gauges up to date."""
        refresh(self.context)


@dataclass
class Candidate:
    """The health of a process that may stand by: then it is ready, to take over."""

    health: Health
    election: Election | None
    """None: it is always active."""

    def alive(self) -> str | None:
        """Why the process should be restarted; None while it should not."""
        if self.election and self.election.lost:
            return "the Lease is lost, and the process did not end"
        return self.health.alive()

    def ready(self) -> str | None:
        """What is missing to do the work, or to take over."""
        if self.election and not self.election.active:
            return self.election.problem
        return self.health.ready()

    def well(self) -> str:
        """What a process says that is ready."""
        return self.election.standby() if self.election and not self.election.active else "ok"
