from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flowdeps.api.conditions import (
    MESSAGE_LIMIT,
    Condition,
    ConditionType,
    find_condition,
    merge_conditions,
)
from flowdeps.api.reasons import Reason

NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
READY = Condition(ConditionType.READY, "True", Reason.READY, "served")
RESOLVED = Condition(ConditionType.RESOLVED, "True", Reason.RESOLVED)
STALLED = Condition(ConditionType.STALLED, "True", Reason.UNSATISFIABLE, "no versions fit")

conditions = st.lists(
    st.builds(
        Condition,
        st.sampled_from(ConditionType),
        st.sampled_from(("True", "False", "Unknown")),
        st.sampled_from(Reason),
        st.text(max_size=20),
    ),
    unique_by=lambda condition: condition.type,
)


@given(conditions, conditions)
def test_equal_conditions_leave_nothing_to_write(
    first: list[Condition], second: list[Condition]
) -> None:
    """Merging the same conditions again, in any order and at any time, gives an equal list."""
    old = merge_conditions([], first, generation=1, now=NOW)
    once = merge_conditions(old, second, generation=2, now=LATER)
    again = merge_conditions(once, second[::-1], generation=2, now=LATER + timedelta(days=1))
    assert again == once


def test_the_time_of_transition_changes_with_the_status_only() -> None:
    """A new reason or message keeps lastTransitionTime, a new status sets it."""
    old = merge_conditions([], [READY], generation=1, now=NOW)
    told = Condition(ConditionType.READY, "True", Reason.READY, "served, and told again")
    [kept] = merge_conditions(old, [told], generation=2, now=LATER)
    assert kept["lastTransitionTime"] == "2026-01-31T08:00:00Z"
    assert kept["observedGeneration"] == 2
    failed = Condition(ConditionType.READY, "False", Reason.UNSATISFIABLE, "no versions fit")
    [moved] = merge_conditions(old, [failed], generation=2, now=LATER)
    assert moved["lastTransitionTime"] == "2026-01-31T09:00:00Z"


def test_stalled_and_reconciling_are_there_only_while_true() -> None:
    """A Stalled or Reconciling that is not true is left out, as kstatus asks."""
    old = merge_conditions([], [READY, STALLED], generation=1, now=NOW)
    assert [item["type"] for item in old] == ["Ready", "Stalled"]
    over = [
        READY,
        Condition(ConditionType.STALLED, "False", Reason.READY),
        Condition(ConditionType.RECONCILING, "Unknown", Reason.PENDING),
    ]
    assert [item["type"] for item in merge_conditions(old, over, generation=1, now=NOW)] == [
        "Ready"
    ]


def test_what_no_longer_holds_is_dropped() -> None:
    """A condition that the new ones do not have is gone."""
    old = merge_conditions([], [READY, RESOLVED], generation=1, now=NOW)
    assert [item["type"] for item in merge_conditions(old, [READY], generation=1, now=NOW)] == [
        "Ready"
    ]


def test_malformed_old_conditions_are_no_failure() -> None:
    """Whatever stood in status before, the new conditions are written."""
    old: list[dict[str, Any]] = [
        {},
        {"type": "Ready"},
        {"type": "Ready", "status": "True", "lastTransitionTime": None},
    ]
    [item] = merge_conditions(old, [READY], generation=1, now=NOW)
    assert item["lastTransitionTime"] == "2026-01-31T08:00:00Z"


def test_a_long_message_is_cut_to_the_schemas_bound() -> None:
    """A message never makes a status write fail for its length."""
    long = Condition(ConditionType.READY, "False", Reason.UNSATISFIABLE, "x" * 10_000)
    [item] = merge_conditions([], [long], generation=1, now=NOW)
    assert len(item["message"]) == MESSAGE_LIMIT


def test_a_condition_is_found_by_its_type() -> None:
    """find_condition gives back what merge_conditions wrote."""
    written = merge_conditions([], [READY, STALLED], generation=1, now=NOW)
    assert find_condition(written, ConditionType.STALLED) == STALLED
    assert find_condition(written, ConditionType.RESOLVED) is None


def test_every_reason_is_one_word_with_a_description() -> None:
    """A reason fits the API conventions (CamelCase, within bounds) and says what it means."""
    for reason in Reason:
        assert reason.isalpha()
        assert reason[0].isupper()
        assert len(reason) <= 64
        assert reason.description.endswith(".")
