import json
from typing import Any

import pytest

from flowdeps.delivery.choice import NONE
from flowdeps.delivery.kinds.kind import Fragment
from flowdeps.delivery.kinds.kubernetes.merge import merge
from flowdeps.delivery.methods.install import RESTRICTED, Install
from flowdeps.locks.index import Index
from flowdeps.state.fragments import pool_fragment, signature_of
from tests.unit.delivery.samples import pool
from tests.unit.state.builders import HOME, config, current, entry, revision


def _fragment(
    offered: dict[str, list[str]], *, default: str = NONE, **settings: object
) -> Fragment:
    entries = {key: signature_of(entry(key, requirements=it)) for key, it in offered.items()}
    return pool_fragment(
        entries,
        pool="k",
        settings=config({"name": "k", **settings}).pool("k"),
        default=default,
        index=Index("https://one.example.com/simple", ("https://two.example.com/simple",)),
        owner="flowdeps/flowdeps",
        cluster="",
        version="0.1.0",
    )


def install_of(fragment: Fragment) -> Install:
    assert isinstance(fragment.method, Install)
    return fragment.method


def test_a_fragment_is_the_same_in_whatever_order_sets_come() -> None:
    """Keys are sorted, so that equal sets make an equal template."""
    one = _fragment({"b": ["x"], "a": ["y"]})
    assert one == _fragment({"a": ["y"], "b": ["x"]})
    assert one.keys == ("a", "b")
    assert one.default == NONE


def test_a_description_says_whose_set_it_is_and_what_it_brings() -> None:
    """Who starts a run sees for each key the set and its requirements, the first six of them."""
    many = [f"p{number}" for number in range(8)]
    found = _fragment({"a": ["pandas>=2", "pyarrow"], "b": many}).descriptions
    assert found["a"] == "flows/a: pandas>=2, pyarrow"
    assert found["b"] == "flows/b: p0, p1, p2, p3, p4, p5 and 2 more"


def test_a_thousand_sets_with_long_requirements_fit_into_one_write() -> None:
    """Each description is cut, and of very many sets the last ones are only counted; each key is
    there to choose."""
    long = [f"package-{number}; python_version >= '3.11'" for number in range(8)]
    found = _fragment({f"set-{number:04}": long for number in range(1000)})
    assert len(found.keys) == 1000
    assert {len(text) for text in found.descriptions.values()} == {200}
    template = merge(pool(), found)
    schema = template["variables"]["properties"]["dependency_set"]
    assert len(schema["description"].encode()) < 65 * 1024
    assert len(json.dumps(template)) < 256 * 1024
    lines = schema["description"].splitlines()
    assert lines[2].startswith("set-0000: flows/set-0000: package-0; python_version")
    assert lines[2].endswith("…")
    assert lines[-1] == f"…and {1000 - len(found.descriptions)} more"


def test_a_few_sets_are_all_described() -> None:
    """Nothing is left out where there is room."""
    found = _fragment({f"set-{number:04}": ["pandas"] for number in range(500)})
    schema = merge(pool(), found)["variables"]["properties"]["dependency_set"]
    assert schema["description"].count("pandas") == 500
    assert "…and" not in schema["description"]


def test_a_set_with_a_mistake_is_still_described() -> None:
    """A set that stays in service while its spec is wrong keeps a place and a name."""
    assert _fragment({"a": ["no good"]}).descriptions["a"].startswith("flows/a")


def test_the_configuration_shapes_the_install_container() -> None:
    """Image, variable, resources, environment and security context come from the pool's entry."""
    found = _fragment(
        {"a": ["x"]},
        default="a",
        image="registry.example.com/flows:1",
        variable="packages",
        install={
            "resources": {"requests": {"cpu": "100m"}},
            "securityContext": {"runAsUser": 1000},
            "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com"}],
        },
    )
    assert (found.default_image, found.variable) == ("registry.example.com/flows:1", "packages")
    assert install_of(found).resources == {"requests": {"cpu": "100m"}}
    [container] = install_of(found).pieces(found).init_containers
    assert container["securityContext"] == {**RESTRICTED, "runAsUser": 1000}
    assert install_of(found).env == ({"name": "HTTPS_PROXY", "value": "http://proxy.example.com"},)
    assert found.default == "a"


@pytest.mark.parametrize("install", [{}, {"resources": {}}, {"securityContext": {}}])
def test_without_configuration_the_restricted_defaults_hold(install: dict[str, object]) -> None:
    """Nothing configured: the flow container's resources, and the restricted security context."""
    found = _fragment({"a": ["x"]}, install=install)
    assert install_of(found).resources is None
    [container] = install_of(found).pieces(found).init_containers
    assert container["securityContext"] == RESTRICTED
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_extras_of_a_run_without_a_set_come_from_the_operators_indexes() -> None:
    """In their order: an installer's own default would be outside of what the operator names."""
    template = json.dumps(merge(pool(), _fragment({"a": ["x"]})))
    urls = "https://one.example.com/simple https://two.example.com/simple"
    assert json.dumps({"name": "FLOWDEPS_INDEX", "value": urls}) in template


SHAPES: dict[str, dict[str, Any]] = {
    "requirement": {"requirements": ["pandas>=2"]},
    "source": {"requirementsFrom": [{"configMapRef": {"name": "lines", "key": "pins"}}]},
    "lock": {"requirements": None, "lockFrom": {"configMapRef": {"name": "lock", "key": "l"}}},
    "include": {"includes": ["base"]},
    "mistake": {"requirements": ["no good"]},
    "key": {"pools": [{"name": "k", "key": "other"}]},
    "default": {"pools": [{"name": "k", "default": True}]},
    "pool": {"pools": ["k", "second"]},
    "made anew": {"created": "2026-01-02T00:00:00Z"},
}


@pytest.mark.parametrize("change", SHAPES.values(), ids=SHAPES)
def test_what_a_template_shows_of_a_set_is_in_its_signature(change: dict[str, Any]) -> None:
    """A fragment is made from signatures alone, and a pool is requeued for another signature."""
    before, after = entry(pools=["k"]), entry(**{"pools": ["k"], **change})
    assert signature_of(before) == signature_of(entry(pools=["k"]))
    assert signature_of(before) != signature_of(after)


def test_a_live_config_map_is_in_the_signature_and_a_revision_is_not() -> None:
    """A key is offered once its live ConfigMap is there."""
    one, live = entry(), current(HOME, "a", at="2026-01-01T00:00:00Z")
    old = revision(HOME, "b", at="2026-01-01T00:00:00Z")
    assert signature_of(one, [live]) != signature_of(one, [])
    assert signature_of(one, [live]) == signature_of(one, [old, live])


@pytest.mark.parametrize(
    "change",
    [
        {"python": {"version": "3.11"}},
        {"constraints": ["numpy<2"]},
        {"interval": "24h"},
        {"suspend": True},
        {"revisionHistoryLimit": 1},
        {"metadata": {"generation": 2, "annotations": {"a": "b"}}},
        {"version": 2, "status": {"observedGeneration": 1}},
        {"requirements": [*(f"p{number}" for number in range(7)), "other"]},
    ],
    ids=str,
)
def test_no_pool_is_requeued_for_what_its_template_does_not_show(change: dict[str, Any]) -> None:
    """Nor for a requirement beyond those that a description names."""
    given: dict[str, Any] = {"pools": ["k"], "requirements": [f"p{number}" for number in range(8)]}
    after = entry(**{**given, **change})
    assert after.spec
    assert signature_of(entry(**given)) == signature_of(after)
