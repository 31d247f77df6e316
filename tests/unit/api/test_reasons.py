"""Each reason has a kind, a meaning and, where somebody must act, a remedy."""

import pytest

from flowdeps.api.conditions import ConditionType, find_condition
from flowdeps.api.reasons import Reason, ReasonKind


@pytest.mark.parametrize("reason", Reason)
def test_a_row_of_the_table_is_complete(reason: Reason) -> None:
    """Its name is the one that users see, its description a sentence, its remedy a phrase."""
    assert reason.name.title().replace("_", "") == reason
    assert reason.description[0].isupper() or reason.description.startswith(
        ("spec.", "python.", "uv ")
    )
    assert reason.description.endswith(".")
    assert not reason.remedy.endswith(".")
    if reason.kind is not ReasonKind.FINE:
        assert reason.remedy


def test_each_kind_has_reasons() -> None:
    """The kinds are those that somebody can meet, and success waits for nobody."""
    assert {reason.kind for reason in Reason} == set(ReasonKind)
    assert Reason.READY.kind is Reason.SUSPENDED.kind is ReasonKind.FINE
    assert Reason.SYNCING.kind is ReasonKind.UNDER_WAY
    assert Reason.PENDING.is_making_lock
    assert not Reason.PUBLISHING.is_making_lock
    assert Reason.INDEX_UNAVAILABLE.kind is ReasonKind.RETRIED
    assert Reason.CONTENDED.kind is ReasonKind.MISSING
    assert Reason.CONFLICT.kind is ReasonKind.STALLED


@pytest.mark.parametrize(
    "reason",
    [
        *(Reason.INDEX_UNAUTHORIZED, Reason.CREDENTIALS_INVALID, Reason.PREFECT_UNAUTHORIZED),
        *(Reason.POOL_NOT_FOUND, Reason.NAMESPACE_NOT_FOUND, Reason.SOURCE_NOT_FOUND),
        *(Reason.IMAGE_UNAVAILABLE, Reason.IMAGE_UNKNOWN, Reason.IMAGE_UNUSABLE),
        *(Reason.PODS_FORBIDDEN, Reason.PODS_UNSCHEDULABLE, Reason.PODS_FAILED),
        *(Reason.VERIFY_TIMEOUT, Reason.FORBIDDEN, Reason.NAME_TAKEN, Reason.CONTENDED),
    ],
)
def test_what_only_a_person_ends_is_not_under_way_for_ever(reason: Reason) -> None:
    """At once or after a quarter of an hour, delivery tools call it failed."""
    assert reason.is_stalled or reason.may_be_missing


def test_a_reason_of_another_version_stays_a_text() -> None:
    """What a newer operator wrote is shown as it is, and taken for no reason of ours."""
    assert Reason.known("Conflict") is Reason.CONFLICT
    assert Reason.known("Brandnew") is None
    for text in ("Conflict", "Brandnew"):
        written = [{"type": "Ready", "status": "False", "reason": text, "message": "why"}]
        found = find_condition(written, ConditionType.READY)
        assert found is not None
        assert found.reason == text
        assert isinstance(found.reason, Reason) == (text == "Conflict")
