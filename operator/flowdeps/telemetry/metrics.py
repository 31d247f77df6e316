"""The operator's metrics, in a registry of their own."""

import contextlib
import platform
from collections.abc import Callable, Collection, Iterator, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from flowdeps import __version__
from flowdeps.scheduling.clock import Clock, loop_time

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The operator's metrics; names, labels and units are an interface, see docs."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        text = "The running version of flowdeps and of Python."
        self.build = Info("flowdeps_build", text, registry=self.registry)
        self.build.info({"version": __version__, "python": platform.python_version()})

        # Sets and locks, as of the scrape
        self.sets = self._gauge(
            "sets", "Dependency sets by their Ready condition's status and reason.", "ready reason"
        )
        self.conditions = self._gauge(
            "set_conditions",
            "Dependency sets by each condition: its type, status and reason.",
            "type status reason",
        )
        self.stalled = self._gauge(
            "set_stalled_seconds",
            "How long a set has waited for a person (condition Stalled); the 100 longest.",
            "namespace set reason",
        )
        self.lock_age = self._gauge(
            "lock_age_seconds",
            "Seconds since the oldest lock in service in a namespace was resolved.",
            "namespace",
        )
        self.overdue = self._gauge(
            "refresh_overdue_seconds",
            "How late the most overdue refresh of a namespace is.",
            "namespace",
        )
        self.vulnerable = self._gauge(
            "vulnerabilities", "Known vulnerabilities of the pins in service.", "namespace set"
        )
        self.cleanups = self._counter(
            "cleanups",
            "Deleted sets that were removed everywhere (Done), or not everywhere (GivenUp).",
            "outcome",
        )

        # Making locks
        self.resolutions = self._histogram(
            "resolve_seconds",
            "Seconds that a resolution took, by outcome (Resolved or the condition's reason).",
            "outcome",
        )
        self.resolving = self._gauge(
            "resolutions_running", "Resolutions that run or wait for a resolver."
        )
        self.probes = self._histogram(
            "probe_seconds",
            "Seconds that inspecting an image took, including the wait for a turn, by outcome"
            " (Probed or the condition's reason).",
            "outcome",
        )
        self.verifications = self._histogram(
            "verify_seconds",
            "Seconds that verifying a lock in its image took, including the wait for a turn, by"
            " outcome (Verified or the condition's reason).",
            "outcome",
        )
        self.builds = self._histogram(
            "build_seconds",
            "Seconds that making the environment of a lock took, without the wait for a turn, by"
            " outcome (Built or the condition's reason).",
            "outcome",
        )
        self.pods = self._gauge(
            "pods_running",
            "Pods that inspect images, verify locks and make environments, or wait for their turn.",
        )

        # Pools
        self.pool_sets = self._gauge(
            "pool_sets",
            "Sets that name a pool, by their state in it (Synced or the condition's reason).",
            "pool reason",
        )
        self.template_writes = self._counter(
            "template_writes", "Writes of a pool's base job template.", "pool"
        )
        self.template_drifts = self._counter(
            "template_drifts",
            "How often a pool's base job template was changed by others and repaired.",
            "pool",
        )

        # Runs
        self.failed_installs = self._counter(
            "failed_installs",
            "Runs whose install container failed, by their namespace, since the operator started.",
            "namespace",
        )

        # The operator
        self.passes = self._histogram(
            "pass_seconds",
            "Seconds that a pass over a set, a pool or a namespace of runs took.",
            "kind",
        )
        self.failed_passes = self._counter(
            "pass_failures", "Passes that ended in an unexpected error and are retried.", "kind"
        )
        self.leader = self._gauge(
            "leader", "1 if this process is the active one, 0 if it is a standby."
        )
        self.stalls = self._counter(
            "loop_stalls",
            "How often the event loop has computed for more than a second without a turn.",
        )
        self.queue_ready = self._gauge("queue_ready", "Keys that wait for a worker.")
        self.queue_delayed = self._gauge("queue_delayed", "Keys that are due later.")
        self.queue_running = self._gauge("queue_running", "Passes that are running.")
        self.queue_age = self._gauge(
            "queue_oldest_seconds", "Seconds that the oldest waiting key has waited for a worker."
        )
        self.longest_pass = self._gauge(
            "queue_longest_pass_seconds", "Seconds that the longest running pass has taken so far."
        )
        self.api_calls = self._counter(
            "api_requests",
            "Requests to outside systems by target (kubernetes, prefect), method and outcome"
            " (HTTP status, or error if there was no answer).",
            "target method outcome",
        )
        self.api_seconds = self._histogram(
            "api_request_seconds",
            "Seconds until a request was answered or given up, including its retries.",
            "target method",
            buckets=_REQUEST_SECONDS,
        )
        # From the start on: an alert sees a counter rise only where it was seen before.
        for outcome in ("Done", "GivenUp"):
            self.cleanups.labels(outcome)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            self.api_calls.labels("kubernetes", method, "403")

    def observe_call(self, target: str) -> Callable[[str, str, float], None]:
        """Return what a client of `target` calls after each request: method, outcome, seconds."""

        def observe(method: str, outcome: str, seconds: float) -> None:
            self.api_calls.labels(target, method, outcome).inc()
            self.api_seconds.labels(target, method).observe(seconds)

        return observe

    def keep_pools(self, names: Collection[str]) -> None:
        """Drop the counters of all other pools."""
        for counter in (self.template_writes, self.template_drifts):
            samples = [sample for family in counter.collect() for sample in family.samples]
            for name in {sample.labels["pool"] for sample in samples} - set(names):
                counter.remove(name)

    def _gauge(self, name: str, text: str, labels: str = "") -> Gauge:
        return Gauge(f"flowdeps_{name}", text, labels.split(), registry=self.registry)

    def _counter(self, name: str, text: str, labels: str = "") -> Counter:
        return Counter(f"flowdeps_{name}", text, labels.split(), registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: str, *, buckets: Sequence[float] = _SECONDS
    ) -> Histogram:
        return Histogram(
            f"flowdeps_{name}", text, labels.split(), buckets=buckets, registry=self.registry
        )


@contextlib.contextmanager
def measured(histogram: Histogram, *, well: str, clock: Clock = loop_time) -> Iterator[None]:
    """Observe the seconds of a block under its outcome: `well`, or an error's `reason`.

    A block that is cancelled is not counted.
    """
    start = clock()
    try:
        yield
    except Exception as error:
        outcome = str(getattr(error, "reason", "InternalError"))
        histogram.labels(outcome).observe(clock() - start)
        raise
    histogram.labels(well).observe(clock() - start)
