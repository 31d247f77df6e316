"""The store against a model that keeps everything and searches it, under random histories."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flowdeps.state.store import SetKey, Store, view_config_map
from tests.unit.state.bodies import Body, config_map, set_body

_NAMES = ("a", "b", "c")
_POOLS = ("p", "q")
_POOL = st.fixed_dictionaries(
    {"name": st.sampled_from(_POOLS)}, optional={"key": st.sampled_from(_NAMES)}
)
_OFFERS = st.lists(_POOL, max_size=2, unique_by=lambda pool: str(pool["name"]))
_NAME = st.sampled_from(_NAMES)


@dataclass
class _Cluster:
    """An API server: the truth, its clock, and everything it ever told."""

    version: int = 0
    sets: dict[str, Body] = field(default_factory=dict)
    maps: dict[str, Body] = field(default_factory=dict)
    told: list[tuple[str, Body]] = field(default_factory=list)

    def tick(self) -> int:
        self.version += 1
        return self.version


class _Machine(RuleBasedStateMachine):
    """Objects come, change and go; what is told of it is told in order, twice, late, or in lists
    that were asked for before it happened."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = _Cluster()
        self.store = Store()
        self.listed: tuple[list[Body], list[Body]] | None = None

    @rule(name=_NAME, pools=_OFFERS, wrong=st.booleans())
    def write_set(self, name: str, pools: list[dict[str, Any]], wrong: bool) -> None:
        version = self.cluster.tick()
        known = self.cluster.sets.get(name)
        uid = known["metadata"]["uid"] if known else f"uid-{version}"
        requirements = ["no good"] if wrong else ["pandas"]
        body = set_body(name, version=version, uid=uid, pools=pools, requirements=requirements)
        self.cluster.sets[name] = body
        self.cluster.told.append(("set", body))
        self.store.put_set(body)

    @rule(name=_NAME, holder=_NAME)
    def write_map(self, name: str, holder: str) -> None:
        version = self.cluster.tick()
        known = self.cluster.maps.get(name)
        uid = known["metadata"]["uid"] if known else f"uid-{version}"
        body = config_map(name, version=version, uid=uid, holder=("flows", holder))
        self.cluster.maps[name] = body
        self.cluster.told.append(("map", body))
        self.store.put_config_map(body)

    @rule(name=_NAME)
    def delete_set(self, name: str) -> None:
        self.cluster.tick()
        if self.cluster.sets.pop(name, None):
            self.store.remove_set(SetKey("flows", name))

    @rule(name=_NAME)
    def delete_map(self, name: str) -> None:
        self.cluster.tick()
        if body := self.cluster.maps.pop(name, None):
            self.store.remove_config_map("flows", name, uid=body["metadata"]["uid"])

    @precondition(lambda self: self.cluster.told)
    @rule(data=st.data())
    def tell_of_a_set_again(self, data: st.DataObject) -> None:
        kind, body = data.draw(st.sampled_from(self.cluster.told))
        name = body["metadata"]["name"]
        if kind == "set":
            self.store.put_set(body)
        elif name in self.cluster.maps:
            self.store.put_config_map(body)

    @precondition(lambda self: self.listed is None)
    @rule()
    def ask_for_lists(self) -> None:
        self.store.begin_list()
        self.listed = (list(self.cluster.sets.values()), list(self.cluster.maps.values()))

    @precondition(lambda self: self.listed is not None)
    @rule()
    def get_lists(self) -> None:
        assert self.listed
        sets, config_maps = self.listed
        self.store.replace(sets=sets, config_maps=map(view_config_map, config_maps))
        # Answers to writes are on their way for a moment, not for ten minutes.
        self.cluster.told.clear()
        self.listed = None

    @invariant()
    def it_holds_what_the_cluster_holds(self) -> None:
        known = {key.name: entry.body["metadata"] for key, entry in self.store.sets.items()}
        assert known == {name: body["metadata"] for name, body in self.cluster.sets.items()}
        versions = {
            name: view.resource_version for (_, name), view in self.store.config_maps.items()
        }
        assert versions == {
            name: body["metadata"]["resourceVersion"] for name, body in self.cluster.maps.items()
        }  # fmt: skip

    @invariant()
    def look_ups_find_what_a_search_finds(self) -> None:
        refs = {
            SetKey("flows", name): [
                (ref["name"], ref.get("key", name)) for ref in body["spec"]["workPools"]
            ]
            for name, body in self.cluster.sets.items()
        }
        for pool in _POOLS:
            assert self.store.offering(pool) == {
                key for key, offers in refs.items() if any(pool == name for name, _ in offers)
            }
        for wanted in _NAMES:
            assert self.store.rivals(wanted) == {
                key
                for key, offers in refs.items()
                if key.name == wanted or any(wanted == name for _, name in offers)
            }
        for holder in _NAMES:
            key = SetKey("flows", holder)
            assert [view.name for view in self.store.held(key)] == sorted(
                name
                for name, body in self.cluster.maps.items()
                if body["metadata"]["labels"]["flowdeps.dev/set"] == holder
            )


def test_look_ups_are_those_of_a_store_that_searches_everything() -> None:
    """Whatever comes in whatever order, the store holds what the cluster holds, and its look-ups
    find what a search of everything would."""
    run_state_machine_as_test(
        _Machine, settings=settings(max_examples=60, stateful_step_count=25, deadline=None)
    )


@given(
    before=st.lists(st.tuples(_NAME, st.integers(1, 3)), max_size=6),
    after=st.dictionaries(_NAME, st.integers(1, 9)),
)
@settings(deadline=None)
def test_a_list_reports_exactly_what_it_changes(
    before: list[tuple[str, int]], after: dict[str, int]
) -> None:
    """The sets that a list reports are those whose version in the store it changed."""
    store = Store()
    for name, version in before:
        store.put_set(set_body(name, version=version))
    known = {key: entry.meta.resource_version for key, entry in store.sets.items()}
    store.begin_list()
    listed = [set_body(name, version=version) for name, version in after.items()]
    changed = store.replace(sets=listed, config_maps=[])
    now = {key: entry.meta.resource_version for key, entry in store.sets.items()}
    assert changed == {key for key in known.keys() | now.keys() if known.get(key) != now.get(key)}
