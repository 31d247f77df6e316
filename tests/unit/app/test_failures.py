"""Runs that fail to install are counted by their namespace, whatever becomes of the watch."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flowdeps.api.config import parse_config
from flowdeps.app.failures import count_failed_installs, scopes
from flowdeps.clients.kubernetes.client import FailedInstall
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.reconcile.context import Context
from flowdeps.telemetry.metrics import Metrics


class _Watches:
    """A cluster whose watches each bring namespaces, and then end or fail."""

    def __init__(self, *watches: tuple[list[str], int | None]) -> None:
        self.left = list(watches)

    async def failed_installs(self, namespace: str) -> AsyncIterator[FailedInstall | None]:
        assert namespace == "jobs"
        found, status = self.left.pop(0)
        if status == 403:
            raise ClusterError(403, "Forbidden", "may not watch")
        yield None
        for one in found:
            yield FailedInstall(one)
        if status:
            raise ClusterError(status, "Expired", "too old")


async def _count(monkeypatch: pytest.MonkeyPatch, cluster: _Watches) -> tuple[Metrics, list[float]]:
    """What was counted when all watches are over, and the pauses between them."""
    metrics, pauses = Metrics(), []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if not cluster.left:
            raise asyncio.CancelledError

    monkeypatch.setattr("flowdeps.app.failures.asyncio.sleep", sleep)
    context: Any = SimpleNamespace(cluster=cluster, metrics=metrics, jitter=lambda: 1.0)
    with pytest.raises(asyncio.CancelledError):
        await count_failed_installs(cast("Context", context), "jobs")
    return metrics, pauses


async def test_failures_are_counted_over_all_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ends after some minutes, and one that fails, are followed by another soon."""
    cluster = _Watches((["jobs"], None), (["jobs", "other"], 410), (["jobs"], None))
    metrics, pauses = await _count(monkeypatch, cluster)
    value = metrics.registry.get_sample_value
    assert value("flowdeps_failed_installs_total", {"namespace": "jobs"}) == 3
    assert value("flowdeps_failed_installs_total", {"namespace": "other"}) == 1
    assert all(0 < one < 10 for one in pauses)


async def test_a_role_that_does_not_allow_it_is_asked_again_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may be granted later; nothing else depends on it."""
    metrics, pauses = await _count(monkeypatch, _Watches(([], 403), (["jobs"], None)))
    assert pauses[0] == 300
    value = metrics.registry.get_sample_value
    assert value("flowdeps_failed_installs_total", {"namespace": "jobs"}) == 1


def test_runs_are_watched_where_the_role_allows_it() -> None:
    """Everywhere, or in the namespaces that the configuration names."""
    assert list(scopes(parse_config({}))) == [""]
    config = {
        "watchNamespaces": ["flows", "team"],
        "workPools": [{"name": "a", "jobNamespaces": ["jobs", "team"]}, {"name": "b"}],
        "owner": "test/test",
    }
    assert list(scopes(parse_config(config))) == ["flows", "jobs", "team"]
