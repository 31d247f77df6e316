from collections.abc import Mapping, Sequence
from typing import Any

from flowdeps.api.config import Config
from flowdeps.api.names import mounted_name
from flowdeps.state.locations import Claims, Location, age, locations_of, primary_location
from flowdeps.state.store import ConfigMapView, PoolView, SetEntry, SetKey, Store
from tests.unit.state.builders import HOME, ML, config, current, entry, pools, revision


def test_a_sets_lock_belongs_to_its_own_namespace_first() -> None:
    """Home stands first, whatever pools say, and with no pool it is all."""
    assert primary_location(ML) == HOME
    assert locations_of(entry(), config=config(), pools={}) == [HOME]
    offering = entry(pools=[{"name": "a", "key": "x"}])
    assert locations_of(offering, config=config(), pools=pools(a=["jobs", "flows"])) == [
        HOME,
        Location("jobs", "x", "a"),
        Location("flows", "x", "a"),
    ]


def test_each_pool_has_a_copy_of_its_own() -> None:
    """Also two pools with one job namespace and key, and one at home under the set's name."""
    offering = entry(pools=["a", "b", "c"])
    found = locations_of(offering, config=config(), pools=pools(a="jobs", b="jobs", c="flows"))
    a, b, c = Location("jobs", "ml", "a"), Location("jobs", "ml", "b"), Location("flows", "ml", "c")
    assert found == [HOME, a, b, c]
    assert len({(one.namespace, one.live_name) for one in found}) == 4


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
        Location("jobs-b", "ml", "b"),
    ]
    trusted = entry(namespace="team-a", pools=["a"])
    assert Location("jobs", "ml", "a") in locations_of(trusted, config=strict, pools=both)


def test_a_set_with_a_mistake_keeps_its_places() -> None:
    """The lock in service stays where it is while the spec is being mended."""
    broken = entry(requirements=["no good"], pools=["a"])
    assert broken.spec is None
    assert locations_of(broken, config=config(), pools=pools(a="jobs")) == [
        HOME,
        Location("jobs", "ml", "a"),
    ]


def test_names_of_config_maps_follow_from_pool_and_key() -> None:
    """A live ConfigMap, and a revision of it, whose name ends with the digest."""
    place, own = Location("jobs", "x", "k"), Location("jobs", "x")
    assert own.live_name == "flowdeps-x"
    assert own.revision("0123456789") == "flowdeps-x-0123456789"
    assert place.live_name == mounted_name("x", pool="k")
    assert place.revision("0123456789") == mounted_name("x-0123456789", pool="k")


# Who serves a place

_OLD, _NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
_AT_JOBS = pools(a="jobs", b="jobs")
_X = Location("jobs", "x", "a")


def holder_of(
    location: Location,
    rivals: Sequence[SetEntry],
    *,
    config: Config,
    pools: Mapping[str, PoolView],
    there: Sequence[ConfigMapView] = (),
) -> SetKey | None:
    """The set that has a location, of these, with these ConfigMaps."""
    store = Store(pools={**pools})
    store.replace(sets=[one.body for one in rivals], config_maps=there)
    assert len(store.sets) == len(rivals)
    return Claims(store, config).holder(location)


def test_a_free_place_goes_to_the_oldest_set() -> None:
    """Of sets in two namespaces that claim one key of a pool, whichever comes first."""
    old = entry("x", namespace="n", pools=["a"], created=_OLD)
    new = entry("y", namespace="m", pools=[{"name": "a", "key": "x"}], created=_NEW)
    for rivals in ([old, new], [new, old]):
        holder = holder_of(_X, rivals, config=config(), pools=_AT_JOBS)
        assert holder == SetKey("n", "x")


def test_of_sets_made_in_one_second_all_passes_choose_the_same() -> None:
    """Names decide where times are equal, so that two passes never disagree."""
    one = entry("x", namespace="a", pools=["a"])
    other = entry("x", namespace="b", pools=["a"])
    assert age(one.meta) < age(other.meta)
    for rivals in ([one, other], [other, one]):
        holder = holder_of(_X, rivals, config=config(), pools=_AT_JOBS)
        assert holder == SetKey("a", "x")


def test_equal_keys_of_two_pools_are_no_conflict() -> None:
    """Pools whose jobs share a namespace share no name there."""
    one = entry("x", namespace="n", pools=["a"], created=_OLD)
    other = entry("x", namespace="m", pools=["b"], created=_NEW)
    for where in (pools(a="jobs", b="jobs"), pools(a="jobs-a", b="jobs-b")):
        [a] = where["a"].job_namespaces
        [b] = where["b"].job_namespaces
        for place, serves in ((Location(a, "x", "a"), one), (Location(b, "x", "b"), other)):
            holder = holder_of(place, [one, other], config=config(), pools=where)
            assert holder == serves.key


def test_a_set_has_its_own_namespace_whatever_others_claim() -> None:
    """A set whose key is another set's name, offered to jobs in that set's own namespace."""
    host = entry("x", namespace="flows", created=_NEW)
    guest = entry("guest", namespace="other", pools=[{"name": "a", "key": "x"}], created=_OLD)
    where = pools(a="flows")
    for place, serves in ((Location("flows", "x"), host), (Location("flows", "x", "a"), guest)):
        assert holder_of(place, [host, guest], config=config(), pools=where) == serves.key


def test_a_set_that_is_not_admitted_is_no_rival() -> None:
    """An older set that the pool does not take cannot keep a key from those that it takes."""
    strict = config({"name": "a", "namespaces": ["team-*"]})
    stranger = entry("x", namespace="other", pools=["a"], created=_OLD)
    member = entry("x", namespace="team-a", pools=["a"], created=_NEW)
    rivals = [stranger, member]
    held = [current(_X, "a", at=_OLD, of=stranger)]
    for there in ((), held):
        assert holder_of(_X, rivals, config=strict, pools=_AT_JOBS, there=there) == member.key


# A holder stays

_FIRST = entry("x", namespace="n", pools=["a"], created=_NEW)
_CLAIMANT = entry("y", namespace="m", pools=[{"name": "a", "key": "x"}], created=_OLD)
_LIVE = current(_X, "a", at=_OLD, of=_FIRST)


def _holds(
    *there: ConfigMapView,
    of: Sequence[SetEntry] = (_FIRST, _CLAIMANT),
    where: Mapping[str, PoolView] = _AT_JOBS,
    location: Location = _X,
) -> SetKey | None:
    return holder_of(location, of, config=config(), pools=where, there=there)


def test_an_older_set_that_claims_a_key_later_does_not_get_it() -> None:
    """The set whose ConfigMap is there has it; without the ConfigMap it was free."""
    assert _holds(_LIVE) == _FIRST.key
    assert _holds() == _CLAIMANT.key


def test_a_place_is_free_when_its_holder_wants_it_no_more() -> None:
    """One that names another key, another pool, or is being deleted."""
    some: tuple[dict[str, Any], ...] = (
        {"pools": [{"name": "a", "key": "other"}]},
        {"pools": ["b"]},
        {"pools": []},
        {"pools": ["a"], "metadata": {"deletionTimestamp": _NEW}},
    )
    for changes in some:
        gone = entry("x", namespace="n", created=_NEW, **changes)
        assert _holds(_LIVE, of=(gone, _CLAIMANT)) == _CLAIMANT.key
    deleting = entry(
        "x", namespace="n", pools=["a"], created=_NEW, metadata={"deletionTimestamp": _NEW}
    )
    assert _holds(_LIVE, of=[deleting]) is None


def test_a_holder_stays_where_a_further_namespace_is_free() -> None:
    """The pool's jobs run in one more namespace, or in another one, where nobody has a copy."""
    for where in (pools(a=["jobs", "more"]), pools(a=["more", "jobs"]), pools(a=["more"])):
        for namespace in where["a"].job_namespaces:
            location = Location(namespace, "x", "a")
            assert _holds(_LIVE, where=where, location=location) == _FIRST.key


def test_a_holder_stays_while_its_copy_is_deleted_by_hand() -> None:
    """A revision beside it says whose the place is."""
    kept = revision(_X, "a", at=_OLD, of=_FIRST)
    assert _holds(kept) == _FIRST.key
    assert _holds(kept, current(_X, "b", at=_OLD, of=_CLAIMANT)) == _CLAIMANT.key


def test_what_somebody_made_in_a_namespace_of_their_own_takes_no_place() -> None:
    """A ConfigMap with the labels of the claimant and the name of the pool's: it is not where the
    pool's jobs run, so what is there counts more."""
    forged = current(Location("m", "x", "a"), "b", at=_OLD, of=_CLAIMANT)
    assert _holds(_LIVE, forged) == _FIRST.key
    assert _holds(revision(_X, "a", at=_OLD, of=_FIRST), forged) == _FIRST.key
    moved = pools(a="more")
    assert _holds(_LIVE, forged, where=moved, location=Location("more", "x", "a")) == _FIRST.key


def test_the_copy_of_an_earlier_version_keeps_the_place_for_its_set() -> None:
    """It was named without the pool; a set's own ConfigMap has such a name, too, and counts not."""
    before = Location("jobs", "x")
    assert _holds(current(before, "a", at=_OLD, of=_FIRST)) == _FIRST.key
    at_home = entry("x", namespace="jobs", pools=["a"], created=_NEW)
    own = current(before, "a", at=_OLD, of=at_home)
    assert _holds(own, of=(at_home, _CLAIMANT)) == _CLAIMANT.key


def test_a_set_waits_for_its_home_while_another_has_an_earlier_copy_there() -> None:
    """Runs that were started before an upgrade may still mount it: until it is deleted, or the set
    that has it names the key no more."""
    host = entry("x", namespace="jobs", created=_OLD)
    copy = current(Location("jobs", "x"), "a", at=_OLD, of=_FIRST)
    home = Location("jobs", "x")
    assert _holds(copy, of=(host, _FIRST), location=home) == _FIRST.key
    assert _holds(of=(host, _FIRST), location=home) == host.key
    left = entry("x", namespace="n", pools=[{"name": "a", "key": "other"}], created=_NEW)
    broken = entry("x", namespace="n", pools=["a"], created=_NEW, requirements=["no good"])
    for guest in (left, broken):
        assert _holds(copy, of=(host, guest), location=home) == host.key


def test_a_holder_stays_while_its_pool_was_not_seen() -> None:
    """After a restart without Prefect, what is there decides."""
    assert _holds(_LIVE, where={}) == _FIRST.key
    forged = current(Location("m", "x", "a"), "b", at=_OLD, of=_CLAIMANT)
    assert _holds(_LIVE, forged, where={}) == _FIRST.key
    own = current(Location("n", "x", "a"), "a", at=_OLD, of=_FIRST)
    assert _holds(own, forged, where={}, location=Location("n", "x", "a")) == _FIRST.key
