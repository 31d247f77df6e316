"""Known vulnerabilities, from a directory of advisories as an operator without a way out has it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.support.fixtures import StartOperator
from tests.support.sets import (
    apply,
    condition,
    get_set,
    pins,
    resource_versions,
    set_body,
    wait,
    wait_ready,
    wait_reason,
)

FOUND = "vulnerabilities"


def advise(database: Path, number: int, *, name: str, fixed: str | None) -> None:
    """An advisory in OSV format: all versions up to `fixed` have a flaw, or all there are."""
    events = [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]
    record = {
        "id": f"GHSA-aaaa-bbbb-000{number}",
        "aliases": [f"CVE-2026-000{number}"],
        "summary": f"{name} eats files",
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": name},
                "ranges": [{"type": "ECOSYSTEM", "events": events}],
            }
        ],
    }
    (database / f"{number}.json").write_text(json.dumps(record))


def test_known_vulnerabilities_are_reported_blocked_and_passed_by(
    cluster: ControlPlane, index: Index, start_operator: StartOperator, tmp_path: Path
) -> None:
    """What is known against a lock in service is in its status and the metrics, and stays in
    service; with Block a lock that has it is not published and the last one stays; a fixed version
    may be younger than the cooldown; a database that has changed changes what is said."""
    young = datetime.now(UTC) - timedelta(hours=1)
    index.add("alpha", "1.0")
    index.add("alpha", "1.1", upload_time=young)
    index.add("beta", "1.0")
    index.add("gamma", "1.0")
    index.add("gamma", "1.1", upload_time=young)
    database = tmp_path / "osv"
    database.mkdir()
    advise(database, 1, name="alpha", fixed="1.1")
    advise(database, 2, name="beta", fixed=None)
    operator = start_operator(vulnerabilities={"database": str(database), "interval": "1m"})
    apply(
        cluster,
        set_body("reported", ["alpha<1.1", "beta", "gamma"]),
        set_body("blocked", ["gamma"], vulnerabilities="Block"),
        set_body("fixed", ["alpha", "gamma"], vulnerabilities="Block", index={"cooldown": "7d"}),
        set_body("refused", ["beta"], vulnerabilities="Block"),
    )
    body = wait_ready(cluster, "reported")
    assert pins(cluster, "reported") == "alpha==1.0 beta==1.0 gamma==1.1"
    found = body["status"][FOUND]
    assert [(one["id"], one["package"], one.get("fixed", "")) for one in found] == [
        ("CVE-2026-0001", "alpha", "1.1"),
        ("CVE-2026-0002", "beta", ""),
    ]
    assert body["status"]["vulnerabilityCount"] == 2
    said = condition(body, "Vulnerable")
    assert (said["status"], said["reason"]) == ("True", "VulnerabilitiesFound")
    assert "alpha 1.0 has CVE-2026-0001 (fixed in 1.1)" in said["message"]
    wait(
        lambda: operator.metric("flowdeps_vulnerabilities", set="reported") == 2,
        what="the metric",
    )
    assert operator.metric("flowdeps_vulnerabilities", set="blocked") == 0

    body = wait_ready(cluster, "fixed")
    assert pins(cluster, "fixed") == "alpha==1.1 gamma==1.0", "only what is fixed is younger"
    assert condition(body, "Vulnerable")["reason"] == "NoVulnerabilities"
    said = condition(wait_reason(cluster, "refused", "Vulnerable"), "Ready")
    assert "beta 1.0 has CVE-2026-0002 (no fixed version is known)" in said["message"]
    assert pins(cluster, "refused") == ""

    lock = wait_ready(cluster, "blocked")["status"]["lock"]
    apply(cluster, set_body("blocked", ["gamma", "beta"], vulnerabilities="Block"))
    body = wait_reason(cluster, "blocked", "Vulnerable")
    assert condition(body, "Stalled")["status"] == "True"
    assert body["status"]["lock"] == lock
    assert pins(cluster, "blocked") == "gamma==1.1"

    (database / "2.json").unlink()
    advise(database, 3, name="gamma", fixed=None)
    operator.down()
    operator.up()
    wait(
        lambda: (
            [one["package"] for one in get_set(cluster, "reported")["status"][FOUND]]
            == ["alpha", "gamma"]
        ),
        what="what the database says now",
    )
    wait_ready(cluster, "refused")
    assert pins(cluster, "refused") == "beta==1.0"
    wait(
        lambda: get_set(cluster, "blocked")["status"].get("vulnerabilityCount") == 1,
        what="what is in service to be known to have it",
    )
    wait_reason(cluster, "blocked", "Vulnerable")
    assert pins(cluster, "blocked") == "gamma==1.1"
    wait(lambda: operator.metric("flowdeps_vulnerabilities", set="fixed") == 1, what="the metric")


def test_without_a_database_nothing_is_pretended(
    cluster: ControlPlane, index: Index, start_operator: StartOperator, tmp_path: Path
) -> None:
    """A database that can't be read is named, in the condition and at once; without one there is
    no condition, no list and no count."""
    index.add("alpha", "1.0")
    missing = tmp_path / "missing"
    operator = start_operator(vulnerabilities={"database": str(missing)})
    apply(cluster, set_body("unknown", ["alpha"]))
    body = wait_ready(cluster, "unknown")
    said = condition(body, "Vulnerable")
    assert (said["status"], said["reason"]) == ("Unknown", "DatabaseUnavailable")
    assert f"{missing}: there is no such file" in said["message"]
    assert "vulnerabilityCount" not in body["status"]
    operator.stop()

    start_operator()
    wait(lambda: not condition(get_set(cluster, "unknown"), "Vulnerable"), what="no condition")
    assert FOUND not in get_set(cluster, "unknown")["status"]


def test_nothing_is_judged_before_the_database_is_read(
    cluster: ControlPlane, index: Index, start_operator: StartOperator, tmp_path: Path
) -> None:
    """A restart writes nothing of sets that are settled, and serves nothing that Block keeps back,
    though reading the database takes a while."""
    index.add("alpha", "1.0")
    database = tmp_path / "osv"
    database.mkdir()
    advise(database, 1, name="alpha", fixed=None)
    for number in range(3000):
        advise(database, 1000 + number, name=f"other-{number}", fixed=None)
    operator = start_operator(vulnerabilities={"database": str(database)})
    apply(cluster, set_body("told", ["alpha"]))
    wait_ready(cluster, "told")
    before = resource_versions(cluster, "fds", "cm")
    operator.down()
    operator.up()
    apply(cluster, set_body("kept-back", ["alpha"], vulnerabilities="Block"))
    wait_reason(cluster, "kept-back", "Vulnerable")
    assert pins(cluster, "kept-back") == ""
    now = resource_versions(cluster, "fds", "cm")
    assert {name: now[name] for name in before} == before
