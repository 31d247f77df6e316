"""What runs of one pool see: the set they chose, the set as it is now, or their image alone."""

import json
from collections.abc import Iterator, Mapping

import pytest

from tests.cluster import images
from tests.cluster.prefect_api import FlowRun
from tests.e2e.stage import OTHER_JOBS, POOL, SITE, TEAM, Stage, team_set
from tests.support import sets

pytestmark = pytest.mark.node

# Of `shared` each set has another version; `layered` 1.0 and `baked` are in an image, too.
_OLD = team_set("old", ["shared", "only-old", "layered"], constraints=["shared<2"])
_NEW = team_set("new", ["shared", "only-new"])
_ALL = ("shared", "only-old", "only-new")


@pytest.fixture(scope="module")
def runs(stage: Stage) -> Iterator[Mapping[str, FlowRun]]:
    """Four runs that were started together."""
    for name, version in [("shared", "1.5"), ("shared", "2.5"), ("layered", "2.0")]:
        stage.index.add(name, version)
    stage.index.add("only-old", "1.0")
    stage.index.add("only-new", "1.0")
    stage.offer(_OLD, _NEW)
    of_image = ("baked", "layered", "prefect")
    path = images.FLOW_PATH
    yield {
        "old": stage.start(*_ALL, choice="old", image=images.FLOW_UV),
        "new": stage.start(*_ALL, choice="new", image=images.FLOW_PIP),
        "nothing": stage.start(*_ALL, *of_image, image=path),
        "elsewhere": stage.start(*_ALL, *of_image, choice="old", image=path, namespace=OTHER_JOBS),
    }
    stage.let_go()


@pytest.mark.parametrize(
    ("choice", "shared", "own", "foreign"),
    [("old", "1.5", "only-old", "only-new"), ("new", "2.5", "only-new", "only-old")],
)
def test_a_run_sees_the_pins_of_the_set_it_chose(
    stage: Stage,
    runs: Mapping[str, FlowRun],
    choice: str,
    shared: str,
    own: str,
    foreign: str,
) -> None:
    """Also while a run of the same pool sees another set's; and none of the other's packages."""
    packages = stage.seen(runs[choice])["packages"]
    assert packages["shared"] == {"version": shared, "file": f"{SITE}/shared/__init__.py"}
    assert packages[own]["file"].startswith(f"{SITE}/")
    assert packages[foreign]["version"] is None


@pytest.mark.parametrize("choice", ["old", "new"])
def test_a_run_knows_its_set_and_lock(
    stage: Stage, runs: Mapping[str, FlowRun], choice: str
) -> None:
    """FLOWDEPS_SET and FLOWDEPS_LOCK name what the set's status says that it serves."""
    saw = stage.seen(runs[choice])
    assert saw["set"] == choice
    assert saw["lock"] == stage.digest(choice)


def test_a_run_that_chooses_nothing_sees_its_image_alone(
    stage: Stage, runs: Mapping[str, FlowRun]
) -> None:
    """Nothing of any set can be imported, and what can comes from the image."""
    saw = stage.seen(runs["nothing"])
    assert {saw["packages"][name]["version"] for name in _ALL} == {None}
    assert saw["packages"]["prefect"]["file"].startswith("/opt/prefect/lib/")
    assert saw["set"] == "none"
    assert saw["lock"] is None


def test_an_images_own_pythonpath_stays_in_effect_without_a_set(
    stage: Stage,
    runs: Mapping[str, FlowRun],
) -> None:
    """What the image's PYTHONPATH leads to is found as if we were not there."""
    packages = stage.seen(runs["nothing"])["packages"]
    assert packages["baked"]["version"] == "1.0"
    assert packages["layered"]["version"] == "1.0"


def test_an_images_own_pythonpath_stays_in_effect_before_the_set(
    stage: Stage,
    runs: Mapping[str, FlowRun],
) -> None:
    """What only the set has is found behind it; what both have is the image's."""
    packages = stage.seen(runs["elsewhere"])["packages"]
    for name in ("baked", "layered"):
        own = {"version": "1.0", "file": f"{images.BAKED}/{name}/__init__.py"}
        assert packages[name] == own
    assert packages["shared"] == {"version": "1.5", "file": f"{SITE}/shared/__init__.py"}


def test_a_set_serves_runs_in_every_job_namespace(
    stage: Stage, runs: Mapping[str, FlowRun]
) -> None:
    """Also where the set itself is not: its lock is copied to each namespace of the pool's jobs."""
    saw = stage.seen(runs["elsewhere"])
    assert saw["packages"]["shared"]["version"] == "1.5"
    assert saw["lock"] == stage.digest("old")


def test_the_locks_home_is_the_sets_own_namespace(
    stage: Stage, runs: Mapping[str, FlowRun]
) -> None:
    """So locks go on being kept while nobody knows where a pool's jobs run."""
    assert runs
    names = sets.names(stage.node, "cm", namespace=TEAM)
    assert {"flowdeps-old", "flowdeps-new"} <= names


def test_a_changed_set_shows_in_the_next_run(stage: Stage, runs: Mapping[str, FlowRun]) -> None:
    """With no change to the deployment, and none to the pool's template."""
    seen_before = stage.seen(runs["old"])
    before = stage.api.template(POOL)
    stage.offer(team_set("old", _OLD["spec"]["requirements"], constraints=["shared>=2"]))
    saw = stage.seen(stage.start("shared", choice="old"))
    assert saw["packages"]["shared"]["version"] == "2.5"
    assert saw["lock"] == stage.digest("old") != seen_before["lock"]
    assert json.dumps(stage.api.template(POOL)) == json.dumps(before)
