"""What Flux, and all that waits by kstatus, makes of our statuses."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.gitops.statuses import Situation, Told, all_told

KSTATUS: dict[Situation, str] = {
    "ready": "Current",
    "under way": "InProgress",
    "stuck": "Failed",
    "suspended": "Current",
    "suspended, no lock": "InProgress",
}


def compute(body: Mapping[str, Any]) -> str:
    """The rules of kstatus for a resource of a kind that it doesn't know, in their order."""
    metadata, status = body["metadata"], body.get("status", {})
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    if status.get("observedGeneration", metadata["generation"]) != metadata["generation"]:
        return "InProgress"
    for one in status.get("conditions", []):
        if one["status"] == "True" and one["type"] in {"Reconciling", "Stalled"}:
            return "InProgress" if one["type"] == "Reconciling" else "Failed"
    for one in status.get("conditions", []):
        if one["type"] == "Ready":
            return "Current" if one["status"] == "True" else "InProgress"
    return "Current"


@pytest.mark.parametrize("told", all_told(), ids=lambda told: told.name)
def test_each_situation_is_read_as_what_it_is(told: Told) -> None:
    """What is ready is waited for no more, what mends itself is waited for, what needs a person
    fails at once."""
    assert compute(told.body) == KSTATUS[told.situation]


@pytest.mark.parametrize("told", all_told(), ids=lambda told: told.name)
def test_a_changed_spec_is_in_progress(told: Told) -> None:
    """The status names the generation that it is about: an older one counts for nothing."""
    body = copy.deepcopy(told.body)
    body["metadata"]["generation"] += 1
    assert compute(body) == "InProgress"


@pytest.mark.parametrize("told", all_told(), ids=lambda told: told.name)
def test_the_summary_and_kstatus_agree(told: Told) -> None:
    """`kubectl wait --for=condition=Ready` ends when Flux goes on, and not before."""
    assert (told.ready["status"] == "True") == (compute(told.body) == "Current")
