"""Each alert fires when it should and at no other time, in Prometheus' own words."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.integration.chart.helm import Helm, needed, one_of
from tests.integration.chart.promtool import Promtool, PromtoolError

Series = Mapping[str, str]

OURS = 'namespace="flowdeps",pod="flowdeps-1"'
OTHERS = 'namespace="elsewhere",pod="other-1"'
_PREFECT = f'target="prefect",method="GET",{OURS}'
_RECONCILING = f'type="Reconciling",{OURS}'
_STALLED = 'namespace="team",set="ml",pod="flowdeps-1"'

# An alert: the series with which it fires and after how many minutes; those with which it doesn't.
# Values stand for a minute each: `0+60x90` is a counter that grows by 60 a minute.
CASES: Mapping[str, tuple[Series, int, Series]] = {
    "FlowdepsDown": (
        {f"flowdeps_queue_ready{{{OTHERS}}}": "0x90"},
        11,
        {f"flowdeps_queue_ready{{{OURS}}}": "0x90"},
    ),
    "FlowdepsNoneActive": (
        {f"flowdeps_leader{{{OURS}}}": "0x90"},
        6,
        {
            f"flowdeps_leader{{{OURS}}}": "0x90",
            'flowdeps_leader{namespace="flowdeps",pod="flowdeps-2"}': "1x90",
        },
    ),
    "FlowdepsSetStalled": (
        {f'flowdeps_set_stalled_seconds{{reason="VerifyFailed",{_STALLED}}}': "0+60x90"},
        62,
        {f'flowdeps_set_stalled_seconds{{reason="VerifyFailed",{_STALLED}}}': "0+60x30 _x60"},
    ),
    "FlowdepsSetsNotReady": (
        {f'flowdeps_set_conditions{{reason="PodsForbidden",status="True",{_RECONCILING}}}': "2x90"},
        61,
        {f'flowdeps_set_conditions{{reason="Ready",status="True",type="Ready",{OURS}}}': "2x90"},
    ),
    "FlowdepsInstallsFail": (
        {'flowdeps_failed_installs_total{namespace="jobs",pod="flowdeps-1"}': "_x5 1+1x90"},
        30,
        {'flowdeps_failed_installs_total{namespace="jobs",pod="flowdeps-1"}': "0x60 1x30"},
    ),
    "FlowdepsQueueStuck": (
        {f"flowdeps_queue_oldest_seconds{{{OURS}}}": "400x90"},
        6,
        {f"flowdeps_queue_oldest_seconds{{{OURS}}}": "200x90"},
    ),
    "FlowdepsPassesFail": (
        {f'flowdeps_pass_failures_total{{kind="set",{OURS}}}': "0+1x90"},
        30,
        {f'flowdeps_pass_failures_total{{kind="set",{OURS}}}': "3x90"},
    ),
    "FlowdepsTemplateContended": (
        {f'flowdeps_template_drifts_total{{pool="k",{OURS}}}': "0+1x90"},
        60,
        {f'flowdeps_template_drifts_total{{pool="k",{OURS}}}': "7x90"},
    ),
    "FlowdepsPrefectFails": (
        {
            f'flowdeps_api_requests_total{{outcome="error",{_PREFECT}}}': "0+6x90",
            f'flowdeps_api_requests_total{{outcome="200",{_PREFECT}}}': "0+2x90",
        },
        30,
        {
            f'flowdeps_api_requests_total{{outcome="503",{_PREFECT}}}': "0+1x90",
            f'flowdeps_api_requests_total{{outcome="200",{_PREFECT}}}': "0+6x90",
        },
    ),
    "FlowdepsForbidden": (
        {
            'flowdeps_api_requests_total{target="kubernetes",method="POST",outcome="403",'
            f"{OURS}}}": "0 1x90"
        },
        10,
        {
            'flowdeps_api_requests_total{target="kubernetes",method="POST",outcome="409",'
            f"{OURS}}}": "0+1x90"
        },
    ),
    "FlowdepsRefreshOverdue": (
        {'flowdeps_refresh_overdue_seconds{namespace="team",pod="flowdeps-1"}': "90000x90"},
        61,
        {'flowdeps_refresh_overdue_seconds{namespace="team",pod="flowdeps-1"}': "7200x90"},
    ),
    "FlowdepsCleanupGivenUp": (
        {f'flowdeps_cleanups_total{{outcome="GivenUp",{OURS}}}': "0 1x90"},
        10,
        {f'flowdeps_cleanups_total{{outcome="Done",{OURS}}}': "0+1x90"},
    ),
    "FlowdepsVulnerable": (
        {'flowdeps_vulnerabilities{namespace="team",set="ml",pod="flowdeps-1"}': "2x90"},
        61,
        {'flowdeps_vulnerabilities{namespace="team",set="ml",pod="other-1"}': "2x90"},
    ),
}


@pytest.fixture(scope="module")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> Promtool:
    return Promtool(tmp_path_factory.mktemp("promtool"))


@pytest.fixture(scope="module")
def groups(helm: Helm) -> list[dict[str, Any]]:
    values = needed(metrics={"prometheusRule": {"enabled": True}})
    found: list[dict[str, Any]] = one_of(helm.template(values), "PrometheusRule")["spec"]["groups"]
    return found


def test_prometheus_accepts_the_rules(promtool: Promtool, groups: list[dict[str, Any]]) -> None:
    """`promtool check rules`, with its lint, finds every rule and nothing to complain about; it
    would."""
    assert f"{len(CASES)} rules found" in promtool.check(groups)
    broken = [{**groups[0], "rules": [{**groups[0]["rules"][0], "expr": "sum("}]}]
    with pytest.raises(PromtoolError, match="could not parse expression"):
        promtool.check(broken)


def test_every_alert_is_tried(groups: list[dict[str, Any]]) -> None:
    """No alert without a case below."""
    assert [rule["alert"] for rule in groups[0]["rules"]] == list(CASES)


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_when_it_should(
    promtool: Promtool, groups: list[dict[str, Any]], alert: str
) -> None:
    """With what it is about, after the time that it waits; not half way there, nor without."""
    firing, minutes, quiet = CASES[alert]
    promtool.test(groups, _fires(alert, firing, at=minutes, times=1))
    promtool.test(groups, _fires(alert, quiet, at=80, times=0))
    rule = next(one for one in groups[0]["rules"] if one["alert"] == alert)
    if "for" in rule:
        promtool.test(groups, _fires(alert, firing, at=minutes // 2, times=0))


@pytest.mark.parametrize("alert", CASES)
def test_what_an_alert_says_is_filled_in(
    promtool: Promtool, groups: list[dict[str, Any]], alert: str
) -> None:
    """Labels and values stand in its texts; nothing is missing, and it leads to its runbook."""
    firing, minutes, _ = CASES[alert]
    nothing = {"eval_time": f"{minutes}m", "alertname": alert, "exp_alerts": []}
    with pytest.raises(PromtoolError) as caught:
        promtool.test(groups, {**_input(firing), "alert_rule_test": [nothing]})
    said = str(caught.value)
    assert f"monitoring.md#{alert.lower()}" in said
    assert "{{" not in said
    assert "no value" not in said
    assert "error expanding" not in said


def _fires(alert: str, series: Series, *, at: int, times: int) -> dict[str, Any]:
    expression = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    samples = [{"labels": "{}", "value": times}] if times else []
    asked = {"expr": expression, "eval_time": f"{at}m", "exp_samples": samples}
    return {**_input(series), "promql_expr_test": [asked]}


def _input(series: Series) -> dict[str, Any]:
    found = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": "1m", "input_series": found}
