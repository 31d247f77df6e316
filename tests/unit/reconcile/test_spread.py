"""When pins are refreshed next."""

from datetime import UTC, datetime, timedelta

from flowdeps.reconcile.dependency_set.lock import next_refresh
from tests.unit.state.builders import entry, record

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_thousand_sets_of_one_age_do_not_wake_together() -> None:
    """Each has a time of its own, the same at each look, not before its interval is over and within
    a tenth of it afterwards; no minute has more than a few."""
    made = record(refreshed_at=START.isoformat())
    due = []
    for number in range(1000):
        one = entry(f"set-{number}", uid=f"uid-{number}", interval="24h")
        assert one.spec
        found = next_refresh(one, one.spec, made)
        assert found
        assert found == next_refresh(one, one.spec, made)
        due.append(found)
    assert min(due) >= START + DAY
    assert max(due) <= START + 1.1 * DAY
    minutes = [int((one - START).total_seconds() // 60) for one in due]
    assert max(map(minutes.count, minutes)) < 30
