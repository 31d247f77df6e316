"""Counters that alerts watch."""

import pytest

from flowdeps.telemetry.metrics import Metrics


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("flowdeps_cleanups_total", {"outcome": "GivenUp"}),
        (
            "flowdeps_api_requests_total",
            {"target": "kubernetes", "method": "POST", "outcome": "403"},
        ),
    ],
)
def test_a_counter_is_there_before_its_first_event(name: str, labels: dict[str, str]) -> None:
    """Else an alert on its increase misses the first one, which may be the only one."""
    assert Metrics().registry.get_sample_value(name, labels) == 0
