"""ConfigMaps as they are planned, written, read back, and changed by others."""

import copy
from dataclasses import replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from flowdeps.state.config_maps import Desired, config_maps, keep_history, obsolete
from flowdeps.state.environment import Environment
from flowdeps.state.locations import Location
from flowdeps.state.records import LockRecord, lock_in_service, revisions_of
from flowdeps.state.store import ConfigMapView, view_config_map
from tests.unit.state.builders import HOME, NOW, applied, entry, record, view

_NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
_TEXT = st.text(max_size=40)
_TIMES = st.datetimes().map(lambda time: time.isoformat(timespec="microseconds") + "+00:00")
_PLACES = st.just(HOME) | st.builds(Location, namespace=_NAMES, key=_NAMES, pool=_NAMES)
_DIGESTS = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
_REPOSITORY = f"registry.example.com/environments/{HOME.namespace}"
_ENVIRONMENTS = st.builds(
    Environment,
    reference=_DIGESTS.map(lambda digest: f"{_REPOSITORY}@{digest}"),
    lock=st.none(),
    image=st.from_regex(r"[!-z]{1,1024}", fullmatch=True),
    image_id=st.from_regex(r"[!-~]{1,1024}", fullmatch=True),
    size=st.integers(0, 2**40),
    unpacked=st.integers(0, 2**40),
    files=st.integers(0, 10**6),
    import_seconds=st.floats(0, 3600),
)


def _with_environment(record: LockRecord, environment: Environment | None) -> LockRecord:
    """A record whose environment is of its lock."""
    mine = environment and replace(environment, lock=record.digest)
    return replace(record, environment=mine)


_LOCKS = st.builds(
    LockRecord,
    digest=_DIGESTS,
    inputs=st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True),
    resolved_at=_TIMES,
    refreshed_at=_TIMES,
    refresh=_TEXT,
    python=st.sampled_from(["3.11", "3.14"]),
    platforms=st.sampled_from([("linux/amd64",), ("linux/amd64", "linux/arm64")]),
    packages=st.integers(0, 999),
    index=st.fixed_dictionaries(
        {"url": st.none() | _TEXT, "extraUrls": st.lists(_TEXT, max_size=2)}
    ),
)
_RECORDS = st.builds(_with_environment, _LOCKS, st.none() | _ENVIRONMENTS)
_DESIRED = st.builds(
    lambda place, made, summary, which: config_maps(entry(), place, made, summary=summary)[which],
    _PLACES,
    _RECORDS,
    _TEXT,
    st.integers(0, 1),
)


@given(desired=_DESIRED, text=_TEXT)
def test_what_was_written_is_what_is_wanted(desired: Desired, text: str) -> None:
    """A ConfigMap that was just written needs no second write, and is never replaced."""
    there = view(desired, text=text)
    assert there.intact
    assert desired.met_by(there)
    assert not desired.must_be_replaced(there)
    assert keep_history(desired, there).met_by(there)
    assert not desired.met_by(None)
    assert not desired.must_be_replaced(None)


def _edits(body: dict[str, Any]) -> list[tuple[str, ...]]:
    """The path of every single thing of ours that somebody can change or take away."""
    metadata = body["metadata"]
    paths: list[tuple[str, ...]] = [("data",), ("immutable",)]
    paths += [
        ("metadata", part, name) for part in ("labels", "annotations") for name in metadata[part]
    ]
    paths += [("data", name) for name in body["data"]]
    if "ownerReferences" in metadata:
        paths.append(("metadata", "ownerReferences"))
    return [(what, *path) for path in paths for what in ("take away", "change")]


def _edit(body: dict[str, Any], edit: tuple[str, ...]) -> dict[str, Any]:
    """The body with one thing changed or taken away."""
    what, *path, last = edit
    changed = copy.deepcopy(body)
    inner = changed
    for step in path:
        inner = inner[step]
    if what == "take away":
        inner.pop(last, None)
    elif isinstance(inner.get(last), str):
        inner[last] += "!"
    elif last == "ownerReferences":
        inner[last][0]["uid"] = "other"
    elif last == "immutable":
        inner[last] = not inner.get(last)
    else:
        inner[last] = {}
    return changed


@given(desired=_DESIRED, text=_TEXT, data=st.data())
def test_every_change_of_ours_is_found(desired: Desired, text: str, data: st.DataObject) -> None:
    """Whatever of ours is changed or taken away, the ConfigMap is found to need a write."""
    body = applied(desired, text=text)
    changed = _edit(body, data.draw(st.sampled_from(_edits(body))))
    assume(changed != body)
    assert not desired.met_by(view_config_map(changed))


@given(desired=_DESIRED, text=_TEXT, extra=st.dictionaries(_NAMES, _TEXT, min_size=1))
def test_what_others_add_is_no_reason_for_a_write(
    desired: Desired, text: str, extra: dict[str, str]
) -> None:
    """Labels, annotations, owners and files that others add are theirs."""
    body = applied(desired, text=text)
    metadata = body["metadata"]
    metadata["labels"] = {**extra, **metadata["labels"]}
    metadata["annotations"] = {**extra, **metadata["annotations"]}
    metadata["ownerReferences"] = [
        {"kind": "Other", "uid": "theirs"},
        *metadata.get("ownerReferences", []),
    ]
    body["data"] = {**{f"{name}.txt": text for name, text in extra.items()}, **body["data"]}
    assume("requirements.txt" not in {f"{name}.txt" for name in extra})
    assert desired.met_by(view_config_map(body))


@given(desired=_DESIRED, text=_TEXT, data=st.data())
def test_what_the_server_would_refuse_is_replaced(
    desired: Desired, text: str, data: st.DataObject
) -> None:
    """Data that differs in an immutable ConfigMap can't be written: it is replaced, no other is."""
    body = applied(desired, text=text)
    changed = _edit(body, data.draw(st.sampled_from(_edits(body))))
    there = view_config_map(changed)
    if desired.must_be_replaced(there):
        assert changed.get("immutable")
    elif changed.get("immutable"):
        assert there.intact
        assert there.manifest == desired.manifest


@given(made=_RECORDS, summary=_TEXT)
def test_a_record_survives_its_config_maps(made: LockRecord, summary: str) -> None:
    """Read back from the cluster, by either ConfigMap, a lock is the one that was published; only
    when it was refreshed, and at whose request, is not in a revision."""
    revision, current = (view(one) for one in config_maps(entry(), HOME, made, summary=summary))
    found = lock_in_service(entry(), [revision, current], now=NOW, repository=_REPOSITORY)
    assert found is not None
    assert found.record == made
    stand_in = lock_in_service(entry(), [revision], now=NOW, repository=_REPOSITORY)
    assert stand_in is not None
    assert (stand_in.record.digest, stand_in.record.inputs) == (made.digest, made.inputs)
    assert stand_in.record.environment == made.environment
    other = lock_in_service(entry(), [revision, current], now=NOW, repository="example.com/other")
    assert other is not None
    assert other.record == replace(made, environment=None)


_VIEWS = st.lists(
    st.tuples(
        st.sampled_from([HOME, Location("jobs", "x", "k"), Location("jobs", "x-y", "k")]),
        st.sampled_from("abcd"),
        st.integers(1, 9),
        st.integers(0, 1),
    ),
    max_size=12,
    unique_by=lambda one: (one[0], one[1] if one[3] == 0 else "current"),
)


@given(
    made=_VIEWS,
    limit=st.integers(0, 4),
    serving=st.sampled_from("abcd"),
    wanted=st.lists(st.sampled_from([HOME, Location("jobs", "x", "k")]), unique=True),
)
def test_what_goes_is_what_no_place_and_no_history_keeps(
    made: list[tuple[Location, str, int, int]], limit: int, serving: str, wanted: list[Location]
) -> None:
    """In a wanted place the current ConfigMap, the revision in service and the newest others stay;
    all else goes; and with that gone, nothing more does."""
    views: list[ConfigMapView] = []
    for place, seed, day, which in made:
        lock = record(seed, at=f"2026-01-0{day}T00:00:00.000000+00:00")
        views.append(view(config_maps(entry(), place, lock, summary="")[which]))
    short = record(serving).short
    gone = obsolete(wanted, views, serving=short, limit=limit)
    left = [one for one in views if one not in gone]
    for place in {Location("jobs", "x", "k"), Location("jobs", "x-y", "k"), HOME} - set(wanted):
        names = {place.live_name, *(place.revision(record(s).short) for s in "abcd")}
        others = {n for w in wanted for n in [w.live_name] if w.namespace == place.namespace}
        assert not {v.name for v in left if v.namespace == place.namespace} & (names - others)
    for place in wanted:
        here = [one for one in views if one.namespace == place.namespace]
        assert {v.name for v in here if v.name in (place.live_name, place.revision(short))} <= {
            v.name for v in left
        }
        old = [v for v in revisions_of(place, left) if v.name != place.revision(short)]
        before = [v for v in revisions_of(place, views) if v.name != place.revision(short)]
        assert old == before[:limit]
    assert obsolete(wanted, left, serving=short, limit=limit) == []
