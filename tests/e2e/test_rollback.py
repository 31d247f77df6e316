"""Back to the pins of before with one line, while a run that started earlier goes on."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.cluster.index import Index
from tests.cluster.prefect_api import FlowRun
from tests.e2e.stage import SITE, TEAM, Stage, image_set
from tests.support import sets

pytestmark = pytest.mark.node

_SECONDS = 5.0
# Its import waits until somebody opens the door: so a run is under way for as long as we like.
_WAITING = """
import time, urllib.request
while True:
    try:
        urllib.request.urlopen({url!r}, timeout=5)
        break
    except OSError:
        time.sleep(0.2)
"""


@pytest.fixture(scope="module")
def door(stage: Stage) -> Iterator[Index]:
    """A place where the run that waits looks whether it may go on."""
    with Index(host=stage.node.gateway) as one:
        url = f"{one.url}open/"
        stage.index.add("waiting", "1.0", modules={"waiting.py": _WAITING.format(url=url)})
        yield one


@pytest.fixture(scope="module")
def early(stage: Stage, door: Index) -> Iterator[FlowRun]:
    """A run that sees the second revision, and isn't over yet."""
    for version in ("1.0", "2.0"):
        stage.index.add("rolling", version)
    stage.offer(rolling("rolling<2"))
    stage.offer(rolling("rolling>=2"))
    run = stage.start("waiting", "rolling", choice="rolling")
    asked = f"{door.url}open/".removeprefix(door.base_url)
    sets.wait(lambda: asked in door.requests, what="the run to begin", seconds=300)
    yield run
    stage.let_go()


def test_a_rollback_is_one_patch_and_takes_seconds(stage: Stage, early: FlowRun) -> None:
    """From the patch to the ConfigMap that the next run mounts; nothing is resolved, and no index
    is asked."""
    assert early
    body = sets.get_set(stage.node, "rolling", namespace=TEAM)
    newest, oldest = body["status"]["revisions"]
    assert body["status"]["lock"]["digest"] == newest["digest"]
    assert "rolling==2.0" in stage.lock("rolling")
    resolved = stage.operator.metric("flowdeps_resolve_seconds_count")
    stage.index.forget()
    seconds = change_to(stage, oldest["name"], "1.0")
    for _ in range(2):  # on a busy machine a single one may have had no turn
        if seconds >= _SECONDS:
            change_to(stage, newest["name"], "2.0")
            seconds = change_to(stage, oldest["name"], "1.0")
    assert seconds < _SECONDS
    found = sets.wait_ready(stage.node, "rolling", namespace=TEAM)
    assert found["status"]["lock"]["digest"] == oldest["digest"]
    assert sets.condition(found, "Resolved")["reason"] == "Pinned"
    assert stage.operator.metric("flowdeps_resolve_seconds_count") == resolved > 0
    assert stage.index.requests == []


def test_the_next_run_has_the_pins_of_before(stage: Stage, early: FlowRun) -> None:
    """While the run that started earlier is still under way."""
    assert not stage.api.flow_run(early).final
    saw = stage.seen(stage.start("rolling", choice="rolling"))
    assert saw["packages"]["rolling"]["version"] == "1.0"
    assert saw["lock"] == stage.digest("rolling")


def test_a_run_goes_on_with_what_it_started_with(stage: Stage, early: FlowRun, door: Index) -> None:
    """What it imports only after the change is of the lock that it was started with."""
    assert not stage.api.flow_run(early).final
    door.add("open", "1.0")
    saw = stage.seen(early)
    assert saw["packages"]["rolling"] == {"version": "2.0", "file": f"{SITE}/rolling/__init__.py"}
    assert saw["lock"] != stage.digest("rolling")


def change_to(stage: Stage, revision: str, version: str) -> float:
    """Patch the set back or forth; the seconds until the next run would have the version."""
    patch = json.dumps({"spec": {"revision": revision}})
    start = time.monotonic()
    stage.node.kubectl("patch", "fds", "rolling", "-n", TEAM, "--type=merge", "-p", patch)
    sets.wait(lambda: f"rolling=={version}" in stage.lock("rolling"), what=f"the pin {version}")
    return time.monotonic() - start


def rolling(requirement: str) -> sets.Body:
    """The set; waiting is not imported in its trial, which would wait for ever."""
    return image_set("rolling", [requirement, "waiting"], verify={"imports": ["rolling"]})
