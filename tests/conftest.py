"""Fixtures for all tests: the harness's in tests/cluster, the operator's in tests/support."""

import os
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.cluster.fixtures", "tests.support.fixtures", "tests.support.stalls"]

# How long an example takes says more about the machine's other work than about the code. The same
# examples each time, so that a run that fails says something of the change, not of chance.
settings.register_profile(
    "flowdeps", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
# `make faults`, which says how many, and which.
settings.register_profile(
    "faults",
    settings.get_profile("flowdeps"),
    derandomize=False,
    max_examples=int(os.environ.get("FLOWDEPS_HISTORIES", "10000")),
    print_blob=True,
)
settings.load_profile("flowdeps")

_MEASURED = "measured"


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes what a test has measured or counted, which is shown at the end."""
    return partial(record_property, _MEASURED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests have measured or counted, those of other processes, too."""
    for report in terminalreporter.getreports("passed"):
        for name, text in getattr(report, "user_properties", ()):
            if name == _MEASURED:
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {text}")
