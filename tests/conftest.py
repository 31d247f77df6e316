"""Fixtures for all tests: the harness's in tests/cluster, the operator's in tests/support."""

pytest_plugins = ["tests.cluster.fixtures", "tests.support.fixtures"]
