"""What stops a run before its flow starts, and says why in the run's own log in Prefect.

The line takes half a minute: the worker waits that long for a replacement of a failed job before
it calls the run crashed and forwards its pod's log. So all runs of this module fail together.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from flowdeps.api.names import mounted_name
from flowdeps.delivery.in_image.mounted import digest_of
from tests.cluster import images
from tests.cluster.index import Index
from tests.cluster.prefect_api import FlowRun
from tests.e2e.stage import JOBS, POOL, TEAM, Stage, image_set, team_set
from tests.support import sets

pytestmark = pytest.mark.node

# What a run may wait for its end, of ten that start together; a pending run would wait for ever.
_SECONDS = 400.0
_HASH = r"the lock's hash for {package} 1\.0 does not match what http\S+ serves; nothing was"
_UNREACHABLE = r"http\S+ cannot be reached or does not answer; nothing was installed"
_LINES = {
    "a changed hash (uv)": _HASH.format(package="tampered"),
    "a changed hash (pip)": _HASH.format(package="tampered"),
    "a changed wheel (uv)": _HASH.format(package="swapped"),
    "a changed wheel (pip)": _HASH.format(package="swapped"),
    "no such set any more": rf'dependency set "gone" does not exist for namespace "{JOBS}"',
    "no ConfigMap": rf'dependency set "lost" does not exist for namespace "{JOBS}"',
    "another interpreter": (
        rf"the lock of {TEAM}/newer is for Python 3\.12, the flow's image has Python 3\.11: use an"
    ),
    "another image": (
        rf"the lock of {TEAM}/leaning was made for an image that has layered 1\.0; this one has no"
        rf" layered: run the flow in {images.FLOW_PATH}, or"
    ),
    "no index (uv)": _UNREACHABLE,
    "no index (pip)": _UNREACHABLE,
}


@pytest.fixture(scope="module")
def runs(stage: Stage) -> Iterator[Mapping[str, FlowRun]]:
    """Runs that can't have what they chose, started together."""
    for name in ("tampered", "swapped", "plain"):
        stage.index.add(name, "1.0")
    stage.index.add("leaning", "1.0", requires=["layered"])
    with Index(host=stage.node.gateway) as other:
        other.add("plain", "1.0")
        stage.offer(
            team_set("tampered", ["tampered"]),
            team_set("swapped", ["swapped"]),
            team_set("gone", ["plain"]),
            team_set("lost", ["plain"]),
            team_set("newer", ["plain"], python="3.12"),
            image_set("leaning", ["leaning"], image=images.FLOW_PATH),
            team_set("unreachable", ["plain"], index={"url": other.url}),
        )
    # The run chooses its set while it is there, and starts when it is not.
    waiting = start_later(stage, choice="gone")
    stage.node.kubectl("delete", "fds", "gone", "-n", TEAM, "--timeout=180s")
    stage.index.corrupt("swapped", "1.0")
    stage.operator.down()  # it would mend what comes now
    try:
        change_hash(stage, mounted_name("tampered", pool=POOL))
        stage.node.kubectl("delete", "configmap", mounted_name("lost", pool=POOL), "-n", JOBS)
        release(stage, waiting)
        yield {
            "no such set any more": waiting,
            "a changed hash (uv)": stage.start(choice="tampered", image=images.FLOW_UV),
            "a changed hash (pip)": stage.start(choice="tampered", image=images.FLOW_PIP),
            "a changed wheel (uv)": stage.start(choice="swapped", image=images.FLOW_UV),
            "a changed wheel (pip)": stage.start(choice="swapped", image=images.FLOW_PIP),
            "no ConfigMap": stage.start(choice="lost"),
            "another interpreter": stage.start(choice="newer"),
            "another image": stage.start(choice="leaning"),
            "no index (uv)": stage.start(choice="unreachable", image=images.FLOW_UV),
            "no index (pip)": stage.start(choice="unreachable", image=images.FLOW_PIP),
        }
    finally:
        stage.index.heal()
        stage.let_go()


@pytest.mark.parametrize("cause", _LINES)
def test_a_run_that_cannot_have_its_set_ends_with_one_line_that_says_why(
    stage: Stage, runs: Mapping[str, FlowRun], cause: str
) -> None:
    """Crashed, not pending; the line is in the run's log in Prefect, and no other is ours."""
    run = stage.api.wait(runs[cause], seconds=_SECONDS)
    assert run.state == "CRASHED"
    [line] = stage.own_lines(run)
    assert re.search(_LINES[cause], line), line


@pytest.mark.parametrize("cause", _LINES)
def test_no_flow_starts_without_the_set_that_it_chose(
    stage: Stage, runs: Mapping[str, FlowRun], cause: str
) -> None:
    """The flow's container was never started, so nothing ran with other packages than chosen."""
    run = stage.api.wait(runs[cause], seconds=_SECONDS)
    states = stage.api.call("GET", f"/flow_run_states/?flow_run_id={run.id}")
    assert "RUNNING" not in {state["type"] for state in states}
    [status] = stage.pod(run, namespace=JOBS)["status"]["containerStatuses"]
    assert status["name"] == "prefect-job"
    assert "startedAt" not in json.dumps(status)


def start_later(stage: Stage, *, choice: str) -> FlowRun:
    """A run that is due in a year."""
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2099-01-01T00:00:00Z"}}
    body: dict[str, Any] = {
        "parameters": {"packages": []},
        "job_variables": {"dependency_set": choice},
        "state": later,
    }
    path = f"/deployments/{stage.deployment}/create_flow_run"
    created = stage.api.call("POST", path, body)
    return FlowRun(
        id=created["id"],
        name=created["name"],
        state="SCHEDULED",
        message=None,
        created=created["created"],
        start_time=None,
    )


def release(stage: Stage, run: FlowRun) -> None:
    """Make a run due that waits for its time."""
    due = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2020-01-01T00:00:00Z"}}
    stage.api.call("POST", f"/flow_runs/{run.id}/set_state", {"state": due, "force": True})


def change_hash(stage: Stage, name: str) -> None:
    """Put another hash into the lock that runs mount, and all that has to agree with it."""
    data = sets.get(stage.node, "cm", name, namespace=JOBS)["data"]
    lock = data["requirements.txt"]
    changed = re.sub(r"sha256:\w+", f"sha256:{'0' * 64}", lock)
    assert changed != lock
    digest = digest_of(changed)
    about = json.dumps({**json.loads(data["lock.json"]), "digest": digest})
    forged = {"requirements.txt": changed, "lock.json": about, "digest": digest}
    patch = json.dumps({"data": forged})
    stage.node.kubectl("patch", "configmap", name, "-n", JOBS, "--type=merge", "-p", patch)
