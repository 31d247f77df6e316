"""What a marker says of the names that were inserted: older markers say nothing, anybody can write.

``merged_without_names.json`` holds templates as the last version merged them whose markers hold no
names, beside what they were before. Of the install container's script only the first line is kept.
"""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from flowdeps.delivery.choice import find
from flowdeps.delivery.kinds.kubernetes.merge import merge, remove
from tests.unit.delivery.samples import Template, flow_of, fragment, pod_of, pool, same

_CASES = json.loads(Path(__file__).with_name("merged_without_names.json").read_text("utf-8"))
PLACES = ("volumes", "initContainers", "volumeMounts", "env", "labels")


def marker_of(template: Template) -> Any:
    return template["variables"]["properties"]["dependency_set"]["flowdeps.dev"]


def labels_of(template: Template) -> Any:
    return template["job_configuration"]["job_manifest"]["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize("case", _CASES, ids=[one["case"] for one in _CASES])
def test_a_template_of_the_version_before_comes_back_to_the_letter(case: Any) -> None:
    """Its marker holds no names, and everything of ours is known nevertheless."""
    live = find(case["merged"])
    assert live is not None
    assert "names" not in live.record
    assert same(remove(case["merged"]), case["template"])


@pytest.mark.parametrize("case", _CASES, ids=[one["case"] for one in _CASES])
def test_merging_over_the_version_before_equals_merging_without_it(case: Any) -> None:
    """An upgrade leaves nothing of the older fragment."""
    given = fragment(default_image="registry.example.com/base:3")
    assert same(merge(case["merged"], given), merge(case["template"], given))


def test_an_altered_piece_of_the_version_before_is_healed() -> None:
    """It is known by its name, though its content is no longer ours."""
    case = _CASES[0]
    damaged = copy.deepcopy(case["merged"])
    for items in (pod_of(damaged)["volumes"], pod_of(damaged)["initContainers"]):
        items[:] = [{"name": item["name"]} for item in items]
    flow_of(damaged)["volumeMounts"] = [{"name": "flowdeps-site", "mountPath": "/srv"}]
    for name in ("FLOWDEPS_SET", "FLOWDEPS_LOCK"):
        flow_of(damaged)["env"].append({"name": name, "value": "x"})
    labels_of(damaged)["flowdeps.dev/set"] = "x"
    assert same(remove(damaged), case["template"])


def test_the_marker_names_what_was_inserted() -> None:
    """Every list is there, so that one that is missing is seen to be damage."""
    assert marker_of(merge(pool(), fragment()))["names"] == {
        "volumes": ["flowdeps-lock", "flowdeps-credentials", "flowdeps-site"],
        "initContainers": ["flowdeps-install"],
        "volumeMounts": ["flowdeps-site"],
        "env": ["FLOWDEPS_SET", "FLOWDEPS_LOCK"],
        "labels": ["flowdeps.dev/set"],
    }


def with_theirs() -> Template:
    """A merged template in which others have added one item to each place."""
    template = merge(pool(), fragment())
    pod_of(template)["volumes"].append({"name": "theirs", "emptyDir": {}})
    pod_of(template)["initContainers"].append({"name": "theirs"})
    flow_of(template)["volumeMounts"].append({"name": "theirs", "mountPath": "/theirs"})
    flow_of(template)["env"].append({"name": "THEIRS", "value": "1"})
    labels_of(template)["theirs"] = "yes"
    return template


@pytest.mark.parametrize("place", PLACES)
def test_a_name_that_is_not_ours_is_never_taken_out(place: str) -> None:
    """Whoever writes somebody else's name into the marker makes the operator remove nothing."""
    template = with_theirs()
    expected = remove(template)
    marker_of(template)["names"][place] += ["theirs", "THEIRS", "prefect-job", ""]
    assert same(remove(template), expected)
    assert json.dumps(expected).count('"theirs"') == 4


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("names", [None, "flowdeps-x", 7, {}, [1], ["flowdeps-lock", None], [[]]])
def test_names_of_a_wrong_type_are_those_of_an_older_marker(place: str, names: Any) -> None:
    """Nonsense in the marker is no error, and what we inserted goes."""
    template = with_theirs()
    expected = remove(template)
    marker_of(template)["names"][place] = names
    assert same(remove(template), expected)
    del marker_of(template)["names"][place]
    assert same(remove(template), expected)
    marker_of(template)["names"] = names
    assert same(remove(template), expected)


@pytest.mark.parametrize("place", PLACES)
def test_names_that_somebody_took_from_the_marker_are_known_by_their_content(place: str) -> None:
    """The next merge heals the fragment, and its removal leaves nothing of ours."""
    whole = merge(pool(), fragment())
    damaged = copy.deepcopy(whole)
    marker_of(damaged)["names"][place] = []
    assert merge(damaged, fragment()) == whole
    assert same(remove(damaged), pool())


@pytest.mark.parametrize("name", [["x"], {"a": 1}, 7, None])
def test_an_item_whose_name_is_no_text_stays(name: Any) -> None:
    """Somebody else's mistake is left for them to see."""
    template = merge(pool(), fragment())
    pod_of(template)["volumes"].append({"name": name})
    assert pod_of(remove(template))["volumes"] == [{"name": name}]


def test_a_marker_that_is_also_that_of_extras_is_taken_out_once() -> None:
    """Somebody joined the two marks by hand."""
    template = merge(pool(), fragment())
    marker_of(template)["extras"] = "flowdeps/flowdeps"
    assert same(remove(template), pool())
