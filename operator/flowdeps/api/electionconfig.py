"""What the operator's configuration says about several operators of which one is active."""

from dataclasses import dataclass
from datetime import timedelta

from flowdeps.api.fields import Fields
from flowdeps.api.rules import check_namespace, check_object_name


@dataclass(frozen=True, kw_only=True)
class ElectionConfig:
    """The Lease that the active operator holds.

    Who does not renew it for `lease_duration` may be replaced; its holder stops writing
    `renew_deadline` after the last renewal, and tries each `retry_period`.
    """

    enabled: bool = False
    namespace: str = ""
    name: str = "flowdeps"
    lease_duration: timedelta = timedelta(seconds=15)
    renew_deadline: timedelta = timedelta(seconds=10)
    retry_period: timedelta = timedelta(seconds=2)

    @property
    def lease(self) -> str:
        """The Lease, as messages name it."""
        return f"{self.namespace}/{self.name}"


def parse_election(fields: Fields) -> ElectionConfig:
    """`leaderElection`."""
    default = ElectionConfig()
    enabled = fields.boolean("enabled") or False
    namespace = fields.text("namespace", limit=63, check=check_namespace)
    if enabled and not fields.has("namespace"):
        fields.problem("namespace", "missing; write the namespace that the operator runs in")
    name = fields.text("name", limit=253, check=check_object_name)
    times = {
        field: fields.duration(field) for field in ("leaseDuration", "renewDeadline", "retryPeriod")
    }
    for field, value in times.items():
        if value is not None and not value:
            fields.problem(field, "0s is no time; write 1s or more")
    lease = times["leaseDuration"] or default.lease_duration
    renew = times["renewDeadline"] or default.renew_deadline
    retry = times["retryPeriod"] or default.retry_period
    if lease > timedelta(hours=1):
        fields.problem("leaseDuration", "so long would nobody take over; write 1h or less")
    if renew >= lease:
        fields.problem(
            "renewDeadline",
            f"{_text(renew)} is not less than leaseDuration ({_text(lease)}); who could not renew"
            " must have stopped before another takes over",
        )
    if retry >= renew:
        fields.problem(
            "retryPeriod",
            f"{_text(retry)} is not less than renewDeadline ({_text(renew)}), so that one failure"
            " would end the operator; write a fifth of it",
        )
    fields.close()
    return ElectionConfig(
        enabled=enabled,
        namespace=namespace or default.namespace,
        name=name or default.name,
        lease_duration=lease,
        renew_deadline=renew,
        retry_period=retry,
    )


def _text(time: timedelta) -> str:
    return f"{time.total_seconds():.0f}s"
