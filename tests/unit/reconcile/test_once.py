"""What a reconcile needs is worked out once."""

from tests.bench.way import walk


def test_nothing_is_worked_out_twice_on_a_sets_way_to_ready() -> None:
    """Status and spec are parsed once for each version of the object; where the lock goes, who
    has each location and what each ConfigMap should be are worked out once in a reconcile."""
    way = walk()
    assert way.parses
    assert set(way.parses.values()) == {1}
    assert {what for what, _, _ in way.computed} == {"locations", "holder", "ConfigMaps"}
    assert set(way.computed.values()) == {1}
    assert way.total("spec") == 1
    assert way.reconciles["flows/ml"] <= 6
