import tracemalloc
from typing import Any

import pytest

from flowdeps.locks.requirements import parse_requirement
from flowdeps.vulnerabilities.matches import Vulnerability, exclusions, find_vulnerabilities, fixes
from flowdeps.vulnerabilities.osv import Builder, Database, RecordError


def record(name: str, *events: str, identity: str = "GHSA-1", **more: Any) -> dict[str, Any]:
    """A record about ``name``; an event is written ``introduced 0``."""
    pairs = [dict([event.split()]) for event in events]
    ranges = [{"type": "ECOSYSTEM", "events": pairs}] if pairs else []
    affected = {
        "package": {"ecosystem": "PyPI", "name": name},
        "ranges": ranges,
        "versions": more.pop("versions", []),
    }
    return {"id": identity, "summary": "It leaks", "affected": [affected], **more}


def database(*records: object) -> Database:
    builder = Builder()
    for one in records:
        builder.add(one)
    return builder.database()


def reported(known: Database, *pins: str) -> list[tuple[str, str, str]]:
    found = find_vulnerabilities(
        known, [(name, version) for name, version in (pin.split("==") for pin in pins)]
    )
    return [(one.package, one.id, one.fixed) for one in found]


def test_a_vulnerability_says_what_people_need() -> None:
    """Name, version, id, the fixed version, one line, severity, and the flaw's other names."""
    known = database(
        record(
            "Urllib_3",
            "introduced 0",
            "fixed 2.0.7",
            summary="  It\nleaks\x00 ",
            aliases=["CVE-2023-1", "PYSEC-2"],
            database_specific={"severity": "MODERATE"},
        )
    )
    assert find_vulnerabilities(known, [("urllib.3", "2.0.4")]) == (
        Vulnerability(
            package="urllib-3",
            version="2.0.4",
            id="CVE-2023-1",
            fixed="2.0.7",
            summary="It leaks�",
            severity="moderate",
            aliases=("GHSA-1", "PYSEC-2"),
            forbid=">=2.0.7",
        ),
    )


TWO_BRANCHES = ("introduced 0", "fixed 1.26.18", "introduced 2.0.0", "fixed 2.0.7")


@pytest.mark.parametrize(
    ("events", "version", "fixed"),
    [
        (("introduced 0", "fixed 2.0"), "1.9", "2.0"),
        (("introduced 0", "fixed 2.0"), "2.0", None),
        (("introduced 0", "fixed 2.0"), "2", None),
        (("introduced 0", "fixed 2.0"), "2.0rc1", "2.0"),
        (("introduced 0", "fixed 2.0"), "0.dev1", "2.0"),
        (("introduced 0", "fixed 2.0"), "2.0+cu118", None),
        (("introduced 0", "fixed 2.0"), "1.9+cu118", "2.0"),
        (("introduced 0", "fixed 10.0"), "9.0", "10.0"),
        (("introduced 0", "last_affected 1.5"), "1.5", ""),
        (("introduced 0", "last_affected 1.5"), "1.5+cu118", ""),
        (("introduced 0", "last_affected 1.5"), "1.5.0", ""),
        (("introduced 0", "last_affected 1.5"), "1.5.1", None),
        (("introduced 1.2",), "1.1", None),
        (("introduced 1.2",), "1.2", ""),
        (("introduced 1.2",), "99", ""),
        (("introduced 1.2", "last_affected 1.2"), "1.2", ""),
        (("introduced 1.2", "last_affected 1.2"), "1.3", None),
        (("introduced 0", "fixed 0.dev5"), "0.dev1", "0.dev5"),
        (TWO_BRANCHES, "1.26.17", "1.26.18"),
        (TWO_BRANCHES, "1.26.18", None),
        (TWO_BRANCHES, "2.0.4", "2.0.7"),
        (TWO_BRANCHES[::-1], "1.26.18", None),
        (TWO_BRANCHES[::-1], "2.0.4", "2.0.7"),
        (("introduced 0", "fixed 1!1.0"), "2024.1", "1!1.0"),
    ],
)
def test_a_range_holds_versions_as_pep_440_orders_them(
    events: tuple[str, ...], version: str, fixed: str | None
) -> None:
    """From `introduced` on, up to but without `fixed`, or with `last_affected`, in any order."""
    known = database(record("a", *events))
    expected = [] if fixed is None else [("a", "GHSA-1", fixed)]
    assert reported(known, f"a=={version}") == expected


def test_a_listed_version_is_affected_however_it_is_written() -> None:
    """A list counts beside ranges, and equal versions may be spelled differently."""
    known = database(record("a", "introduced 5", versions=["1.0", "2.0-RC1", "weird"]))
    for version in ("1.0", "1.0.0", "1+cpu", "2rc1", "weird", "5"):
        assert reported(known, f"a=={version}"), version
    for version in ("1.0.1", "2", "odd"):
        assert not reported(known, f"a=={version}"), version


def test_only_what_is_about_python_packages_and_valid_counts() -> None:
    """Other ecosystems, withdrawn records, ranges of commits or SemVer, and other names are left
    out; a package may stand in a record several times."""
    npm = record("a", "introduced 0")
    npm["affected"][0]["package"]["ecosystem"] = "npm"
    git = record("a", "introduced 0")
    git["affected"][0]["ranges"][0]["type"] = "GIT"
    semver = record("a", "introduced 0")
    semver["affected"][0]["ranges"][0]["type"] = "SEMVER"
    withdrawn = record("a", "introduced 0", withdrawn="2024-01-01T00:00:00Z")
    known = database(npm, git, semver, withdrawn, record("b", "introduced 0"))
    assert reported(known, "a==1") == []
    assert known.records == 3

    twice = record("a", "introduced 0", "fixed 1")
    twice["affected"] += record("A", "introduced 2", "fixed 3")["affected"]
    twice["affected"] += record("b", "introduced 2")["affected"]
    known = database(twice)
    assert reported(known, "a==0.5", "a==1", "a==2", "b==2") == [
        ("a", "GHSA-1", "1"),
        ("a", "GHSA-1", "3"),
        ("b", "GHSA-1", ""),
    ]


def test_a_flaw_that_is_told_several_times_is_reported_once() -> None:
    """By its CVE, also where only a third record links the advisories; others stay apart."""
    ends = ("introduced 0", "fixed 2")
    known = database(
        record("a", *ends, identity="PYSEC-2", summary="", aliases=["CVE-2"]),
        record("a", *ends, identity="GHSA-2", summary="Told well", aliases=["GHSA-3"]),
        record("a", *ends, identity="GHSA-0", summary="Also", aliases=["PYSEC-2", "GHSA-3"]),
        record("a", *ends, identity="MAL-1", aliases=[]),
        record("a", *ends, identity="PYSEC-9", aliases=["GHSA-9"]),
    )
    assert reported(known, "a==1") == [
        ("a", "CVE-2", "2"),
        ("a", "GHSA-9", "2"),
        ("a", "MAL-1", "2"),
    ]
    first = find_vulnerabilities(known, [("a", "1")])[0]
    assert first.summary == "Also"
    assert first.aliases == ("GHSA-0", "GHSA-2", "GHSA-3", "PYSEC-2")


def test_one_telling_is_enough_and_a_fix_satisfies_all() -> None:
    """Where advisories differ, what one calls affected is reported, and is no fix."""
    known = database(
        record("a", "introduced 0", "fixed 1.2", identity="GHSA-1", aliases=["CVE-1"]),
        record("a", "introduced 0", "fixed 1.3", identity="PYSEC-1", aliases=["CVE-1"]),
        record("b", "introduced 0", "fixed 1.2", identity="GHSA-2", aliases=["CVE-2"]),
        record("b", "introduced 0", identity="PYSEC-2", aliases=["CVE-2"]),
    )
    assert reported(known, "a==1.1", "a==1.2", "b==1.1", "b==1.2") == [
        ("a", "CVE-1", "1.3"),
        ("a", "CVE-1", "1.3"),
        ("b", "CVE-2", ""),
        ("b", "CVE-2", ""),
    ]


def test_vulnerabilities_are_sorted_and_said_once() -> None:
    """The order of pins and records doesn't matter, nor a pin for each of two platforms."""
    records = [record("b", "introduced 0"), record("a", "introduced 0")]
    records += [record("a", "introduced 0", identity="CVE-1")]
    one = reported(database(*records), "b==1", "a==1", "a==1")
    assert one == [("a", "CVE-1", ""), ("a", "GHSA-1", ""), ("b", "GHSA-1", "")]
    assert one == reported(database(*records[::-1]), "a==1", "b==1")
    assert database(*records).digest == database(*records[::-1]).digest
    assert database(*records).digest != database(*records[1:]).digest


@pytest.mark.parametrize(
    ("events", "versions", "lines"),
    [
        (("introduced 0", "fixed 2.0"), (), ("a>=2.0",)),
        (("introduced 0", "last_affected 1.5"), (), ("a>1.5",)),
        (("introduced 0",), (), ()),
        (("introduced 1.0",), (), ("a<1.0",)),
        (("introduced 1.0", "fixed 2.0"), (), ("a!=1.4",)),
        (("introduced 1.0", "last_affected 1.5"), (), ("a!=1.4",)),
        ((), ("1.4", "1.3", "weird"), ("a!=1.3,!=1.4",)),
        ((), (*(f"0.{n}" for n in range(40)), "1.4"), ("a!=1.4",)),
    ],
)
def test_exclusions_say_all_that_a_condition_can(
    events: tuple[str, ...], versions: tuple[str, ...], lines: tuple[str, ...]
) -> None:
    """The pin is forbidden, and with it what is known to be no better."""
    known = database(record("a", *events, versions=list(versions)))
    found = find_vulnerabilities(known, [("a", "1.4+cu118")])
    assert len(found) == 1
    assert exclusions(found) == lines
    assert not any(parse_requirement(line).specifier.contains("1.4+cu118") for line in lines)


def test_exclusions_and_fixes_are_said_once() -> None:
    """Several flaws of one package give one line where they say the same, and one bound: that of
    the fix that mends them all."""
    ends = ("introduced 0", "fixed 2")
    known = database(
        record("b", *ends),
        record("b", *ends, identity="GHSA-2"),
        record("b", "introduced 1", "fixed 10", identity="GHSA-3"),
        record("a", "introduced 1"),
    )
    found = find_vulnerabilities(known, [("b", "1"), ("a", "1")])
    assert exclusions(found) == ("a<1", "b!=1", "b>=2")
    assert exclusions(found, before=True) == ("a<1", "b<1", "b>=2")
    assert fixes(found) == {"b": "b<=10"}


@pytest.mark.parametrize("broken", [None, 1, "x", [], {}, {"id": 3}, {"id": ""}])
def test_what_is_no_record_is_refused(broken: object) -> None:
    """A caller can count what couldn't be read."""
    with pytest.raises(RecordError, match="an object with an id"):
        Builder().add(broken)


@pytest.mark.parametrize(
    "affected",
    [
        None,
        3,
        [3, None, {}],
        [{"package": "a"}],
        [{"package": {"ecosystem": "PyPI", "name": 3}}],
        [{"package": {"ecosystem": "PyPI", "name": "a"}, "ranges": 3, "versions": "1"}],
        [{"package": {"ecosystem": "PyPI", "name": "a"}, "ranges": [3], "versions": [1]}],
        record("a", "introduced 0", "fixed weird")["affected"],
        record("a", "introduced weird")["affected"],
        record("a", "fixed 2")["affected"],
        record("a", f"introduced {'9' * 5000}")["affected"],
    ],
)
def test_a_broken_part_of_a_record_affects_nothing(affected: object) -> None:
    """No type or version, whatever it is, raises; a range that isn't understood is left out."""
    known = database({"id": "X", "affected": affected, "aliases": [1], "summary": 3})
    assert reported(known, "a==1", "a==weird", f"a=={'9' * 5000}") == []


@pytest.mark.slow
def test_a_large_database_is_small_in_memory() -> None:
    """25,000 records, most of them about malicious packages, take less than 40 MiB."""
    tracemalloc.start()
    try:
        known = _large()
        size, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"25,000 records: {size / 2**20:.1f} MiB, {peak / 2**20:.1f} MiB while reading")
    assert known.records == 25_000
    assert size < 40 * 2**20


def _many(number: int) -> dict[str, Any]:
    if number % 4:
        return record(
            f"bad-package-{number}",
            "introduced 0",
            identity=f"MAL-2024-{number}",
            summary=f"Malicious code in bad-package-{number} (PyPI)",
            details="long " * 500,
        )
    return record(
        f"package-{number % 600}",
        "introduced 0",
        f"fixed 3.{number % 40}",
        identity=f"GHSA-aaaa-bbbb-{number}",
        aliases=[f"CVE-2024-{number}", f"PYSEC-2024-{number}"],
        summary=f"Number {number} allows denial of service in some function",
        versions=[f"{number % 3}.{minor}" for minor in range(60)],
    )


def _large() -> Database:
    builder = Builder()
    for number in range(25_000):
        builder.add(_many(number))
    return builder.database()
