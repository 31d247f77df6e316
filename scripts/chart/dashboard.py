"""The Grafana dashboard, files/dashboard.json of the chart.

Rows of panels, each a few queries. `$pod` are the operators that were chosen; a metric with a label
`namespace` of its own has the set's there, so everything is selected by the pod. `@` in a query
stands for that selector.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

SELECTOR = 'pod=~"$pod"'
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24

Query = tuple[str, str]
"""An expression, and what its series are called."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """`unit` is Grafana's; `kind` one of its visualizations."""

    title: str
    about: str
    unit: str
    queries: Sequence[Query]
    kind: str = "timeseries"
    width: int = 8
    height: int = 8


def _stat(title: str, about: str, query: str, *, unit: str = "short", legend: str = "") -> Panel:
    return Panel(
        title=title,
        about=about,
        unit=unit,
        queries=((query, legend),),
        kind="stat",
        width=6,
        height=4,
    )


def _quantiles(metric: str, by: str = "") -> tuple[Query, ...]:
    labels = f"le, {by}" if by else "le"
    name = f" {{{{{by}}}}}" if by else ""
    return tuple(
        (
            f"histogram_quantile({share}, sum by ({labels})"
            f" (rate({metric}_bucket{{@}}[$__rate_interval])))",
            f"{percent} %{name}",
        )
        for share, percent in (("0.5", 50), ("0.95", 95))
    )


ROWS: dict[str, tuple[Panel, ...]] = {
    "Health now": (
        _stat("Ready", "Sets whose lock is offered.", 'sum(flowdeps_sets{ready="True",@})'),
        _stat(
            "Not ready",
            "Sets that are under way, retried, or wait for a person; their last good locks serve.",
            'sum(flowdeps_sets{ready!="True",@}) or vector(0)',
        ),
        _stat(
            "Wait for a person",
            "Sets with the condition Stalled: only a change ends it.",
            'sum(flowdeps_set_conditions{type="Stalled",@}) or vector(0)',
        ),
        _stat(
            "Vulnerable",
            "Sets whose lock in service has known vulnerabilities.",
            "count(flowdeps_vulnerabilities{@}) or vector(0)",
        ),
        Panel(
            title="Sets by state",
            about="By the status and reason of Ready.",
            unit="short",
            queries=(("sum by (ready, reason) (flowdeps_sets{@})", "{{ready}} {{reason}}"),),
        ),
        Panel(
            title="Who waits for a person",
            about="For how long; `flowdeps status NAMESPACE/NAME` says what to do.",
            unit="s",
            queries=(
                (
                    "sort_desc(max by (namespace, set, reason) (flowdeps_set_stalled_seconds{@}))",
                    "{{namespace}}/{{set}} {{reason}}",
                ),
            ),
            kind="table",
        ),
        Panel(
            title="Known vulnerabilities",
            about="Of the pins in service, by set.",
            unit="short",
            queries=(
                (
                    "sort_desc(max by (namespace, set) (flowdeps_vulnerabilities{@}))",
                    "{{namespace}}/{{set}}",
                ),
            ),
            kind="table",
        ),
    ),
    "Locks": (
        Panel(
            title="Age of the oldest lock",
            about="Since it was resolved, by namespace.",
            unit="s",
            queries=(("max by (namespace) (flowdeps_lock_age_seconds{@})", "{{namespace}}"),),
        ),
        Panel(
            title="Late refreshes",
            about="By how much the refresh of a namespace that is due longest is late.",
            unit="s",
            queries=(
                ("max by (namespace) (flowdeps_refresh_overdue_seconds{@})", "{{namespace}}"),
            ),
        ),
        Panel(
            title="Under way",
            about="Locks that are made or wait for a resolver; pods that look into images and try"
            " locks, or wait for their turn.",
            unit="short",
            queries=(
                ("sum(flowdeps_resolutions_running{@})", "resolutions"),
                ("sum(flowdeps_pods_running{@})", "pods"),
            ),
        ),
        Panel(
            title="Resolutions",
            about="In an hour, by outcome.",
            unit="short",
            queries=(
                (
                    "sum by (outcome) (increase(flowdeps_resolve_seconds_count{@}[1h]))",
                    "{{outcome}}",
                ),
            ),
        ),
        Panel(
            title="Time to resolve",
            about="By uv; the wait for a resolver is not in it.",
            unit="s",
            queries=_quantiles("flowdeps_resolve_seconds"),
        ),
        Panel(
            title="Time to try a lock",
            about="In a pod in the image, from the question to the answer.",
            unit="s",
            queries=_quantiles("flowdeps_verify_seconds"),
        ),
        Panel(
            title="Trials",
            about="In an hour, by outcome.",
            unit="short",
            queries=(
                (
                    "sum by (outcome) (increase(flowdeps_verify_seconds_count{@}[1h]))",
                    "{{outcome}}",
                ),
            ),
        ),
        Panel(
            title="Looks into images",
            about="In an hour, by outcome.",
            unit="short",
            queries=(
                (
                    "sum by (outcome) (increase(flowdeps_probe_seconds_count{@}[1h]))",
                    "{{outcome}}",
                ),
            ),
        ),
        Panel(
            title="Time to look into an image",
            about="By a pod in it, from the question to the answer.",
            unit="s",
            queries=_quantiles("flowdeps_probe_seconds"),
        ),
    ),
    "Pools": (
        Panel(
            title="Sets by pool",
            about="By what the pool says of them; all but Synced are on their way, or in trouble.",
            unit="short",
            queries=(("sum by (pool, reason) (flowdeps_pool_sets{@})", "{{pool}} {{reason}}"),),
        ),
        Panel(
            title="Template writes",
            about="PATCHes in an hour. A burst of changes is few of them.",
            unit="short",
            queries=(
                ("sum by (pool) (increase(flowdeps_template_writes_total{@}[1h]))", "{{pool}}"),
            ),
        ),
        Panel(
            title="Drift and contention",
            about="Templates that others changed and flowdeps mended, in an hour; sets of pools"
            " where it stands back.",
            unit="short",
            queries=(
                (
                    "sum by (pool) (increase(flowdeps_template_drifts_total{@}[1h]))",
                    "{{pool}} mended",
                ),
                (
                    'sum by (pool) (flowdeps_pool_sets{reason="Contended",@})',
                    "{{pool}} contended",
                ),
            ),
        ),
    ),
    "Operator": (
        _stat(
            "Active",
            "Operators that hold the Lease: 1, or none is at work.",
            "sum(flowdeps_leader{@})",
        ),
        _stat(
            "Version",
            "What runs; two of them only during an upgrade.",
            "count by (version) (flowdeps_build_info{@})",
            legend="{{version}}",
        ),
        _stat(
            "Failed passes",
            "In an hour; each is tried again.",
            "sum(increase(flowdeps_pass_failures_total{@}[1h])) or vector(0)",
        ),
        _stat(
            "Sets cleaned up",
            "Deleted sets in a day; GivenUp: something of a set could not be taken out.",
            "sum by (outcome) (increase(flowdeps_cleanups_total{@}[1d]))",
            legend="{{outcome}}",
        ),
        Panel(
            title="Queue",
            about="Keys that wait for a worker, and passes under way.",
            unit="short",
            queries=(
                ("sum(flowdeps_queue_ready{@})", "wait"),
                ("sum(flowdeps_queue_running{@})", "run"),
                ("sum(flowdeps_queue_delayed{@})", "later"),
            ),
        ),
        Panel(
            title="Age of the queue",
            about="The oldest key that waits, and the longest pass; at 15 minutes the pod is"
            " restarted.",
            unit="s",
            queries=(
                ("max(flowdeps_queue_oldest_seconds{@})", "oldest key"),
                ("max(flowdeps_queue_longest_pass_seconds{@})", "longest pass"),
            ),
        ),
        Panel(
            title="Time of a pass",
            about="Over a set or a pool; a pass waits for nobody, so it is short.",
            unit="s",
            queries=_quantiles("flowdeps_pass_seconds", "kind"),
        ),
        Panel(
            title="Requests",
            about="To Kubernetes and Prefect, by outcome.",
            unit="reqps",
            queries=(
                (
                    "sum by (target, method, outcome)"
                    " (rate(flowdeps_api_requests_total{@}[$__rate_interval]))",
                    "{{target}} {{method}} {{outcome}}",
                ),
            ),
        ),
        Panel(
            title="Time of a request",
            about="Until it is answered or given up.",
            unit="s",
            queries=_quantiles("flowdeps_api_request_seconds", "target"),
        ),
        Panel(
            title="Memory",
            about="Resident, of the operator without the resolvers that it starts.",
            unit="bytes",
            queries=(("process_resident_memory_bytes{@}", "{{pod}}"),),
        ),
        Panel(
            title="Processors",
            about="Seconds of a processor in a second.",
            unit="short",
            queries=(("rate(process_cpu_seconds_total{@}[$__rate_interval])", "{{pod}}"),),
        ),
    ),
}


def text() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    return {
        "uid": "flowdeps",
        "title": "flowdeps",
        "description": "Dependency sets of Prefect flows, and the operator that keeps them.",
        "tags": ["flowdeps", "prefect"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                },
                _variable("namespace", "label_values(flowdeps_build_info, namespace)"),
                _variable("pod", 'label_values(flowdeps_build_info{namespace=~"$namespace"}, pod)'),
            ]
        },
        "panels": list(_panels()),
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": f"Operator's {name}",
        "type": "query",
        "datasource": _DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "current": {"text": "All", "value": "$__all"},
    }


def _panels() -> Iterator[dict[str, Any]]:
    number, y = 1, 0
    for title, panels in ROWS.items():
        place = {"x": 0, "y": y, "w": _WIDTH, "h": 1}
        yield {"id": number, "type": "row", "title": title, "gridPos": place, "panels": []}
        number, y, x, height = number + 1, y + 1, 0, 0
        for panel in panels:
            if x + panel.width > _WIDTH:
                x, y, height = 0, y + height, 0
            place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            yield {"id": number, "gridPos": place, **_panel(panel)}
            number, x, height = number + 1, x + panel.width, max(height, panel.height)
        y += height


def _panel(panel: Panel) -> dict[str, Any]:
    table = panel.kind == "table"
    targets = [
        {
            "refId": chr(ord("A") + number),
            "datasource": _DATASOURCE,
            "expr": expression.replace("@", SELECTOR),
            "legendFormat": legend,
            **({"instant": True, "format": "table"} if table else {}),
        }
        for number, (expression, legend) in enumerate(panel.queries)
    ]
    hidden = [{"id": "organize", "options": {"excludeByName": {"Time": True}}}]
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _DATASOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"showLegend": True, "placement": "bottom"}}
        if panel.kind == "timeseries"
        else {},
        "targets": targets,
        **({"transformations": hidden} if table else {}),
    }
