from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flowdeps.api.conditions import Condition, ConditionType, merge_conditions
from flowdeps.api.reasons import Reason
from flowdeps.api.status import (
    LockStatus,
    PoolStatus,
    RevisionStatus,
    SetStatus,
    parse_status,
)
from tests.unit.api.test_resource import JSON

NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)
READY = Condition(ConditionType.READY, "True", Reason.READY, "served")
FULL = SetStatus(
    observed_generation=4,
    conditions=tuple(merge_conditions([], [READY], generation=4, now=NOW)),
    lock=LockStatus(
        digest="sha256:" + "0" * 64,
        revision="ml-3f9a1c20de",
        packages=12,
        python="3.12",
        platforms=("linux/amd64", "linux/arm64"),
        resolved_at=NOW,
        inputs_digest="sha256:" + "1" * 64,
    ),
    revisions=(
        RevisionStatus(
            name="ml-3f9a1c20de",
            digest="sha256:" + "0" * 64,
            created_at=NOW,
            summary="pandas 2.3.2 → 2.3.3, +pyarrow 21.0.0",
        ),
    ),
    work_pools=(
        PoolStatus(name="kubernetes", key="ml", synced=True, namespaces=("jobs",)),
        PoolStatus(name="other", key="ml", synced=False, message="not found; create it"),
    ),
    next_refresh_at=NOW,
    last_handled_refresh_at="2026-01-31T07:59:00.123+01:00",
)
TOP = tuple(FULL.to_dict())


def test_a_status_comes_back_as_it_was_written() -> None:
    """parse_status undoes to_dict, and to_dict is stable."""
    assert parse_status({"status": FULL.to_dict()}) == FULL
    assert parse_status({"status": FULL.to_dict()}).to_dict() == FULL.to_dict()


def test_the_pools_column_counts_those_that_offer_the_set() -> None:
    """workPoolsSynced is the synced pools out of all."""
    assert FULL.to_dict()["workPoolsSynced"] == "1/2"


def test_an_empty_status_writes_nothing() -> None:
    """What is absent has no field."""
    assert SetStatus().to_dict() == {}
    assert parse_status({}) == SetStatus()


@given(st.sampled_from(TOP), JSON)
def test_any_json_in_a_status_is_no_failure(name: str, value: Any) -> None:
    """Whatever stands in a field of the status, the rest is read and can be written again."""
    status = {**FULL.to_dict(), name: value}
    parsed = parse_status({"status": status})
    others = {key: item for key, item in FULL.to_dict().items() if key != name}
    written = parsed.to_dict()
    assert {
        key: written[key] for key in others if key != "workPoolsSynced" or name != "workPools"
    } == {
        key: item for key, item in others.items() if key != "workPoolsSynced" or name != "workPools"
    }


def test_too_much_is_cut_to_the_schemas_bounds() -> None:
    """More revisions and longer texts than the schema allows are cut, not written."""
    revision = RevisionStatus(name="a", digest="b", created_at=NOW, summary="x" * 5000)
    pool = PoolStatus(name="p", key="k", synced=False, namespaces=("n",) * 100, message="x" * 5000)
    status = SetStatus(
        revisions=(revision,) * 200, work_pools=(pool,) * 100, last_handled_refresh_at="x" * 500
    ).to_dict()
    assert len(status["revisions"]) == 100
    assert len(status["revisions"][0]["summary"]) == 1024
    assert len(status["workPools"]) == 32
    assert len(status["workPools"][0]["namespaces"]) == 32
    assert len(status["workPools"][0]["message"]) == 1024
    assert len(status["lastHandledRefreshAt"]) == 128
