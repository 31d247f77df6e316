"""Fixtures for all tests: the harness's in tests/cluster, the operator's in tests/support."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.cluster.fixtures", "tests.support.fixtures"]

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("flowdeps", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# `make faults`
settings.register_profile(
    "faults", settings.get_profile("flowdeps"), max_examples=10_000, print_blob=True
)
settings.load_profile("flowdeps")
