"""Packages for one run beside its set: a job variable, its value perhaps a Prefect variable."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.cluster.prefect_api import FlowRun
from tests.e2e.stage import PLAIN, POOL, SITE, Stage, team_set

pytestmark = pytest.mark.node

_VARIABLES: Mapping[str, Any] = {"extras_text": "handy leant", "extras_list": ["handy", "leant"]}


@pytest.fixture(scope="module")
def runs(stage: Stage) -> Iterator[Mapping[str, FlowRun]]:
    """Runs that name extras in different ways, and one without a set."""
    for name, version in [("leant", "1.0"), ("leant", "2.0"), ("settled", "1.0")]:
        stage.index.add(name, version)
    # handy would bring leant 2.0, but the lock has 1.0.
    stage.index.add("handy", "3.0", requires=["leant"])
    for name, value in _VARIABLES.items():
        stage.api.call("POST", "/variables/", {"name": name, "value": value})
    stage.offer(
        team_set("settled", ["settled", "leant<2"]),
        team_set("plain", ["settled"], pools=[PLAIN]),
    )
    values = {name: "{{ prefect.variables." + name + " }}" for name in _VARIABLES}
    wanted = {"itself": "handy", **values}
    packages = ("handy", "leant", "settled")
    yield {
        "no set": stage.start(*packages, extras="handy"),
        **{
            name: stage.start(*packages, choice="settled", extras=value)
            for name, value in wanted.items()
        },
    }
    stage.let_go()


@pytest.mark.parametrize("way", ["itself", *_VARIABLES])
def test_a_run_may_have_packages_beside_its_set(
    stage: Stage, runs: Mapping[str, FlowRun], way: str
) -> None:
    """Named in the job variable, or by a Prefect variable that is a text or a list; what the lock
    has stays, and the run's log says what nobody pinned."""
    packages = stage.seen(runs[way])["packages"]
    assert packages["handy"] == {"version": "3.0", "file": f"{SITE}/handy/__init__.py"}
    assert packages["leant"]["version"] == "1.0"
    assert packages["settled"]["version"] == "1.0"


@pytest.mark.parametrize("way", ["itself", *_VARIABLES])
def test_what_is_not_pinned_is_said(stage: Stage, runs: Mapping[str, FlowRun], way: str) -> None:
    """In the log of the container that installs it; what the lock has isn't among it."""
    stage.seen(runs[way])
    said = stage.install_log(runs[way])
    assert "warning: unpinned: installed handy 3.0 beside the lock" in said


def test_extras_without_a_set_come_from_the_operators_index(
    stage: Stage, runs: Mapping[str, FlowRun]
) -> None:
    """There is no lock to say where from; an installer's own default would be outside."""
    packages = stage.seen(runs["no set"])["packages"]
    assert packages["handy"]["version"] == "3.0"
    assert packages["leant"]["version"] == "2.0"
    assert packages["settled"]["version"] is None


def test_a_pool_may_forbid_extras(stage: Stage, runs: Mapping[str, FlowRun]) -> None:
    """extraPackages: Forbidden: its template has no such variable, and what the image or another
    variable of the container says instead is not read."""
    assert runs
    assert "extra_py_deps" in stage.api.template(POOL)["variables"]["properties"]
    template = stage.api.template(PLAIN)
    assert "dependency_set" in template["variables"]["properties"]
    assert "extra_py_deps" not in template["variables"]["properties"]
    job = template["job_configuration"]["job_manifest"]
    [install] = job["spec"]["template"]["spec"]["initContainers"]
    extras = [entry for entry in install["env"] if "EXTRAS" in entry["name"]]
    assert extras == [{"name": "FLOWDEPS_EXTRAS", "value": ""}]
