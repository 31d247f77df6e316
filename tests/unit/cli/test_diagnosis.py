"""What `flowdeps status` says of a set follows from what was read, and answers every reason."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flowdeps.api.names import mounted_name
from flowdeps.api.reasons import Reason
from flowdeps.api.times import ago, format_time
from flowdeps.cli.diagnosis import Diagnosis, Mounted, Observed, diagnose

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DIGEST = f"sha256:{'a' * 64}"
STALLED = [reason for reason in Reason if reason.is_stalled]
_PAGE = Path(__file__).parents[3] / "docs" / "operations.md"


def condition(type_: str, status: str, reason: str, message: str = "why") -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": 1,
        "lastTransitionTime": format_time(NOW - timedelta(hours=3)),
    }


def body(
    *conditions: Mapping[str, Any],
    pools: tuple[Mapping[str, Any], ...] = (),
    lock: bool = True,
    meta: Mapping[str, Any] | None = None,
    **status: Any,
) -> dict[str, Any]:
    made = {
        "digest": DIGEST,
        "revision": "ml-aaaaaaaaaa",
        "packages": 12,
        "python": "3.12",
        "platforms": ["linux/amd64"],
        "resolvedAt": format_time(NOW - timedelta(days=2)),
        "inputsDigest": DIGEST,
    }
    return {
        "metadata": {
            "namespace": "flows",
            "name": "ml",
            "generation": 1,
            "creationTimestamp": format_time(NOW - timedelta(days=9)),
            **(meta or {}),
        },
        "spec": {},
        "status": {
            "observedGeneration": 1,
            "conditions": list(conditions),
            **({"lock": made} if lock else {}),
            "workPools": list(pools),
            **status,
        },
    }


READY = condition("Ready", "True", "Ready")
POOL = {"name": "k", "key": "ml", "synced": True, "namespaces": ["jobs"], "message": ""}
MOUNTED = ("jobs", mounted_name("ml", pool="k"))
OURS = {MOUNTED: Mounted(DIGEST, "flows/ml")}


def diagnosis_of(found: Observed | dict[str, Any]) -> Diagnosis:
    return diagnose(found if isinstance(found, Observed) else Observed(body=found), now=NOW)


def test_every_reason_has_its_answer_in_the_documentation() -> None:
    """What to do about a reason is one text: what the command says and docs/operations.md's last
    column are the same, for every reason; there is one where a set waits for a person."""
    table = _PAGE.read_text().partition("## Reasons")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| `")]
    documented = {name: row[2].strip() for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    plain = {name: re.sub(r"\[(.*?)\]\(.*?\)", r"\1", text) for name, text in documented.items()}
    assert plain == {str(reason): reason.remedy for reason in Reason}
    assert not [reason for reason in STALLED if not reason.remedy]


def test_what_a_pools_runs_should_know_is_a_note_and_no_trouble() -> None:
    """Of a set that is served; it is no reason why a key is missing from a template."""
    noted = {**POOL, "message": "runs that name no image get x:1"}
    found = diagnosis_of(
        Observed(body=body(READY, pools=(noted,)), offered={"k": ["ml"]}, mounted=OURS)
    )
    assert found.notes == ('work pool "k": runs that name no image get x:1',)
    assert [one.problem for one in found.serving] == [""]
    found = diagnosis_of(
        Observed(body=body(READY, pools=(noted,)), offered={"k": []}, mounted=OURS)
    )
    [one] = found.serving
    assert one.problem == "its template does not offer the key, though it should"


@pytest.mark.parametrize("reason", STALLED)
def test_a_set_that_waits_for_a_person_says_why_and_what_to_do(reason: Reason) -> None:
    """Each reason that only a person can end: its meaning, its message and what to do, once."""
    found = diagnosis_of(
        body(
            condition("Ready", "False", reason),
            condition("Stalled", "True", reason),
            condition("Resolved", "False", reason),
            condition("Published", "False", "Pending", "waits for a lock"),
            condition("PoolsSynced", "False", reason),
        )
    )
    assert (found.state, found.ready) == ("waits", False)
    [trouble] = found.troubles
    assert trouble.reason == reason
    assert trouble.meaning == reason.description
    assert trouble.message == "why"
    assert trouble.remedy == reason.remedy != ""


def test_credentials_that_an_index_refuses_are_a_trouble_of_their_own() -> None:
    """With the condition that is about them."""
    refused = "IndexUnauthorized"
    found = diagnosis_of(
        body(condition("Ready", "False", refused), condition("Authorized", "False", refused))
    )
    [trouble] = found.troubles
    assert (trouble.condition, trouble.reason) == ("Authorized", refused)
    assert "runs that install it now fail" in trouble.meaning


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ([READY], "done"),
        ([condition("Ready", "False", "Resolving")], "works"),
        ([condition("Ready", "False", "IndexUnavailable")], "retries"),
        ([condition("Ready", "True", "Suspended")], "suspended"),
        ([], "unseen"),
    ],
)
def test_the_state_is_what_happens_next(conditions: list[Any], state: str) -> None:
    """Done, under way, tried again, suspended, or not seen yet."""
    assert diagnosis_of(body(*conditions)).state == state


def test_a_reason_of_another_version_is_shown_as_it_is() -> None:
    """A newer operator's reason is no mistake of flowdeps: its message is the answer."""
    [trouble] = diagnosis_of(body(condition("Ready", "False", "Brandnew", "try this"))).troubles
    assert (trouble.reason, trouble.message, trouble.remedy) == ("Brandnew", "try this", "")
    assert "does not know it" in trouble.meaning


def test_what_is_well_is_no_trouble() -> None:
    """Of a set that is ready nothing is complained about: not that it has no image to try it in,
    nor that it has no vulnerabilities."""
    found = diagnosis_of(
        body(
            READY,
            condition("Verified", "Unknown", "NoImageToVerify"),
            condition("Vulnerable", "False", "NoVulnerabilities"),
            condition("Built", "Unknown", "NoEnvironments"),
        )
    )
    assert (found.ready, found.troubles, found.notes) == (True, (), ())
    found = diagnosis_of(body(READY, condition("Built", "False", "Building")))
    assert found.troubles == ()
    assert (found.revision, found.packages, found.python) == ("ml-aaaaaaaaaa", 12, "3.12")


@pytest.mark.parametrize(
    ("status", "reason"), [("False", "RegistryUnavailable"), ("Unknown", "NotBuilt")]
)
def test_why_a_ready_set_has_no_environment_is_shown_with_what_to_do(
    status: str, reason: str
) -> None:
    """The set stays ready: runs install its lock."""
    found = diagnosis_of(body(READY, condition("Built", status, reason)))
    [trouble] = found.troubles
    assert (found.ready, found.environment) == (True, None)
    assert (trouble.condition, trouble.reason, trouble.message) == ("Built", reason, "why")
    assert trouble.remedy == {one.value: one.remedy for one in Reason}[reason] != ""


def test_why_runs_install_although_there_is_an_environment_is_noted() -> None:
    """For each pool, as the condition has it."""
    ways = '; work pool "a" installs: the policy is gone; upgrade; work pool "b" installs: old'
    found = diagnosis_of(body(READY, condition("Built", "True", "Built", f"x is for i{ways}")))
    assert found.notes == (
        'work pool "a" installs: the policy is gone; upgrade',
        'work pool "b" installs: old',
    )


def test_vulnerabilities_are_shown_of_a_set_that_is_ready() -> None:
    """They are beside Ready, and shown all the same."""
    found = diagnosis_of(body(READY, condition("Vulnerable", "True", "VulnerabilitiesFound")))
    assert [one.reason for one in found.troubles] == ["VulnerabilitiesFound"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"meta": {"generation": 2}}, "of the spec as it was before"),
        ({"nextRefreshAt": format_time(NOW - timedelta(hours=1))}, "a refresh was due 1 h ago"),
        ({"meta": {"deletionTimestamp": format_time(NOW - timedelta(hours=1))}}, "takes too long"),
    ],
)
def test_an_answer_that_may_be_old_says_so(changes: Mapping[str, Any], said: str) -> None:
    """A spec that nobody took in, a refresh that did not come, a deletion that does not end: is
    the operator running?"""
    notes = diagnosis_of(body(READY, **changes)).notes
    assert any(said in note for note in notes)
    assert any("is the operator running" in note for note in notes)


def test_a_change_of_this_minute_accuses_nobody() -> None:
    """A pass takes a second: what was changed just now is not the fault of an operator."""
    managed = [{"time": format_time(NOW - timedelta(seconds=5)), "manager": "kubectl"}]
    found = diagnosis_of(body(READY, meta={"generation": 2, "managedFields": managed}))
    assert found.ready is False
    assert not any("is the operator running" in note for note in found.notes)


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        ({"mounted": OURS, "offered": {"k": ("ml",)}}, ""),
        ({}, ""),
        ({"mounted": OURS, "offered": {"k": ("other",)}}, "does not offer the key"),
        ({"mounted": {MOUNTED: None}}, f"no ConfigMap {MOUNTED[1]}"),
        ({"mounted": {MOUNTED: Mounted(DIGEST, "a/older")}}, "is of the set a/older"),
        ({"mounted": {MOUNTED: Mounted("sha256:b", "flows/ml")}}, "another lock"),
        ({"mounted": OURS, "offered": {}}, ""),
    ],
)
def test_what_runs_get_is_what_there_is(read: Mapping[str, Any], problem: str) -> None:
    """Not what the status says but what pools offer and runs mount, as far as that was read."""
    [one] = diagnosis_of(Observed(body=body(READY, pools=(POOL,)), **read)).serving
    assert bool(one.revision) == (not problem)
    assert problem in one.problem


def test_a_pool_that_was_never_looked_at_gives_nothing() -> None:
    """Where nobody knows where a pool's jobs run, what the status says of it is the answer."""
    pool = {**POOL, "synced": False, "namespaces": [], "message": "waits for the first look"}
    seen = Observed(body=body(READY, pools=(pool,)), offered={"k": ("ml",)})
    [one] = diagnosis_of(seen).serving
    assert one.problem == "waits for the first look"


def test_the_newest_events_come_first_and_no_more_than_five() -> None:
    """What happened last explains most."""
    events = [
        {"reason": f"r{n}", "message": "m", "eventTime": format_time(NOW - timedelta(minutes=n))}
        for n in range(1, 9)
    ]
    found = diagnosis_of(Observed(body=body(READY), events=events))
    assert found.events == tuple(f"{n} min ago: r{n}: m" for n in range(1, 6))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5, "5 s ago"),
        (90, "1 min ago"),
        (3660, "1 h 1 min ago"),
        (7200, "2 h ago"),
        (93600, "1 d 2 h ago"),
        (-5, "0 s ago"),
    ],
)
def test_times_are_written_in_their_two_largest_units(seconds: int, text: str) -> None:
    """Nobody counts seconds of days."""
    assert ago(NOW - timedelta(seconds=seconds), NOW) == text
