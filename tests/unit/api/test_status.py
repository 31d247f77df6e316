from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flowdeps.api.conditions import Condition, ConditionType, merge_conditions
from flowdeps.api.reasons import Reason
from flowdeps.api.status import (
    DerivedImageStatus,
    EnvironmentStatus,
    ImageStatus,
    LockStatus,
    PoolStatus,
    ProposedStatus,
    RevisionStatus,
    SetStatus,
    VulnerabilityStatus,
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
        image="registry.example.com/flows:1",
        served_since="2026-01-31T08:00:00Z",
    ),
    image=ImageStatus(
        name="registry.example.com/flows:1",
        id="registry.example.com/flows@sha256:" + "2" * 64,
        python="3.12.4",
        packages=57,
    ),
    environment=EnvironmentStatus(
        digest="sha256:" + "4" * 64,
        reference="registry.example.com/flowdeps/flows@sha256:" + "4" * 64,
        image="registry.example.com/flows:1",
        size=81_250_000,
        files=4210,
        import_seconds=1.25,
    ),
    images=(
        DerivedImageStatus(
            image="registry.example.com/flows:1",
            reference="registry.example.com/flowdeps/flows@sha256:" + "5" * 64,
            digest="sha256:" + "5" * 64,
            size=281_250_000,
        ),
    ),
    proposed=ProposedStatus(
        revision="ml-0123456789",
        digest="sha256:" + "3" * 64,
        proposed_at=NOW,
        summary="pandas 2.3.3 → 2.4.0",
    ),
    vulnerabilities=(
        VulnerabilityStatus(
            id="GHSA-0000-0000-0000",
            package="pandas",
            version="2.3.3",
            fixed="2.4.0",
            summary="reads more than it should",
        ),
        VulnerabilityStatus(id="CVE-2026-0001", package="pyarrow", version="21.0.0"),
    ),
    revisions=(
        RevisionStatus(
            name="ml-0123456789",
            digest="sha256:" + "3" * 64,
            created_at=NOW,
            summary="pandas 2.3.3 → 2.4.0",
            proposed=True,
        ),
        RevisionStatus(
            name="ml-3f9a1c20de",
            digest="sha256:" + "0" * 64,
            created_at=NOW,
            summary="pandas 2.3.2 → 2.3.3, +pyarrow 21.0.0",
        ),
    ),
    work_pools=(
        PoolStatus(
            name="kubernetes", key="ml", synced=True, namespaces=("jobs",), delivery="Image"
        ),
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


def test_no_known_vulnerability_is_not_the_same_as_none_looked_for() -> None:
    """A count of 0 is written and read; without a database there is no count."""
    assert SetStatus(vulnerabilities=()).to_dict() == {"vulnerabilityCount": 0}
    assert parse_status({"status": {"vulnerabilityCount": 0}}).vulnerabilities == ()
    assert parse_status({"status": {"vulnerabilities": []}}).vulnerabilities is None


COUNTS = {"workPools": {"workPoolsSynced"}, "vulnerabilities": {"vulnerabilityCount"}}
"""What is derived from a list goes with it."""
COUNTED = {"vulnerabilityCount": {"vulnerabilities"}}


@given(st.sampled_from(TOP), JSON)
def test_any_json_in_a_status_is_no_failure(name: str, value: Any) -> None:
    """Whatever stands in a field of the status, the rest is read and can be written again."""
    parsed = parse_status({"status": {**FULL.to_dict(), name: value}}).to_dict()
    others = FULL.to_dict().keys() - {name} - COUNTS.get(name, set()) - COUNTED.get(name, set())
    assert {one: parsed[one] for one in others} == {one: FULL.to_dict()[one] for one in others}


def test_too_much_is_cut_to_the_schemas_bounds() -> None:
    """More revisions and longer texts than the schema allows are cut, not written."""
    revision = RevisionStatus(name="a", digest="b", created_at=NOW, summary="x" * 5000)
    pool = PoolStatus(name="p", key="k", synced=False, namespaces=("n",) * 100, message="x" * 5000)
    found = VulnerabilityStatus(
        id="x" * 500, package="x" * 500, version="x" * 500, fixed="x" * 500, summary="x" * 500
    )
    status = SetStatus(
        image=ImageStatus(name="x" * 2000, id="x" * 2000, python="x" * 2000),
        proposed=ProposedStatus(revision="a", digest="b", proposed_at=NOW, summary="x" * 5000),
        vulnerabilities=(found,) * 200,
        revisions=(revision,) * 200,
        work_pools=(pool,) * 100,
        last_handled_refresh_at="x" * 500,
    ).to_dict()
    assert {name: len(text) for name, text in status["image"].items() if name != "packages"} == {
        "name": 1024,
        "id": 1024,
        "python": 32,
    }
    assert len(status["proposed"]["summary"]) == 1024
    assert len(status["vulnerabilities"]) == 50
    assert status["vulnerabilityCount"] == 200
    assert {name: len(text) for name, text in status["vulnerabilities"][0].items()} == {
        "id": 64,
        "package": 128,
        "version": 128,
        "fixed": 128,
        "summary": 256,
    }
    assert len(status["revisions"]) == 100
    assert len(status["revisions"][0]["summary"]) == 1024
    assert len(status["workPools"]) == 32
    assert len(status["workPools"][0]["namespaces"]) == 32
    assert len(status["workPools"][0]["message"]) == 1024
    assert len(status["lastHandledRefreshAt"]) == 128
