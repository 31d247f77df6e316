from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from flowdeps.locks.requirements import parse_requirement
from flowdeps.vulnerabilities.matches import exclusions, find_vulnerabilities, fixes
from flowdeps.vulnerabilities.osv import Builder, RecordError
from tests.property.locks.strategies import versions

_EVENTS = st.lists(
    st.dictionaries(
        st.sampled_from(["introduced", "fixed", "last_affected"]),
        st.just("0") | versions().map(lambda text: text.partition("+")[0]),
        min_size=1,
        max_size=1,
    ),
    max_size=6,
    unique_by=lambda event: Version(*event.values()),
)


def _record(events: list[dict[str, str]], listed: list[str], identity: str) -> dict[str, Any]:
    return {
        "id": identity,
        "aliases": ["CVE-1"],
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": "a"},
                "ranges": [{"type": "ECOSYSTEM", "events": events}],
                "versions": listed,
            }
        ],
    }


def _vulnerable(events: list[dict[str, str]], listed: list[str], version: str) -> bool:
    """As the format's own description evaluates a record, event by event."""
    own, state = Version(Version(version).public), False
    if own in {Version(Version(one).public) for one in listed}:
        return True
    pairs = [pair for event in events for pair in event.items()]
    pairs.sort(key=lambda pair: (pair != ("introduced", "0"), Version(pair[1])))
    for kind, text in pairs:
        reached = own >= Version(text) or (kind == "introduced" and text == "0")
        if kind == "introduced" and reached:
            state = True
        elif (kind == "fixed" and reached) or (kind == "last_affected" and own > Version(text)):
            state = False
    return state


_TELLINGS = st.lists(st.tuples(_EVENTS, st.lists(versions(), max_size=3)), min_size=1, max_size=3)


@given(_TELLINGS, versions())
def test_a_pin_is_reported_as_the_format_says(
    advisories: list[tuple[list[dict[str, str]], list[str]]], version: str
) -> None:
    """As soon as one advisory affects it; the fix is above it and affected by none; the exclusion
    forbids it and, unless nothing helps, there is one."""
    builder = Builder()
    for number, (events, listed) in enumerate(advisories):
        builder.add(_record(events, listed, f"X-{number}"))
    found = find_vulnerabilities(builder.database(), [("a", version)])
    assert bool(found) == any(_vulnerable(*advisory, version) for advisory in advisories)
    for one in found:
        assert one.id == "CVE-1"
        if one.fixed:
            assert Version(one.fixed) > Version(Version(version).public)
            assert not any(_vulnerable(*advisory, one.fixed) for advisory in advisories)
            bound = parse_requirement(fixes(found)["a"]).specifier
            assert bound.contains(one.fixed, prereleases=True)
        for line in exclusions(found):
            specifier = parse_requirement(line).specifier
            assert not specifier.contains(version, prereleases=True)
            assert not one.fixed or specifier.contains(one.fixed, prereleases=True)
        for line in exclusions(found, before=True):
            specifier = parse_requirement(line).specifier
            assert not specifier.contains(version, prereleases=True)
            assert not one.since or not specifier.contains(one.since, prereleases=True)


_KEYS = [
    *("id", "aliases", "affected", "package", "ecosystem", "name", "ranges", "type", "events"),
    *("versions", "summary", "introduced", "fixed", "database_specific", "severity"),
]
_VALUES = st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(["PyPI", "ECOSYSTEM"])
_JSON = st.recursive(
    _VALUES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner | _VALUES)
    ),
    max_leaves=30,
)


@given(_JSON)
def test_no_record_raises_anything_else(record: object) -> None:
    """Whatever JSON holds is added, left out or refused as no record."""
    builder = Builder()
    try:
        builder.add(record)
    except RecordError:
        return
    find_vulnerabilities(builder.database(), [("a", "1.0"), ("", ""), ("pypi", "1.0")])
