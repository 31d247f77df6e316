"""The alerts of the PrometheusRule are about metrics that exist, and lead to a page that does."""

import re
from typing import Any

import pytest

from flowdeps.telemetry.metrics import Metrics
from scripts.chart import CHART, ROOT
from scripts.chart.comments import leaves, read_values
from tests.integration.chart.helm import Helm, needed, one_of

_SERIES = re.compile(r"(flowdeps_\w+)\{([^}]*)\}")
_LABEL = re.compile(r"(\w+)(?:=~|!=|!~|=)")
_OF_THE_TARGET = {"namespace", "pod"}
_PAGE = (ROOT / "docs" / "how-to" / "monitoring.md").read_text()


@pytest.fixture(scope="module")
def alerts(helm: Helm) -> list[dict[str, Any]]:
    return _alerts(helm)


def _alerts(helm: Helm, **values: Any) -> list[dict[str, Any]]:
    rule = one_of(
        helm.template(needed(metrics={"prometheusRule": {"enabled": True, **values}})),
        "PrometheusRule",
    )
    (group,) = rule["spec"]["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def _labels_of_metrics() -> dict[str, set[str]]:
    """Each series that is scraped, with its labels."""
    metrics = Metrics()
    known = {}
    for collector in vars(metrics).values():
        for family in getattr(collector, "describe", list)():
            name = family.name + ("_total" if family.type == "counter" else "")
            known[name] = set(collector._labelnames)
    return known


def test_alerts_ask_for_metrics_that_exist(alerts: list[dict[str, Any]]) -> None:
    """Each name and label in an expression is one that the operator shows, or the target's; so is
    each label that a text fills in."""
    known = _labels_of_metrics()
    for alert in alerts:
        series = _SERIES.findall(alert["expr"])
        assert series, alert
        assert len(series) == alert["expr"].count("flowdeps_")
        for name, selector in series:
            assert set(_LABEL.findall(selector)) <= known[name] | _OF_THE_TARGET, alert
        kept = re.findall(r"by \(([\w, ]+)\)", alert["expr"])
        filled = set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]))
        assert filled <= {label for one in kept for label in one.split(", ")}, alert


def test_alerts_are_about_this_release(alerts: list[dict[str, Any]]) -> None:
    """Another operator's metrics raise none of ours: by namespace and pod; of metrics that have a
    namespace of their own by the pod."""
    known = _labels_of_metrics()
    for alert in alerts:
        for name, selector in _SERIES.findall(alert["expr"]):
            assert 'pod=~"flowdeps-.*"' in selector
            assert ('namespace="flowdeps"' in selector) == ("namespace" not in known[name])


def test_runbooks_lead_somewhere(alerts: list[dict[str, Any]]) -> None:
    """Each alert has a part of its own in docs/how-to/monitoring.md, in the same order, and its
    runbook is there."""
    parts = re.findall(r"^### (Flowdeps\w+)$", _PAGE, re.MULTILINE)
    assert parts == [alert["alert"] for alert in alerts]
    for alert in alerts:
        page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert page == "docs/how-to/monitoring.md"
        assert anchor == alert["alert"].lower()


def test_every_alert_can_be_left_out(helm: Helm, alerts: list[dict[str, Any]]) -> None:
    """Schema and docs/chart.md name all alerts and no other; what is disabled is gone, the rest has
    the labels that are asked for."""
    values = leaves(read_values((CHART / "values.yaml").read_text()))
    (disabled,) = (one for one in values if one.path[-2:] == ("prometheusRule", "disabled"))
    names = [one["alert"] for one in alerts]
    assert disabled.schema["items"]["enum"] == names
    page = (ROOT / "docs" / "chart.md").read_text()
    assert re.findall(r"^\| `(Flowdeps\w+)` \|", page, re.MULTILINE) == names
    rest = _alerts(helm, disabled=names[:-1], alertLabels={"team": "a"})
    assert [one["alert"] for one in rest] == names[-1:]
    assert rest[0]["labels"] == {"severity": "info", "team": "a"}
