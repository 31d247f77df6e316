import json
import sys
from typing import Any

import pytest

from flowdeps.api.names import (
    FINALIZER,
    NOTES_ANNOTATION,
    REFRESH_REQUESTED_ANNOTATION,
    REVISION_LABEL,
    mounted_name,
)
from flowdeps.api.status import REQUEST_LIMIT
from flowdeps.state.config_maps import config_maps
from flowdeps.state.store import PoolView, SetKey, Store, view_config_map
from tests.unit.state.bodies import config_map, set_body
from tests.unit.state.builders import HOME, entry, record, view

ML = SetKey("flows", "ml")
CURRENT = ("flows", "flowdeps-ml")


@pytest.mark.parametrize("version", [1, 9, 10])
def test_an_older_or_equal_version_of_a_set_changes_nothing(version: int) -> None:
    """Versions are numbers; what is not newer is not taken in, and the store says so."""
    store = Store()
    assert store.put_set(set_body(version=10, pools=["new"])) == ML
    assert store.put_set(set_body(version=version, pools=["old"])) is None
    assert store.sets[ML].meta.resource_version == "10"
    assert store.offering("old") == set()
    assert store.offering("new") == {ML}


@pytest.mark.parametrize("version", [1, 9, 10])
def test_an_older_or_equal_version_of_a_config_map_changes_nothing(version: int) -> None:
    """The same for ConfigMaps: a late answer to an old write never hides a newer one."""
    store = Store()
    assert store.put_config_map(config_map(version=10))
    assert store.put_config_map(config_map(version=version, holder=("flows", "other"))) is None
    assert [view.name for view in store.held(ML)] == ["flowdeps-ml"]
    assert store.held(SetKey("flows", "other")) == []


def test_a_newer_version_takes_the_place_of_the_older() -> None:
    """What a set no longer names is forgotten with its older version."""
    store = Store()
    store.put_set(set_body(version=1, pools=[{"name": "a", "key": "x"}]))
    store.put_set(set_body(version=2, pools=[{"name": "b", "key": "y"}]))
    assert store.offering("a") == store.rivals("x") == set()
    assert store.offering("b") == store.rivals("y") == store.rivals("ml") == {ML}


def test_a_set_claims_its_own_name_and_every_key() -> None:
    """Rivals are found by name and by key, in all namespaces."""
    store = Store()
    store.put_set(set_body(pools=["a", {"name": "b", "key": "etl"}]))
    store.put_set(set_body("etl", namespace="team"))
    assert store.rivals("etl") == {ML, SetKey("team", "etl")}
    assert store.rivals("ml") == {ML}
    assert store.rivals("unknown") == set()


def test_a_removed_set_is_forgotten_everywhere() -> None:
    """After its removal no look-up finds a set; removing what isn't known says so."""
    store = Store()
    store.put_set(set_body(pools=["a"]))
    removed = store.remove_set(ML)
    assert removed is not None
    assert removed.key == ML
    assert store.remove_set(ML) is None
    assert store.offering("a") == store.rivals("ml") == set()


def test_the_answer_to_an_old_write_never_brings_a_deleted_set_back() -> None:
    """The answer to a write may come after the watch told of the deletion: the set stays gone."""
    store = Store()
    store.put_set(set_body(version=1))
    store.remove_set(ML)
    assert store.put_set(set_body(version=2)) is None
    assert store.sets == {}


def test_a_set_made_anew_under_its_old_name_is_another_set() -> None:
    """A new uid is a new set, whatever happened to the one before."""
    store = Store()
    store.put_set(set_body(version=1, uid="old"))
    store.remove_set(ML)
    assert store.put_set(set_body(version=3, uid="new")) == ML
    assert store.sets[ML].meta.uid == "new"


def test_a_config_map_may_lose_our_label_and_get_it_back() -> None:
    """To a watch by label a ConfigMap without the label is deleted; it may return with its uid."""
    store = Store()
    store.put_config_map(config_map(version=1))
    assert store.remove_config_map(*CURRENT, uid="uid-flows-flowdeps-ml")
    assert store.held(ML) == []
    assert store.put_config_map(config_map(version=3))
    assert [view.resource_version for view in store.held(ML)] == ["3"]


def test_removing_a_config_map_spares_a_newer_one_of_its_name() -> None:
    """A deletion is of one object: its successor under the same name stays known."""
    store = Store()
    store.put_config_map(config_map(version=1, uid="old"))
    store.put_config_map(config_map(version=2, uid="new"))
    assert store.remove_config_map(*CURRENT, uid="old") is None
    assert store.config_maps[CURRENT].uid == "new"


def test_a_config_map_moves_to_the_set_that_its_labels_name() -> None:
    """A newer version with other labels belongs to the other set alone."""
    store = Store()
    store.put_config_map(config_map(version=1))
    store.put_config_map(config_map(version=2, holder=("team", "etl")))
    assert store.held(ML) == []
    assert [view.name for view in store.held(SetKey("team", "etl"))] == ["flowdeps-ml"]


# Lists


def test_a_list_takes_in_what_is_new_and_forgets_what_is_gone() -> None:
    """The sets whose picture changed are reported: new, changed, gone, or with such ConfigMaps."""
    store = Store()
    for name in ("same", "changed", "gone", "mapped", "bereft"):
        store.put_set(set_body(name, version=1))
    store.put_config_map(config_map("flowdeps-bereft", holder=("flows", "bereft")))
    store.put_config_map(config_map("flowdeps-same", holder=("flows", "same")))
    store.begin_list()
    changed = store.replace(
        sets=[
            set_body("same", version=1),
            set_body("changed", version=2),
            set_body("mapped", version=1),
            set_body("bereft", version=1),
            set_body("new", version=3),
        ],
        config_maps=[
            view_config_map(config_map("flowdeps-same", holder=("flows", "same"))),
            view_config_map(config_map("flowdeps-mapped", holder=("flows", "mapped"))),
        ],
    )
    assert changed == {SetKey("flows", n) for n in ("changed", "gone", "mapped", "bereft", "new")}
    assert {key.name for key in store.sets} == {"same", "changed", "mapped", "bereft", "new"}
    assert set(store.config_maps) == {("flows", "flowdeps-same"), ("flows", "flowdeps-mapped")}


def test_the_same_lists_again_report_nothing() -> None:
    """Lists that tell nothing new change nothing."""
    store = Store()
    config_maps = [view_config_map(config_map(version=6))]
    store.begin_list()
    assert store.replace(sets=[set_body(version=5)], config_maps=config_maps) == {ML}
    store.begin_list()
    assert store.replace(sets=[set_body(version=5)], config_maps=config_maps) == set()


def test_a_list_never_forgets_what_came_while_it_was_read() -> None:
    """A set and a ConfigMap made after the list was asked for are not in it, and are not gone."""
    store = Store()
    store.begin_list()
    store.put_set(set_body(version=20, pools=["a"]))
    store.put_config_map(config_map(version=21))
    assert store.replace(sets=[], config_maps=[]) == set()
    assert store.offering("a") == {ML}
    assert len(store.held(ML)) == 1


def test_what_came_before_a_list_was_asked_for_is_forgotten_if_it_lacks_it() -> None:
    """A deletion that the watch missed is found by the next list."""
    store = Store()
    store.begin_list()
    store.replace(sets=[], config_maps=[])
    store.put_set(set_body())
    store.put_config_map(config_map())
    store.begin_list()
    assert store.replace(sets=[], config_maps=[]) == {ML}
    assert not store.sets
    assert not store.config_maps


def test_a_list_never_brings_back_what_went_while_it_was_read() -> None:
    """A set and a ConfigMap deleted after the list was asked for are in it, and stay gone."""
    store = Store()
    store.put_set(set_body(version=1))
    store.put_config_map(config_map(version=2))
    store.begin_list()
    store.remove_set(ML)
    store.remove_config_map(*CURRENT, uid="uid-flows-flowdeps-ml")
    listed = view_config_map(config_map(version=2))
    store.replace(sets=[set_body(version=1)], config_maps=[listed])
    assert not store.sets
    assert not store.config_maps


def test_an_older_list_never_takes_back_what_a_watch_told() -> None:
    """Where a list holds an older version, what the watch told since stands."""
    store = Store()
    store.put_set(set_body(version=1, pools=["old"]))
    store.begin_list()
    store.put_set(set_body(version=9, pools=["new"]))
    assert store.replace(sets=[set_body(version=1, pools=["old"])], config_maps=[]) == set()
    assert store.offering("new") == {ML}


# Sets that can't be used


@pytest.mark.parametrize(
    ("pools", "offers"),
    [
        ([{"name": "a"}], [("a", "ml", False)]),
        (
            [{"name": "a", "key": "x", "default": True}, {"name": "b", "default": "yes"}],
            [("a", "x", True), ("b", "ml", False)],
        ),
        (
            [{"name": 5}, "a", None, {}, {"name": "a", "key": 5}, {"name": "a", "key": ""}],
            [("a", "ml", False)],
        ),
        ({"name": "a"}, []),
        ("a", []),
        (None, []),
        (7, []),
    ],
)
def test_a_set_with_a_mistake_keeps_its_offers(
    pools: Any, offers: list[tuple[str, str, bool]]
) -> None:
    """A bad requirement does not take a set out of its pools; what is no offer is left out."""
    store = Store()
    body = set_body(requirements=["pandas @ https://example.com/p.whl"])
    body["spec"]["workPools"] = pools
    assert store.put_set(body) == ML
    entry = store.sets[ML]
    assert entry.spec is None
    assert "spec.requirements[0]" in entry.problems
    assert [(ref.name, ref.key, ref.default) for ref in entry.pool_refs] == offers
    assert store.offering("a") == ({ML} if offers else set())


@pytest.mark.parametrize("spec", [None, [], "x", 5, {"workPools": 5}])
def test_any_spec_is_taken_in(spec: Any) -> None:
    """Whatever stands in the place of a spec, the set is known, with what is wrong with it."""
    store = Store()
    assert store.put_set({**set_body(), "spec": spec}) == ML
    assert store.sets[ML].problems
    assert store.sets[ML].pool_refs == ()


def test_every_problem_of_a_spec_is_told() -> None:
    """The problems of a set name each field that is wrong."""
    store = Store()
    store.put_set(set_body(requirements=["a b", "-r x"], interval="1s"))
    problems = store.sets[ML].problems
    for path in ("spec.requirements[0]", "spec.requirements[1]", "spec.interval"):
        assert path in problems


def test_a_list_reports_both_sets_of_a_config_map_that_changed_hands() -> None:
    """The set that had it has lost something, the other has got something."""
    store = Store()
    store.put_config_map(config_map(version=1))
    store.begin_list()
    theirs = view_config_map(config_map(version=2, holder=("team", "etl")))
    assert store.replace(sets=[], config_maps=[theirs]) == {ML, SetKey("team", "etl")}


# Views of ConfigMaps


def test_a_view_holds_what_passes_need_and_not_the_lock() -> None:
    """The text of the lock, which may have a megabyte, is not kept."""
    lock = "numpy==2.3.3\n" * 1000
    view = view_config_map(
        config_map(
            data={"requirements.txt": lock, "lock.json": '{"packages": 1}', "digest": "sha256:1"}
        )
    )
    assert view.intact
    assert view.holder == ML
    assert view.manifest == {"packages": 1}
    assert lock not in repr(view)


@pytest.mark.parametrize(
    "change",
    [
        {"requirements.txt": "numpy==2.3.3"},
        {"lock.json": '{"packages": 2}'},
        {"digest": ""},
        {"digest": None},
        {"lock.json": None},
        {"requirements.txt": None},
    ],
)
def test_any_change_of_our_files_is_seen(change: dict[str, str | None]) -> None:
    """A file of ours that was changed or taken out makes a ConfigMap not intact."""
    body = config_map()
    data = {**body["data"], **change}
    body["data"] = {name: text for name, text in data.items() if text is not None}
    assert not view_config_map(body).intact


def test_files_of_others_are_no_damage() -> None:
    """What others add beside our files is theirs: nothing we write would take it out."""
    body = config_map()
    body["data"]["note.txt"] = "kept by team a"
    assert view_config_map(body).intact


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", '"x"', "[" * 200_000])
def test_a_manifest_that_is_none_reads_as_empty(text: str) -> None:
    """A damaged lock.json is no error: the ConfigMap is made anew."""
    data = {"requirements.txt": "", "lock.json": text, "digest": ""}
    assert view_config_map(config_map(data=data)).manifest == {}


def test_a_config_map_without_anything_can_be_viewed() -> None:
    """No data, no annotations, no owners: not intact, and held by nobody."""
    meta = {"name": "x", "namespace": "y", "uid": "u", "resourceVersion": "1"}
    view = view_config_map({"metadata": meta})
    assert not view.intact
    assert not view.immutable
    assert (view.holder, view.owners, view.manifest) == (SetKey("", ""), (), {})


def test_a_spec_is_parsed_once_and_a_status_moves_no_claim() -> None:
    """A new version of a set with the same spec has the spec that was parsed before, and is no
    reason to work out again which set has which location; another spec is."""
    store = Store()
    store.put_set(set_body(version=1, pools=["a"]))
    spec, version = store.sets[ML].spec, store.version
    store.put_set(set_body(version=2, pools=["a"], status={"observedGeneration": 1}))
    assert store.sets[ML].spec is spec
    assert store.sets[ML].status.observed_generation == 1
    assert store.version == version
    store.put_set(set_body(version=3, pools=["b"]))
    assert store.sets[ML].spec is not spec
    assert store.version > version


def test_claims_are_worked_out_again_when_a_copy_comes_of_a_pool_not_seen_yet() -> None:
    """It keeps its location then. Once all of a set's pools are known, what it has decides nothing
    where nobody else wants the key."""
    store = Store()
    store.put_set(set_body(version=1, pools=["a"]))
    version = store.version
    store.put_config_map(config_map(version=1))
    assert store.version > version
    store.put_pool(PoolView(name="a", job_namespaces=("jobs",)))
    version = store.version
    assert not store.put_pool(PoolView(name="a", job_namespaces=("jobs",)))
    store.put_config_map(config_map("flowdeps-x", version=2))
    store.remove_config_map("flows", "flowdeps-x", "uid-flows-flowdeps-x")
    assert store.version == version


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("flowdeps-x", {}),
        (mounted_name("x", pool="a"), {}),
        (mounted_name("x-0123456789", pool="a"), {REVISION_LABEL: "0123456789"}),
    ],
)
def test_claims_are_worked_out_again_when_a_contested_place_is_taken_or_left(
    name: str, labels: dict[str, str]
) -> None:
    """What is there says which of two sets that want a key has it; another version of it says
    nothing new."""
    store = Store()
    store.put_set(set_body(version=1, pools=[{"name": "a", "key": "x"}]))
    store.put_set(set_body("x", namespace="team", version=2, pools=["a"]))
    store.put_pool(PoolView(name="a", job_namespaces=("jobs",)))
    versions = [store.version]
    store.put_config_map(config_map(name, version=3, labels=labels))
    versions.append(store.version)
    store.put_config_map(config_map(name, version=4, holder=("team", "x"), labels=labels))
    versions.append(store.version)
    store.put_config_map(config_map(name, version=5, holder=("team", "x"), labels=labels))
    assert store.version == versions[-1]
    store.remove_config_map("flows", name, f"uid-flows-{name}")
    versions.append(store.version)
    assert versions == sorted({*versions})


# What is kept, whoever wrote how much


def _held(value: object) -> int:
    """The bytes of a value with all that it holds."""
    inside: list[object] = []
    if isinstance(value, dict):
        inside = [*value, *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        inside = [*value]
    elif hasattr(value, "__dict__"):
        inside = [*vars(value).values()]
    return sys.getsizeof(value) + sum(map(_held, inside))


_MANIFESTS = {
    "lists": json.dumps([[] for _ in range(250_000)]),
    "lists in a field": json.dumps({"platforms": [[] for _ in range(250_000)]}),
    "texts in a field": json.dumps({"shadow": ["ab"] * 150_000}),
    "a long text": json.dumps({"digest": "x" * 1_000_000}),
    "many fields": json.dumps({str(number): number for number in range(60_000)}),
    "an odd index": json.dumps({"index": {"url": {"a": [[]] * 1000}}}),
}


@pytest.mark.parametrize("text", _MANIFESTS.values(), ids=_MANIFESTS)
def test_a_view_is_small_whatever_is_in_a_config_map(text: str) -> None:
    """A megabyte with our labels, and a hash that says that it is what we wrote: as many of them
    as there are fit into memory at each start."""
    body = config_map(data={"requirements.txt": "", "lock.json": text, "digest": ""})
    body["metadata"]["annotations"] |= {NOTES_ANNOTATION: "n" * 200_000, "x": "y" * 50_000}
    body["metadata"]["labels"] |= {f"l{number}": "x" for number in range(5000)}
    owner = {"apiVersion": "v1", "kind": "FlowDependencySet", "name": "n", "uid": "u" * 5000}
    body["metadata"]["ownerReferences"] = [owner] * 1000
    found = view_config_map(body)
    assert found.intact
    assert _held(found) < 16_384


def test_a_manifest_of_the_largest_lock_is_kept_whole() -> None:
    """What we write is never too long for us: the longest index and list of packages that a spec
    may have."""
    urls = [f"https://{number}.example.com/{'p' * 990}" for number in range(9)]
    made = record(
        index={"url": urls[0], "extraUrls": urls[1:]},
        shadow=tuple(f"{number:03}{'s' * 125}" for number in range(64)),
        image=f"registry.example.com/{'i' * 1000}",
        notes="n" * 800,
        verify_notes="v" * 800,
        refresh="r" * 128,
    )
    for desired in config_maps(entry(), HOME, made, summary="s" * 240):
        assert desired.met_by(view(desired))


def test_of_a_set_nothing_is_kept_that_is_not_read() -> None:
    """Its annotations, finalizers and managed fields may be long, and are others'."""
    metadata = {
        "annotations": {REFRESH_REQUESTED_ANNOTATION: "now" * 1000, "a": "x" * 100_000},
        "labels": {"a": "b"},
        "finalizers": [FINALIZER, *(f"example.com/{number}" for number in range(1000))],
        "managedFields": [{"manager": "x" * 100_000}],
    }
    found = entry(metadata=metadata)
    assert found.meta.finalizers == (FINALIZER,)
    assert len(found.meta.annotations[REFRESH_REQUESTED_ANNOTATION]) == REQUEST_LIMIT
    assert len(repr(found)) < 16_384


def test_the_sets_with_config_maps_in_a_namespace_are_known() -> None:
    """Until the last one of a set goes there, or passes to another set."""
    store = Store()
    store.put_config_map(config_map("flowdeps-a", namespace="jobs"))
    store.put_config_map(config_map("flowdeps-b", namespace="jobs"))
    assert store.holders_in("jobs") == [ML]
    store.remove_config_map("jobs", "flowdeps-a", "uid-jobs-flowdeps-a")
    assert store.holders_in("jobs") == [ML]
    other = ("flows", "other")
    store.put_config_map(config_map("flowdeps-b", namespace="jobs", version=2, holder=other))
    assert store.holders_in("jobs") == [SetKey(*other)]
    store.remove_config_map("jobs", "flowdeps-b", "uid-jobs-flowdeps-b")
    assert store.holders_in("jobs") == store.holders_in("flows") == []
