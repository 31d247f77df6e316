"""`leaderElection` of the configuration: several operators, one of them active."""

from dataclasses import dataclass
from datetime import timedelta

from flowdeps.api.fields import Fields
from flowdeps.api.rules import check_namespace, check_object_name

_NO_TIME = "is no time; write 1s or more"


@dataclass(frozen=True, kw_only=True)
class ElectionConfig:
    """The Lease that the active operator holds."""

    enabled: bool = False
    namespace: str = ""
    name: str = "flowdeps"
    lease_duration: timedelta = timedelta(seconds=15)
    """Another operator may take over this long after the last renewal."""
    renew_deadline: timedelta = timedelta(seconds=10)
    """The holder stops writing this long after its last renewal."""
    retry_period: timedelta = timedelta(seconds=2)
    """How often the holder renews, and the others try to take over."""

    @property
    def lease(self) -> str:
        """The Lease, as messages name it."""
        return f"{self.namespace}/{self.name}"


def parse_election(fields: Fields) -> ElectionConfig:
    """Parse `leaderElection`."""
    namespace = fields.text("namespace", limit=63, check=check_namespace)
    if fields.values.get("enabled") is True and not fields.has("namespace"):
        fields.problem("namespace", "missing; write the namespace that the operator runs in")
    found = fields.build(
        ElectionConfig,
        enabled=fields.boolean("enabled"),
        namespace=namespace,
        name=fields.text("name", limit=253, check=check_object_name),
        lease_duration=fields.duration("leaseDuration", zero=_NO_TIME),
        renew_deadline=fields.duration("renewDeadline", zero=_NO_TIME),
        retry_period=fields.duration("retryPeriod", zero=_NO_TIME),
    )
    lease, renew = _seconds(found.lease_duration), _seconds(found.renew_deadline)
    if found.lease_duration > timedelta(hours=1):
        fields.problem("leaseDuration", "so long would nobody take over; write 1h or less")
    if found.renew_deadline >= found.lease_duration:
        fields.problem(
            "renewDeadline",
            f"{renew} is not less than leaseDuration ({lease}); an operator that cannot renew must"
            " have stopped before another takes over",
        )
    if found.retry_period >= found.renew_deadline:
        fields.problem(
            "retryPeriod",
            f"{_seconds(found.retry_period)} is not less than renewDeadline ({renew}), so that one"
            " failure would end the operator; write a fifth of it",
        )
    return found


def _seconds(time: timedelta) -> str:
    return f"{time.total_seconds():.0f}s"
