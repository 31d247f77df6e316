"""What a state of things reads like in a set's status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.status import parse_status
from flowdeps.reconcile.context import PoolState, Verdict
from flowdeps.reconcile.dependency_set.progress import Progress
from flowdeps.reconcile.dependency_set.status import build_status, patience_left
from flowdeps.resolver.errors import (
    IndexUnavailableError,
    LimitExceededError,
    ResolveError,
    ResolverError,
    UnsatisfiableError,
)
from flowdeps.state.config_maps import config_maps
from flowdeps.state.records import LockRecord
from flowdeps.state.store import ConfigMapView, SetEntry
from tests.unit.state.builders import HOME, ML, entry, record, revision, view

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(minutes=14)
LATER = NOW + timedelta(hours=1)

RESOLVED = Outcome.done(Reason.RESOLVED)
VERIFIED = Outcome.done(Reason.VERIFIED)
PUBLISHED = Outcome.done(Reason.PUBLISHED, "flowdeps-ml holds abc")
WAITS = Outcome.waits(Reason.PENDING, "waits for a lock")
SYNCED = Verdict(Reason.SYNCED)
LOCK = record("abc")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A situation, and the conditions that it amounts to: type → (status, reason)."""

    name: str
    resolved: Outcome = RESOLVED
    published: Outcome = PUBLISHED
    record: LockRecord | None = LOCK
    verdicts: Mapping[str, Verdict | None] = field(default_factory=lambda: {"k": SYNCED})
    ready: tuple[str, Reason]
    also: tuple[str, ...] = ()
    says: str = ""
    synced: tuple[str, Reason] | None = None


_UNSATISFIABLE = Outcome.failed(Reason.UNSATISFIABLE, "a and b do not fit together")
_OUTAGE = Outcome.failed(Reason.INDEX_UNAVAILABLE, "the index did not answer")
_IN_SERVICE = "(in service: ml-abc0000000)"

CASES = [
    Case(
        name="all is well",
        ready=("True", Reason.READY),
        says="3 packages, offered by 1 work pool",
    ),
    Case(
        name="no pool is named",
        verdicts={},
        ready=("True", Reason.READY),
        says="offered by 0 work pools",
        synced=("True", Reason.NO_POOLS),
    ),
    Case(
        name="the first lock is being made",
        resolved=Outcome.waits(Reason.RESOLVING, "uv is looking"),
        published=WAITS,
        record=None,
        verdicts={"k": Verdict(Reason.PENDING, "waits for the lock's ConfigMap")},
        ready=("False", Reason.RESOLVING),
        also=("Reconciling",),
        says="uv is looking",
        synced=("False", Reason.PENDING),
    ),
    Case(
        name="another lock is being made",
        resolved=Outcome.waits(Reason.RESOLVING, "uv is looking"),
        ready=("False", Reason.RESOLVING),
        also=("Reconciling",),
        says=f"uv is looking {_IN_SERVICE}",
    ),
    Case(
        name="requirements can't be met, no lock yet",
        resolved=_UNSATISFIABLE,
        published=WAITS,
        record=None,
        verdicts={"k": None},
        ready=("False", Reason.UNSATISFIABLE),
        also=("Stalled",),
        says="a and b do not fit together",
        synced=("False", Reason.PENDING),
    ),
    Case(
        name="requirements can't be met, a lock in service",
        resolved=_UNSATISFIABLE,
        ready=("False", Reason.UNSATISFIABLE),
        also=("Stalled",),
        says=f"a and b do not fit together {_IN_SERVICE}",
    ),
    Case(
        name="an outage of the index",
        resolved=_OUTAGE,
        ready=("False", Reason.INDEX_UNAVAILABLE),
        also=("Reconciling",),
        says="the index did not answer",
    ),
    Case(
        name="the resolver's limits",
        resolved=Outcome.failed(Reason.RESOLVER_LIMIT, "no resolution within 300 seconds"),
        ready=("False", Reason.RESOLVER_LIMIT),
        also=("Reconciling",),
    ),
    Case(
        name="a lock too large",
        resolved=Outcome.failed(Reason.LOCK_TOO_LARGE, "split the set"),
        ready=("False", Reason.LOCK_TOO_LARGE),
        also=("Stalled",),
    ),
    Case(
        name="an invalid spec",
        resolved=Outcome.failed(Reason.INVALID_SPEC, "spec.requirements[0]: no good"),
        ready=("False", Reason.INVALID_SPEC),
        also=("Stalled",),
        says="spec.requirements[0]: no good",
    ),
    Case(
        name="an older set has the name",
        published=Outcome.failed(Reason.CONFLICT, "the older set team/ml serves the key"),
        verdicts={"k": Verdict(Reason.CONFLICT, "the older set team/ml serves the key")},
        ready=("False", Reason.CONFLICT),
        also=("Stalled",),
        says="the older set team/ml",
        synced=("False", Reason.CONFLICT),
    ),
    Case(
        name="the API server refuses a write",
        published=Outcome.failed(Reason.FORBIDDEN, "configmaps is forbidden"),
        ready=("False", Reason.FORBIDDEN),
        also=("Reconciling",),
    ),
    Case(
        name="a pool does not admit the namespace",
        verdicts={"k": Verdict(Reason.NOT_ADMITTED, "the pool takes sets from team-*")},
        ready=("False", Reason.NOT_ADMITTED),
        also=("Stalled",),
        says='work pool "k": the pool takes sets from team-*',
        synced=("False", Reason.NOT_ADMITTED),
    ),
    Case(
        name="prefect is down",
        verdicts={"k": Verdict(Reason.PREFECT_UNAVAILABLE, "the Prefect API did not answer")},
        ready=("False", Reason.PREFECT_UNAVAILABLE),
        also=("Reconciling",),
        says='work pool "k": the Prefect API did not answer',
        synced=("False", Reason.PREFECT_UNAVAILABLE),
    ),
    Case(
        name="the pool is not there",
        verdicts={"k": Verdict(Reason.POOL_NOT_FOUND, "create it")},
        ready=("False", Reason.POOL_NOT_FOUND),
        also=("Reconciling",),
        synced=("False", Reason.POOL_NOT_FOUND),
    ),
    Case(
        name="something overwrites the pool",
        verdicts={"k": Verdict(Reason.CONTENDED, "something else")},
        ready=("False", Reason.CONTENDED),
        also=("Reconciling",),
        synced=("False", Reason.CONTENDED),
    ),
    Case(
        name="of several pools, what a person must mend is told first",
        verdicts={
            "a": SYNCED,
            "b": Verdict(Reason.PREFECT_UNAVAILABLE, "no answer"),
            "c": Verdict(Reason.NO_IMAGE, "give the pool an image"),
            "d": Verdict(Reason.PENDING, "waits"),
        },
        ready=("False", Reason.NO_IMAGE),
        also=("Stalled",),
        says='work pool "c": give the pool an image',
        synced=("False", Reason.NO_IMAGE),
    ),
    Case(
        name="the first failing step is the summary",
        resolved=_OUTAGE,
        published=Outcome.failed(Reason.FORBIDDEN, "forbidden"),
        verdicts={"k": Verdict(Reason.NOT_ADMITTED, "not admitted")},
        ready=("False", Reason.INDEX_UNAVAILABLE),
        also=("Reconciling",),
        synced=("False", Reason.NOT_ADMITTED),
    ),
    Case(
        name="a pool not looked at yet",
        verdicts={"k": None},
        ready=("False", Reason.PENDING),
        also=("Reconciling",),
        says="waits for the first look at the pool",
        synced=("False", Reason.PENDING),
    ),
]


def _findings(**fields: Any) -> dict[str, Any]:
    """What the steps of a reconcile have found, as fields of its progress."""
    return fields


def _entry(names: Sequence[str] = ("k",), **changes: Any) -> SetEntry:
    return entry(pools=list(names), **changes)


def _status(
    of: SetEntry,
    findings: Mapping[str, Any],
    *,
    verdicts: Mapping[str, Verdict | None] | None = None,
    views: Sequence[ConfigMapView] = (),
    now: datetime = NOW,
) -> dict[str, Any]:
    said = {"k": SYNCED} if verdicts is None else verdicts
    states = {
        name: PoolState(looked=True, verdicts={ML: verdict})
        for name, verdict in said.items()
        if verdict
    }
    return build_status(
        Progress(entry=of, **findings),
        views=views,
        namespaces={
            name: ["jobs"]
            for name, state in states.items()
            if all(one.reason is not Reason.NOT_ADMITTED for one in state.verdicts.values())
        },
        states=states,
        deliveries={},
        now=now,
    ).to_dict()


def _of(case: Case, of: SetEntry | None = None, *, now: datetime = NOW) -> dict[str, Any]:
    findings = _findings(
        resolved=case.resolved, verified=VERIFIED, published=case.published, record=case.record
    )
    return _status(of or _entry(list(case.verdicts)), findings, verdicts=case.verdicts, now=now)


def _conditions(status: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["type"]: one for one in status["conditions"]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_situation_reads_as_its_conditions(case: Case) -> None:
    """The summary and the steps say which step failed, why, and what is in service."""
    status = _of(case)
    found = _conditions(status)
    told = {type_: (one["status"], one["reason"]) for type_, one in found.items()}
    assert told["Ready"] == case.ready
    assert told["Resolved"] == (str(case.resolved.is_done), case.resolved.reason)
    assert told["Published"] == (str(case.published.is_done), case.published.reason)
    assert told["PoolsSynced"] == (case.synced or ("True", Reason.SYNCED))
    assert case.says in found["Ready"]["message"]
    assert tuple(t for t in found if t in ("Reconciling", "Stalled")) == case.also
    assert all(one["observedGeneration"] == 1 for one in found.values())


def _stalled() -> set[Reason]:
    return {reason for reason in Reason if reason.is_stalled}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_rules_of_kstatus_hold(case: Case) -> None:
    """A set that is ready is neither Reconciling nor Stalled; one that is not is exactly one of
    them, as True and with the summary's reason, so that tools know whether waiting helps."""
    found = _conditions(_of(case))
    extra = [found[type_] for type_ in ("Reconciling", "Stalled") if type_ in found]
    if found["Ready"]["status"] == "True":
        assert extra == []
        return
    [one] = extra
    assert (one["status"], one["reason"]) == ("True", found["Ready"]["reason"])
    assert (one["type"] == "Stalled") == (Reason.known(one["reason"]) in _stalled())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equal_findings_give_an_equal_status(case: Case) -> None:
    """The same state seen again, minutes later or after a restart, is no reason for a write."""
    names = list(case.verdicts)
    first = _of(case)
    assert _of(case, _entry(names, status=first), now=SOON) == first


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_after_a_restart_what_pools_said_last_still_stands(case: Case) -> None:
    """Before the first look at its pools, a restarted operator says of them what was said last."""
    names = list(case.verdicts)
    before = _of(case)
    findings = _findings(
        resolved=case.resolved, verified=VERIFIED, published=case.published, record=case.record
    )
    after = _status(_entry(names, status=before), findings, verdicts={}, now=SOON)
    assert after == before


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_somebody_has_to_make_is_waited_for_a_quarter_of_an_hour(case: Case) -> None:
    """Then the set is Stalled, which delivery tools call failed; an outage never is."""
    names = list(case.verdicts)
    first = _of(case)
    left = patience_left(parse_status({"status": first}), now=SOON)
    late = _of(case, _entry(names, status=first), now=SOON + timedelta(seconds=left or 3600))
    reason = Reason.known(_conditions(first)["Ready"]["reason"])
    assert reason is not None
    ready = _conditions(first)["Ready"]["status"] == "True"
    assert (left is not None) == (reason.may_be_missing and not ready)
    if left is None:
        assert late == first
        return
    assert left == 60.0
    assert "Reconciling" in _conditions(first)
    assert "Reconciling" not in _conditions(late)
    assert _conditions(late)["Stalled"]["reason"] == reason
    assert patience_left(parse_status({"status": late}), now=LATER) is None


def test_a_transition_moves_the_time_of_its_condition_alone() -> None:
    """lastTransitionTime is when the status changed, not when the message or another did."""
    ready = _of(CASES[0])
    findings = _findings(resolved=_OUTAGE, verified=VERIFIED, published=PUBLISHED, record=LOCK)
    after = _status(_entry(status=ready), findings, now=LATER)
    times = {type_: one["lastTransitionTime"] for type_, one in _conditions(after).items()}
    assert times == {
        "Ready": "2026-03-01T13:00:00Z",
        "Reconciling": "2026-03-01T13:00:00Z",
        "Resolved": "2026-03-01T13:00:00Z",
        "Verified": "2026-03-01T12:00:00Z",
        "Published": "2026-03-01T12:00:00Z",
        "PoolsSynced": "2026-03-01T12:00:00Z",
        "Built": "2026-03-01T12:00:00Z",
    }


@pytest.mark.parametrize("made", [LOCK, None])
def test_a_suspended_set_needs_nobody(made: LockRecord | None) -> None:
    """Suspended is asked for: neither under way nor stalled; ready as far as a lock is in
    service."""
    suspended = Outcome.failed(Reason.SUSPENDED, "spec.suspend is true; nothing is refreshed")
    published = PUBLISHED if made else WAITS
    findings = _findings(resolved=suspended, verified=VERIFIED, published=published, record=made)
    found = _conditions(_status(_entry(), findings))
    assert found["Ready"]["reason"] == "Suspended"
    assert found["Ready"]["status"] == ("True" if made else "False")
    assert not {"Reconciling", "Stalled"} & found.keys()


def test_a_suspended_set_whose_lock_is_not_where_it_belongs_says_so() -> None:
    """It is not ready, though nothing else is expected of it."""
    suspended = Outcome.failed(Reason.SUSPENDED, "spec.suspend is true; nothing is refreshed")
    refused = Outcome.failed(Reason.FORBIDDEN, "exceeded quota")
    findings = _findings(resolved=suspended, verified=VERIFIED, published=refused, record=LOCK)
    ready = _conditions(_status(_entry(), findings))["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "Suspended")
    assert "spec.suspend is true; nothing is refreshed; exceeded quota (in" in ready["message"]


def test_a_changed_spec_makes_the_word_of_pools_old() -> None:
    """What a pool said of another generation, under another key, is not said of this one."""
    before = _of(CASES[0])
    renamed = entry(
        pools=[{"name": "k", "key": "other"}], metadata={"generation": 2}, status=before
    )
    findings = _findings(resolved=RESOLVED, verified=VERIFIED, published=PUBLISHED, record=LOCK)
    found = _status(renamed, findings, verdicts={})
    [pool] = found["workPools"]
    assert (pool["key"], pool["synced"]) == ("other", False)
    assert _conditions(found)["PoolsSynced"]["status"] == "False"


def test_each_pool_is_shown_with_what_it_says() -> None:
    """status.workPools has one entry for each pool of the spec, in its order."""
    verdicts = {"b": SYNCED, "a": Verdict(Reason.NOT_ADMITTED, "not from here")}
    findings = _findings(resolved=RESOLVED, verified=VERIFIED, published=PUBLISHED, record=LOCK)
    status = _status(_entry(["b", "a"]), findings, verdicts=verdicts)
    assert status["workPools"] == [
        {"name": "b", "key": "ml", "synced": True, "namespaces": ["jobs"], "message": ""},
        {
            "name": "a",
            "key": "ml",
            "synced": False,
            "namespaces": [],
            "message": "not from here",
        },
    ]
    assert status["workPoolsSynced"] == "1/2"


def test_the_lock_and_its_revisions_are_those_in_the_cluster() -> None:
    """status.lock is the record in service; status.revisions are the ConfigMaps, newest first."""
    days = [f"2026-01-0{day}T00:00:00.000000+00:00" for day in (1, 2)]
    views = [revision(HOME, seed, at=day) for seed, day in zip("ab", days, strict=True)]
    findings = _findings(
        resolved=RESOLVED,
        verified=VERIFIED,
        published=PUBLISHED,
        record=record("b", at=days[1], refresh="now"),
        next_refresh=LATER,
    )
    status = _status(_entry(), findings, views=views)
    assert status["lock"]["revision"] == "ml-b000000000"
    assert status["lock"]["packages"] == 3
    assert [one["name"] for one in status["revisions"]] == ["ml-b000000000", "ml-a000000000"]
    assert [one["summary"] for one in status["revisions"]] == ["b", "a"]
    assert status["revisions"][0]["createdAt"] == "2026-01-02T00:00:00Z"
    assert status["nextRefreshAt"] == "2026-03-01T13:00:00Z"
    assert status["lastHandledRefreshAt"] == "now"


def test_a_revision_whose_time_was_taken_away_does_not_move_the_status() -> None:
    """An annotation that somebody removed from an old revision is no reason for a write a pass."""
    made = config_maps(entry(), HOME, record("a"), summary="")[0]
    bare = view(made)
    annotations = {k: v for k, v in bare.annotations.items() if not k.endswith("resolved-at")}
    damaged = ConfigMapView(**{**vars(bare), "annotations": annotations})
    findings = _findings(resolved=RESOLVED, verified=VERIFIED, published=PUBLISHED, record=LOCK)
    first = _status(_entry(), findings, views=[damaged])
    assert _status(_entry(status=first), findings, views=[damaged], now=LATER) == first


def test_a_message_of_any_length_fits_the_schema() -> None:
    """uv's explanation may have pages: the status is cut to what the API server accepts."""
    findings = _findings(
        resolved=Outcome.failed(Reason.UNSATISFIABLE, "because " * 5000),
        verified=VERIFIED,
        published=PUBLISHED,
        record=LOCK,
    )
    verdicts = {"k": Verdict(Reason.NOT_MERGEABLE, "x" * 9999)}
    status = _status(_entry(), findings, verdicts=verdicts)
    assert all(len(one["message"]) <= 4096 for one in status["conditions"])
    assert len(status["workPools"][0]["message"]) <= 1024


def test_every_reason_is_either_stalled_or_mends_itself() -> None:
    """Reasons that mean success or waiting are never Stalled."""
    fine = {Reason.READY, Reason.RESOLVED, Reason.PUBLISHED, Reason.SYNCED, Reason.NO_POOLS}
    under_way = {Reason.PENDING, Reason.RESOLVING, Reason.PUBLISHING, Reason.SYNCING}
    outages = {
        Reason.INDEX_UNAVAILABLE,
        Reason.RESOLVER_FAILED,
        Reason.RESOLVER_LIMIT,
        Reason.PREFECT_UNAVAILABLE,
        Reason.PREFECT_UNAUTHORIZED,
    }
    assert not _stalled() & (fine | under_way | outages | {Reason.SUSPENDED})


@pytest.mark.parametrize(
    "error",
    [
        ResolveError("x"),
        UnsatisfiableError("x"),
        IndexUnavailableError("x"),
        LimitExceededError("x"),
        ResolverError("x"),
    ],
)
def test_each_failure_of_a_resolution_has_a_reason(error: ResolveError) -> None:
    """What a resolver says is a reason that a condition may have, with a description."""
    assert isinstance(error.reason, Reason)
    assert error.reason.description
