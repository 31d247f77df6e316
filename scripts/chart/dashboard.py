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
        _stat(
            "Ready",
            "Sets whose lock is in service and offered by all their pools.",
            'sum(flowdeps_sets{ready="True",@})',
        ),
        _stat(
            "Not ready",
            "Sets in progress, retried, or waiting for a person; their last good locks serve.",
            'sum(flowdeps_sets{ready!="True",@}) or vector(0)',
        ),
        _stat(
            "Waiting for a person",
            "Sets with the condition Stalled: only a change helps.",
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
            title="Sets waiting for a person",
            about="How long each has waited; `flowdeps status NAMESPACE/NAME` shows what to do.",
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
            about="Known vulnerabilities of the pins in service, by set.",
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
            about="Time since it was resolved, by namespace.",
            unit="s",
            queries=(("max by (namespace) (flowdeps_lock_age_seconds{@})", "{{namespace}}"),),
        ),
        Panel(
            title="Late refreshes",
            about="How late the most overdue refresh of a namespace is.",
            unit="s",
            queries=(
                ("max by (namespace) (flowdeps_refresh_overdue_seconds{@})", "{{namespace}}"),
            ),
        ),
        Panel(
            title="In progress",
            about="Resolutions, including those that wait for a resolver; pods that inspect images"
            " and verify locks, or wait for their turn.",
            unit="short",
            queries=(
                ("sum(flowdeps_resolutions_running{@})", "resolutions"),
                ("sum(flowdeps_pods_running{@})", "pods"),
            ),
        ),
        Panel(
            title="Resolutions",
            about="Per hour, by outcome.",
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
            about="Time that uv takes, without the wait for a resolver.",
            unit="s",
            queries=_quantiles("flowdeps_resolve_seconds"),
        ),
        Panel(
            title="Time to verify a lock",
            about="From the request to the result of the pod in the image.",
            unit="s",
            queries=_quantiles("flowdeps_verify_seconds"),
        ),
        Panel(
            title="Verifications",
            about="Per hour, by outcome.",
            unit="short",
            queries=(
                (
                    "sum by (outcome) (increase(flowdeps_verify_seconds_count{@}[1h]))",
                    "{{outcome}}",
                ),
            ),
        ),
        Panel(
            title="Image inspections",
            about="Per hour, by outcome.",
            unit="short",
            queries=(
                (
                    "sum by (outcome) (increase(flowdeps_probe_seconds_count{@}[1h]))",
                    "{{outcome}}",
                ),
            ),
        ),
        Panel(
            title="Time to inspect an image",
            about="From the request to the result of the pod.",
            unit="s",
            queries=_quantiles("flowdeps_probe_seconds"),
        ),
    ),
    "Pools": (
        Panel(
            title="Sets by pool",
            about="By their state in the pool; all but Synced are in progress or have a problem.",
            unit="short",
            queries=(("sum by (pool, reason) (flowdeps_pool_sets{@})", "{{pool}} {{reason}}"),),
        ),
        Panel(
            title="Template writes",
            about="PATCHes per hour. A burst of changes needs only a few.",
            unit="short",
            queries=(
                ("sum by (pool) (increase(flowdeps_template_writes_total{@}[1h]))", "{{pool}}"),
            ),
        ),
        Panel(
            title="Drift and contention",
            about="Templates that others changed and flowdeps repaired, per hour; sets of pools"
            " where flowdeps backs off.",
            unit="short",
            queries=(
                (
                    "sum by (pool) (increase(flowdeps_template_drifts_total{@}[1h]))",
                    "{{pool}} repaired",
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
            "Operators that hold the Lease: 1, or no operator works.",
            "sum(flowdeps_leader{@})",
        ),
        _stat(
            "Version",
            "Running versions; two only during an upgrade.",
            "count by (version) (flowdeps_build_info{@})",
            legend="{{version}}",
        ),
        _stat(
            "Failed passes",
            "Per hour; each is retried.",
            "sum(increase(flowdeps_pass_failures_total{@}[1h])) or vector(0)",
        ),
        _stat(
            "Sets cleaned up",
            "Deleted sets per day; GivenUp: part of a set could not be removed.",
            "sum by (outcome) (increase(flowdeps_cleanups_total{@}[1d]))",
            legend="{{outcome}}",
        ),
        Panel(
            title="Queue",
            about="Keys that wait for a worker, and running passes.",
            unit="short",
            queries=(
                ("sum(flowdeps_queue_ready{@})", "wait"),
                ("sum(flowdeps_queue_running{@})", "run"),
                ("sum(flowdeps_queue_delayed{@})", "later"),
            ),
        ),
        Panel(
            title="Age of the queue",
            about="The oldest waiting key and the longest running pass; after 15 minutes the pod is"
            " restarted.",
            unit="s",
            queries=(
                ("max(flowdeps_queue_oldest_seconds{@})", "oldest key"),
                ("max(flowdeps_queue_longest_pass_seconds{@})", "longest pass"),
            ),
        ),
        Panel(
            title="Pass duration",
            about="Duration of a pass over a set or a pool; passes never wait, so they are short.",
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
            title="Request duration",
            about="Time until a request is answered or given up.",
            unit="s",
            queries=_quantiles("flowdeps_api_request_seconds", "target"),
        ),
        Panel(
            title="Memory",
            about="Resident memory of the operator, without the resolvers that it starts.",
            unit="bytes",
            queries=(("process_resident_memory_bytes{@}", "{{pod}}"),),
        ),
        Panel(
            title="CPU",
            about="CPU seconds per second.",
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
        "description": "Dependency sets of Prefect flows, and their operator.",
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
