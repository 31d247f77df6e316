from collections.abc import Mapping, Sequence

import pytest

from flowdeps.api.config import Config
from flowdeps.state.locations import Claims, Location, age, locations_of, primary_location
from flowdeps.state.store import PoolView, SetEntry, SetKey, Store
from tests.unit.state.builders import HOME, ML, config, entry, pools


def test_a_sets_lock_belongs_to_its_own_namespace_first() -> None:
    """Home stands first, whatever pools say, and with no pool it is all."""
    assert primary_location(ML) == HOME
    assert locations_of(entry(), config=config(), pools={}) == [HOME]
    offering = entry(pools=[{"name": "a", "key": "x"}])
    assert locations_of(offering, config=config(), pools=pools(a=["jobs", "flows"])) == [
        HOME,
        Location("jobs", "x"),
        Location("flows", "x"),
    ]


def test_each_place_is_named_once() -> None:
    """Two pools with one job namespace and key, or a pool at home under the set's name, are one."""
    offering = entry(pools=["a", "b", {"name": "c", "key": "x"}])
    found = locations_of(offering, config=config(), pools=pools(a="jobs", b="jobs", c="flows"))
    assert found == [HOME, Location("jobs", "ml"), Location("flows", "x")]


def test_a_pool_that_was_not_looked_at_adds_no_place() -> None:
    """Where its jobs run is not known yet; a pool that does not exist has no jobs at all."""
    offering = entry(pools=["unknown", "missing"])
    assert locations_of(offering, config=config(), pools=pools(missing=[])) == [HOME]


def test_a_pool_that_does_not_admit_the_namespace_gets_no_lock() -> None:
    """Sets of a namespace that a pool does not trust write nothing where its jobs run."""
    strict = config({"name": "a", "namespaces": ["team-*"]}, {"name": "*", "namespaces": ["*"]})
    both = pools(a="jobs", b="jobs-b")
    assert locations_of(entry(pools=["a", "b"]), config=strict, pools=both) == [
        HOME,
        Location("jobs-b", "ml"),
    ]
    trusted = entry(namespace="team-a", pools=["a"])
    assert Location("jobs", "ml") in locations_of(trusted, config=strict, pools=both)


def test_a_set_with_a_mistake_keeps_its_places() -> None:
    """The lock in service stays where it is while the spec is being mended."""
    broken = entry(requirements=["no good"], pools=["a"])
    assert broken.spec is None
    assert locations_of(broken, config=config(), pools=pools(a="jobs")) == [
        HOME,
        Location("jobs", "ml"),
    ]


def test_names_of_config_maps_follow_from_the_key() -> None:
    """`flowdeps-<key>` is what runs mount, `flowdeps-<key>-<digest>` a revision."""
    assert Location("jobs", "x").live_name == "flowdeps-x"
    assert Location("jobs", "x").revision("0123456789") == "flowdeps-x-0123456789"


# Who serves a place

_OLD, _NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
_AT_JOBS = pools(a="jobs", b="jobs")


def holder_of(
    location: Location,
    rivals: Sequence[SetEntry],
    *,
    config: Config,
    pools: Mapping[str, PoolView],
) -> SetKey | None:
    """The set that has a location, of these."""
    store = Store(sets={one.key: one for one in rivals}, pools={**pools})
    for one in rivals:
        store.put_set({**one.body, "metadata": {**one.body["metadata"], "resourceVersion": "2"}})
    return Claims(store, config).holder(location)


def test_the_older_of_two_sets_serves_a_place() -> None:
    """Of sets in two namespaces that claim one key, the older serves, whichever comes first."""
    old = entry("x", namespace="n", pools=["a"], created=_OLD)
    new = entry("y", namespace="m", pools=[{"name": "b", "key": "x"}], created=_NEW)
    for rivals in ([old, new], [new, old]):
        holder = holder_of(Location("jobs", "x"), rivals, config=config(), pools=_AT_JOBS)
        assert holder == SetKey("n", "x")


def test_of_sets_made_in_one_second_all_passes_choose_the_same() -> None:
    """Names decide where times are equal, so that two passes never disagree."""
    one = entry("x", namespace="a", pools=["a"])
    other = entry("x", namespace="b", pools=["a"])
    assert age(one.meta) < age(other.meta)
    for rivals in ([one, other], [other, one]):
        holder = holder_of(Location("jobs", "x"), rivals, config=config(), pools=_AT_JOBS)
        assert holder == SetKey("a", "x")


def test_a_set_that_is_being_deleted_serves_nothing() -> None:
    """The next in age takes over a place while the older set is on its way out."""
    going = entry("x", namespace="n", pools=["a"], metadata={"deletionTimestamp": _NEW})
    staying = entry("x", namespace="m", pools=["a"], created=_NEW)
    rivals = [going, staying]
    holder = holder_of(Location("jobs", "x"), rivals, config=config(), pools=_AT_JOBS)
    assert holder == SetKey("m", "x")
    assert holder_of(Location("jobs", "x"), [going], config=config(), pools=_AT_JOBS) is None


def test_equal_keys_in_different_job_namespaces_are_no_conflict() -> None:
    """A key names a ConfigMap in a job namespace: elsewhere it is free."""
    one = entry("x", namespace="n", pools=["a"], created=_OLD)
    other = entry("x", namespace="m", pools=["b"], created=_NEW)
    where = pools(a="jobs-a", b="jobs-b")
    rivals = [one, other]
    assert holder_of(Location("jobs-a", "x"), rivals, config=config(), pools=where) == one.key
    assert holder_of(Location("jobs-b", "x"), rivals, config=config(), pools=where) == other.key


@pytest.mark.parametrize(("created", "serves"), [(_OLD, "guest"), (_NEW, "x")])
def test_age_alone_decides_between_a_sets_home_and_another_sets_key(
    created: str, serves: str
) -> None:
    """A set whose key is another set's name, offered to jobs in that set's own namespace: the
    older of the two has the ConfigMap."""
    host = entry("x", namespace="flows", created="2026-01-15T00:00:00Z")
    guest = entry(
        "guest", namespace="other", pools=[{"name": "a", "key": "x"}], created=created
    )  # fmt: skip
    holder = holder_of(
        Location("flows", "x"), [host, guest], config=config(), pools=pools(a="flows")
    )  # fmt: skip
    assert holder is not None
    assert holder.name == serves


def test_a_set_that_is_not_admitted_is_no_rival() -> None:
    """An older set that the pool does not take cannot keep a key from those that it takes."""
    strict = config({"name": "a", "namespaces": ["team-*"]})
    stranger = entry("x", namespace="other", pools=["a"], created=_OLD)
    member = entry("x", namespace="team-a", pools=["a"], created=_NEW)
    rivals = [stranger, member]
    holder = holder_of(Location("jobs", "x"), rivals, config=strict, pools=_AT_JOBS)
    assert holder == member.key
