"""The dashboard's queries are PromQL, and ask for what a running operator shows."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from flowdeps.telemetry.metrics import Metrics
from scripts.chart import CHART
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect_api import PrefectApi
from tests.integration.chart.promtool import Promtool, PromtoolError
from tests.support.fixtures import StartOperator
from tests.support.operator import Operator
from tests.support.sets import apply, set_body, wait, wait_ready, wait_reason

_DASHBOARD: dict[str, Any] = json.loads((CHART / "files" / "dashboard.json").read_text())
_TARGETS: list[tuple[str, str]] = [
    (target["expr"], target["legendFormat"])
    for panel in _DASHBOARD["panels"]
    for target in panel.get("targets", ())
]
_SERIES = re.compile(r"\b((?:flowdeps|process)_\w+)\{(.*?)\}")
_LABEL = re.compile(r'(\w+)(?:=~|!=|!~|=)"')
_OF_THE_TARGET = {"pod", "namespace"}
_PARTS = ("_bucket", "_sum", "_count")


def _rules() -> list[dict[str, Any]]:
    """The queries as recording rules, with Grafana's variables filled in."""
    queries = [query.replace("$__rate_interval", "5m") for query, _ in _TARGETS]
    rules = [
        {"record": f"panel:{number}:query", "expr": query.replace("$pod", ".*")}
        for number, query in enumerate(queries)
    ]
    return [{"name": "dashboard", "rules": rules}]


def test_every_query_is_promql(tmp_path: Path) -> None:
    """Prometheus' own parser takes each, and would not take any."""
    promtool, groups = Promtool(tmp_path), _rules()
    assert f"{len(_TARGETS)} rules found" in promtool.check(groups)
    broken = [{"name": "x", "rules": [{"record": "x", "expr": "sum(flowdeps_sets"}]}]
    with pytest.raises(PromtoolError):
        promtool.check(broken)


def _labels(operator: Operator) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in operator.get("/metrics")[1].splitlines():
        if line.startswith("# TYPE "):
            found.setdefault(line.split()[2], set())
        elif not line.startswith("#"):
            name, _, rest = line.partition("{")
            labels = set(re.findall(r'(\w+)="', rest)) if rest else set[str]()
            found.setdefault(name.split()[0], set()).update(labels)
    return found


def _defined() -> dict[str, set[str]]:
    """The labels of metrics that had nothing to show."""
    known: dict[str, set[str]] = {}
    for collector in vars(Metrics()).values():
        for family in getattr(collector, "describe", list)():
            for suffix in ("", "_total", *_PARTS):
                known[family.name + suffix] = set(collector._labelnames) | {"le"}
    return known


def test_every_query_asks_for_what_is_shown(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """Of an operator that has made, mended, refused and removed something, each metric of the
    dashboard is there, with each label that is selected, summed by or shown; only what needs a
    node, hours or a database has no series yet."""
    index.add("alpha", "1.0")
    prefect_api.create_pool("seen", image="example.com/flows:1")
    before = prefect_api.template("seen")
    operator = start_operator()
    apply(cluster, set_body("good", ["alpha"], pools=["seen"]), set_body("gone", ["alpha"]))
    apply(cluster, set_body("bad", ["nosuch"], pools=["seen"]))
    wait_ready(cluster, "good")
    wait_reason(cluster, "bad", "Unsatisfiable")
    prefect_api.set_template("seen", before)
    wait(
        lambda: operator.metric("flowdeps_template_drifts_total", pool="seen") > 0,
        what="the template to be mended",
    )
    apply(cluster, set_body("gone", ["alpha"], pools=["seen"]))
    wait_ready(cluster, "gone")
    cluster.kubectl("delete", "fds", "gone", "--timeout=180s")
    shown, defined, unseen = _labels(operator), _defined(), set()
    for expression, legend in _TARGETS:
        series = _SERIES.findall(expression)
        assert len(series) == len(re.findall(r"\b(?:flowdeps|process)_", expression)), expression
        labels = set()
        for name, selector in series:
            family = next((name.removesuffix(p) for p in _PARTS if name.endswith(p)), name)
            assert name in shown or family in shown, name
            if not shown.get(name):
                unseen.add(family)
            own = shown.get(name) or defined.get(name, set())
            assert set(_LABEL.findall(selector)) <= own | _OF_THE_TARGET, expression
            labels |= own
        kept = {one for by in re.findall(r"by \((.*?)\)", expression) for one in by.split(", ")}
        used = set(re.findall(r"\{\{(\w+)\}\}", legend))
        assert kept | used <= labels | _OF_THE_TARGET, expression
        assert not kept or used <= kept, legend
    needs_more = {
        *("flowdeps_verify_seconds", "flowdeps_probe_seconds"),  # a node
        "flowdeps_refresh_overdue_seconds",  # hours
        "flowdeps_vulnerabilities",  # a database
        "flowdeps_pass_failures_total",  # a failure
    }
    plain = {name for name, own in defined.items() if own == {"le"}} | {
        name for name in unseen if name.startswith("process_")
    }
    assert unseen - plain <= needs_more
