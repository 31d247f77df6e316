"""Gauges, brought up to date for each scrape from what the operator knows at that moment.

All are set again: what is gone has no series left. There is a series for each set only where few
sets have one, or where only the first are shown, so that ten thousand sets are no burden.
"""

import heapq
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from prometheus_client import Gauge

from flowdeps.api.conditions import ConditionType
from flowdeps.api.reasons import Reason
from flowdeps.api.times import parse_time
from flowdeps.reconcile.context import Context

STALLED_SHOWN = 100
_TYPES = frozenset(map(str, ConditionType))
_REASONS = frozenset(map(str, Reason))
_UNSEEN = {"status": "Unknown", "reason": "Pending"}


def refresh(context: Context) -> None:
    """Set every gauge to what is."""
    metrics, queue = context.metrics, context.queue.health()
    metrics.queue_ready.set(queue.ready)
    metrics.queue_delayed.set(queue.delayed)
    metrics.queue_running.set(queue.running)
    metrics.queue_age.set(queue.oldest_ready)
    metrics.longest_pass.set(queue.longest_running)
    metrics.resolving.set(context.resolutions.running())
    metrics.pods.set(len(context.running))
    _sets(context)
    verdicts: Counter[tuple[str, ...]] = Counter(
        (name, str(verdict.reason))
        for name, state in context.pool_states.items()
        for verdict in state.verdicts.values()
    )
    _fill(metrics.pool_sets, verdicts)


def _sets(context: Context) -> None:
    now = context.now()
    ready: Counter[tuple[str, ...]] = Counter()
    conditions: Counter[tuple[str, ...]] = Counter()
    # Times of one form, in UTC, are in order as texts; so few are parsed.
    stalled: list[tuple[str, tuple[str, ...]]] = []
    oldest: dict[tuple[str, ...], str] = {}
    due: dict[tuple[str, ...], str] = {}
    vulnerable: dict[tuple[str, ...], float] = {}
    for key, entry in context.store.sets.items():
        status: Mapping[str, Any] = entry.body.get("status") or {}
        reported = status.get("conditions") or ()
        found = {one["type"]: one for one in reported if one["type"] in _TYPES}
        conditions.update([(type_, one["status"], _reason(one)) for type_, one in found.items()])
        summary = found.get(ConditionType.READY, _UNSEEN)
        ready[summary["status"], _reason(summary)] += 1
        if one := found.get(ConditionType.STALLED):
            labels = (key.namespace, key.name, _reason(one))
            stalled.append((one["lastTransitionTime"], labels))
        where = (key.namespace,)
        if resolved := (status.get("lock") or {}).get("resolvedAt"):
            oldest[where] = min(resolved, oldest.get(where, resolved))
        if next_ := status.get("nextRefreshAt"):
            due[where] = min(next_, due.get(where, next_))
        if count := status.get("vulnerabilityCount"):
            vulnerable[key.namespace, key.name] = count
    metrics = context.metrics
    _fill(metrics.sets, ready)
    _fill(metrics.conditions, conditions)
    longest = heapq.nsmallest(STALLED_SHOWN, stalled)
    _fill(metrics.stalled, {labels: _since(since, now) for since, labels in longest})
    _fill(metrics.lock_age, {where: _since(text, now) for where, text in oldest.items()})
    late = {where: _since(text, now) for where, text in due.items()}
    _fill(metrics.overdue, {where: seconds for where, seconds in late.items() if seconds > 0})
    _fill(metrics.vulnerable, vulnerable)


def _reason(condition: Mapping[str, Any]) -> str:
    """The reason of a condition. Others may have written one: it makes no series of its own."""
    reason = condition["reason"]
    return str(reason) if reason in _REASONS else "Other"


def _since(text: str, now: datetime) -> float:
    """Seconds since a time; less than 0 where it is still to come."""
    time = parse_time(text)
    return (now - time).total_seconds() if time else 0.0


def _fill(gauge: Gauge, values: Mapping[tuple[str, ...], float]) -> None:
    gauge.clear()
    for labels, value in values.items():
        gauge.labels(*labels).set(value)
