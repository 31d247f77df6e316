"""What the operator says of itself: metrics from their registry, events from their list."""

from prometheus_client.metrics import MetricWrapperBase

from flowdeps.api.events import Event
from flowdeps.api.reasons import Reason
from flowdeps.telemetry.metrics import Metrics
from scripts.reference.tables import code, table

_SUFFIX = {"counter": "_total", "info": "_info"}


def metrics() -> str:
    """Each metric as it is scraped, with its labels; those of the process are not ours."""
    made = Metrics()
    own = [one for one in vars(made).values() if isinstance(one, MetricWrapperBase)]
    labels = {family.name: one._labelnames for one in own for family in one.describe()}
    rows = []
    for family in made.registry.collect():
        if family.name.startswith("process_"):
            continue
        named = labels.get(family.name) or [name for one in family.samples for name in one.labels]
        rows.append(
            (
                code(family.name + _SUFFIX.get(family.type, "")),
                family.type,
                ", ".join(code(name) for name in dict.fromkeys(named) if name != "le"),
                family.documentation,
            )
        )
    return table(("metric", "type", "labels", "meaning"), sorted(rows))


def reasons() -> str:
    """Each reason, what it means, and what to do about it."""
    rows = []
    for reason in Reason:
        waits = " **Stalled.**" if reason.is_stalled else ""
        waits = " **Stalled** after 15 minutes." if reason.may_be_missing else waits
        rows.append((code(reason), reason.description + waits, reason.remedy))
    return table(("reason", "meaning", "what to do"), rows)


def events() -> str:
    """Events of their own, then those that conditions make."""
    rows = [(code(one), one.kind, one.description) for one in Event]
    rows.append(
        (code(Reason.VULNERABILITIES_FOUND), "Warning", Reason.VULNERABILITIES_FOUND.description)
    )
    silent = ", ".join(code(one) for one in Reason if one.is_under_way)
    return (
        table(("event", "type", "posted when"), rows)
        + "\nEvery other reason of `Ready` is an event's too, `Normal` while the set is ready and"
        f" `Warning` while it is not. Only steps under way make none: {silent}.\n"
    )
