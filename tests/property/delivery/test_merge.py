"""What holds for every template that can carry the fragment."""

import copy
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flowdeps.delivery.choice import find
from flowdeps.delivery.kinds.kind import Fragment, MergeRefusedError
from flowdeps.delivery.kinds.kubernetes.merge import merge, remove
from flowdeps.delivery.kinds.kubernetes.spliced import variable_of
from tests.property.delivery.strategies import any_fragments, edits, fragments, lists_of, templates
from tests.unit.delivery.samples import Template, flow_of, pod_of, same

OURS = ("flowdeps-", "FLOWDEPS_")


@given(template=templates(), fragment=any_fragments())
def test_removing_what_was_merged_restores_the_template(
    template: Template, fragment: Fragment
) -> None:
    """remove(merge(t, f)) is t to the letter, and neither changes its input."""
    before = copy.deepcopy(template)
    merged = merge(template, fragment)
    unchanged = copy.deepcopy(merged)
    assert same(remove(merged), before)
    assert same(template, before)
    assert same(merged, unchanged)


@given(template=templates(), first=any_fragments(), second=any_fragments())
def test_merging_over_a_fragment_equals_merging_without_it(
    template: Template, first: Fragment, second: Fragment
) -> None:
    """merge(merge(t, f1), f2) is merge(t, f2), so merge is idempotent."""
    assert same(merge(merge(template, first), second), merge(template, second))


@given(template=templates())
def test_a_template_without_a_fragment_has_nothing_to_remove(template: Template) -> None:
    """remove and find see nothing of ours in somebody else's template."""
    assert same(remove(template), template)
    assert find(template) is None


@given(template=templates(), fragment=any_fragments())
def test_find_returns_what_was_merged(template: Template, fragment: Fragment) -> None:
    """find gives back the fragment's owner, version, variable, keys and default."""
    found = find(merge(template, fragment))
    assert found is not None
    assert found.owner == fragment.owner
    assert found.version == fragment.version
    assert found.variable == fragment.variable
    assert found.keys == fragment.keys
    assert found.default == fragment.default


@given(
    data=st.data(),
    template=templates(),
    fragment=any_fragments(),
    second=any_fragments(),
)
def test_what_others_write_after_us_stays(
    data: Any, template: Template, fragment: Fragment, second: Fragment
) -> None:
    """Edits around our fragment survive re-merge and removal, in whatever order keys come back."""
    edited = data.draw(edits(merge(template, fragment)))
    bare = remove(edited)
    assert find(bare) is None
    assert same(remove(merge(edited, second)), bare)
    assert _foreign(edited) == _foreign(bare)
    assert bare["variables"]["properties"]["added"] == edited["variables"]["properties"]["added"]
    assert flow_of(bare)["added"] == flow_of(edited)["added"]


@given(data=st.data(), template=templates(), fragment=any_fragments())
def test_a_fragment_with_a_piece_missing_is_healed(
    data: Any, template: Template, fragment: Fragment
) -> None:
    """Whatever item of ours somebody takes out of a list, the next merge brings it back."""
    whole = merge(template, fragment)
    damaged = copy.deepcopy(whole)
    ours = [(items, item) for items in lists_of(damaged) for item in items if _is_ours(item)]
    assume(ours)
    items, item = data.draw(st.sampled_from(ours))
    items.remove(item)
    assert same(merge(damaged, fragment), whole)


@given(template=templates(), first=fragments(), second=fragments())
def test_the_variable_for_extras_comes_and_goes_with_the_fragment(
    template: Template, first: Fragment, second: Fragment
) -> None:
    """It is offered as the fragment says, also where a hand took it, or the older one had none."""
    damaged = merge(template, first)
    damaged["variables"]["properties"].pop(first.extras_variable, None)
    merged = merge(damaged, second)
    assert same(merged, merge(template, second))
    names = {"extra_py_deps", "extras"} & set(merged["variables"]["properties"])
    assert names == ({second.extras_variable} if second.extras else set())
    # Without it, what names extras is empty in all runs: image or envFrom may set it.
    given = '"name": "FLOWDEPS_EXTRAS", "value": " {{ '
    assert (given in json.dumps(merged)) is second.extras
    assert ('"name": "FLOWDEPS_EXTRAS", "value": ""' in json.dumps(merged)) is not second.extras


@given(data=st.data(), template=templates(), fragment=fragments())
def test_what_is_left_of_a_fragment_without_its_marker_is_healed(
    data: Any, template: Template, fragment: Fragment
) -> None:
    """Somebody takes out our variable and perhaps more, and adds things: while the volume of lock
    or credentials or the install container is there, the next merge makes the fragment whole, and
    its removal leaves nothing of ours and all of theirs."""
    damaged = data.draw(edits(merge(template, fragment)))
    del damaged["variables"]["properties"][fragment.variable]
    if data.draw(st.booleans()):
        damaged["variables"]["properties"].pop(fragment.extras_variable, None)
    ours = [(items, item) for items in lists_of(damaged) for item in items if _is_ours(item)]
    kept = data.draw(st.sampled_from(["flowdeps-lock", "flowdeps-credentials", "flowdeps-install"]))
    for items, item in ours:
        if _name(item) != kept and data.draw(st.booleans()):
            items.remove(item)
    healed = merge(damaged, fragment)
    assert find(healed) == find(merge(template, fragment))
    bare = remove(healed)
    assert same(bare, remove(damaged))
    assert same(remove(bare), bare)
    assert "flowdeps" not in json.dumps(bare)
    assert _foreign(bare) == _foreign(damaged)


@given(data=st.data(), template=templates(), fragment=fragments())
def test_without_a_marker_what_only_has_a_name_of_ours_is_not_ours(
    data: Any, template: Template, fragment: Fragment
) -> None:
    """Where somebody's own volume, mount, container or entry took the place of one of ours and the
    marker went, it is refused, and removal leaves it."""
    damaged = merge(template, fragment)
    del damaged["variables"]["properties"][fragment.variable]
    ours = [(items, item) for items in lists_of(damaged) for item in items if _is_ours(item)]
    items, item = data.draw(st.sampled_from(ours))
    theirs = {
        "name": item["name"],
        **data.draw(
            st.sampled_from(
                [
                    {},
                    {"hostPath": {"path": "/srv"}},
                    {"configMap": {"name": "flowdeps-ml"}},
                    {"mountPath": "/srv"},
                    {"value": "x"},
                    {"command": ["/bin/sh", "-c", "true"]},
                ]
            )
        ),
    }
    items[items.index(item)] = theirs
    with pytest.raises(MergeRefusedError, match="no marker"):
        merge(damaged, fragment)
    assert theirs in [item for items in lists_of(remove(damaged)) for item in items]


_values = st.recursive(
    st.none() | st.integers(0, 1) | st.sampled_from(["", "{{ x }}", "prefect-job", "Job"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["name", "kind", "spec", "template", "containers", "env", "owner"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@given(data=st.data(), template=templates(), fragment=any_fragments())
def test_a_template_of_any_shape_is_merged_or_refused(
    data: Any, template: Template, fragment: Fragment
) -> None:
    """One value replaced by another of any type never ends in anything but a refusal."""
    broken = merge(template, fragment) if data.draw(st.booleans()) else copy.deepcopy(template)
    parents = [node for node in _nodes(broken) if node]
    assume(parents)
    parent = data.draw(st.sampled_from(parents))
    keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
    parent[data.draw(st.sampled_from(keys))] = data.draw(_values)
    before = json.dumps(broken)
    remove(broken)
    find(broken)
    try:
        merged = merge(broken, fragment)
    except MergeRefusedError:
        merged = broken
    assert same(remove(merged), remove(broken))
    assert json.dumps(broken) == before


def _nodes(value: Any) -> list[Any]:
    if not isinstance(value, dict | list):
        return []
    children = value.values() if isinstance(value, dict) else value
    return [value, *(node for child in children for node in _nodes(child))]


def _name(item: Any) -> Any:
    return item.get("name") if isinstance(item, dict) else None


def _is_ours(item: Any) -> bool:
    return str(_name(item)).startswith(OURS)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _foreign(template: Template) -> list[Any]:
    pod, flow = pod_of(template), flow_of(template)
    lists = (
        pod.get("volumes"),
        pod.get("initContainers"),
        pod["containers"][1:],
        flow.get("volumeMounts"),
        flow.get("env"),
    )
    theirs = [
        [one for one in _list(items) if not (_is_ours(one) or variable_of(one))] for items in lists
    ]
    return [[_name(one) for one in items if _name(one) != "PYTHONPATH"] for items in theirs]
