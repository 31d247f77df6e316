"""Fixtures for all tests: the harness's in tests/cluster, the operator's in tests/support."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.cluster.fixtures", "tests.support.fixtures", "tests.support.stalls"]

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("flowdeps", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# `make faults`, which says how many.
settings.register_profile(
    "faults",
    settings.get_profile("flowdeps"),
    max_examples=int(os.environ.get("FLOWDEPS_HISTORIES", "10000")),
    print_blob=True,
)
settings.load_profile("flowdeps")
