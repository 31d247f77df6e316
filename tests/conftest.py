"""Fixtures for all tests: the harness's in tests/cluster, the operator's in tests/support."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.cluster.fixtures", "tests.support.fixtures", "tests.support.stalls"]

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("flowdeps", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("flowdeps")
