"""Which requests to Prefect change something there."""

import pytest

from flowdeps.clients.prefect.announcements import writes


@pytest.mark.parametrize(
    ("method", "path", "changes"),
    [
        ("PATCH", "/api/work_pools/k", True),
        ("PATCH", "/api/artifacts/1", True),
        ("DELETE", "/api/artifacts/1", True),
        ("POST", "/api/artifacts/", True),
        ("POST", "/api/events", True),
        ("POST", "/api/events/filter", False),
        ("POST", "/api/artifacts/filter", False),
        ("POST", "/api/artifacts/latest/filter", False),
        ("POST", "/api/artifacts/latest/count", False),
        ("POST", "/api/deployments/filter", False),
        ("GET", "/api/work_pools/events", False),
    ],
)
def test_each_try_of_what_changes_something_is_checked(
    method: str, path: str, changes: bool
) -> None:
    """What only reads goes on while the operator may not write."""
    assert writes(method, path) is changes
