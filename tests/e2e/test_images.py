"""Sets on top of an image with the real Prefect, which requires python-dateutil < 3.

The index has python-dateutil 4.0.0 and a package that is happy with the image's own copy. What
people do by hand puts 4.0.0 before that; a lock for the image leaves it alone, and what can't be
had on top of the image is refused before any run.
"""

import json
import re
from collections.abc import Iterator

import pytest

from flowdeps.api.names import mounted_name
from tests.cluster import images
from tests.cluster.index import Index
from tests.cluster.prefect_api import FlowRun
from tests.e2e.stage import JOBS, POOL, SECONDS, SITE, TEAM, Stage, image_set
from tests.support import sets

pytestmark = pytest.mark.node

# The recipe, and what the flow would then see.
_RECIPE = """
pip install --quiet --target /tmp/pydeps --index-url "$INDEX" --trusted-host "$HOST" frames
export PYTHONPATH=/tmp/pydeps
python -c 'import dateutil; print("dateutil is", dateutil.__file__)'
pip check || true
"""

# A lock of ours in its place, as its own words say: no dependencies, every hash.
_OURS = """
cat >/tmp/lock.txt <<'END'
{lock}
END
pip install --quiet --target /tmp/site --index-url "$INDEX" --trusted-host "$HOST" \
    --no-deps --require-hashes --only-binary :all: --requirement /tmp/lock.txt
export PYTHONPATH=/tmp/site
python -c 'import frames, fresh, dateutil; print("dateutil is", dateutil.__file__)'
pip check
"""


@pytest.fixture(scope="module")
def index(stage: Stage) -> Index:
    """The index with its packages."""
    modules = {"dateutil/__init__.py": '__version__ = "4.0.0"\n'}
    stage.index.add("python-dateutil", "4.0.0", modules=modules)
    stage.index.add("frames", "1.0", requires=["python-dateutil>=2.8.2", "fresh"])
    stage.index.add("fresh", "1.0")
    return stage.index


@pytest.fixture(scope="module")
def run(stage: Stage, index: Index) -> Iterator[FlowRun]:
    """A run with a set that is happy with the image; beside it are sets that ask for 4.0.0, one of
    them lets the image's copy give way."""
    assert index is stage.index
    four = ["python-dateutil>=4"]
    sets.apply(
        stage.node,
        image_set("kept", four),
        image_set("shadowed", four, shadow=["python-dateutil"]),
    )
    stage.offer(image_set("frames", ["frames"]))
    yield stage.start("frames", "fresh", "python-dateutil:dateutil", choice="frames")
    stage.let_go()


def test_the_plain_recipe_puts_another_version_before_the_images_own(
    stage: Stage, index: Index
) -> None:
    """Why locks are made for an image: nothing fails, and Prefect has a package that it refuses."""
    said = run_by_hand(stage, index, _RECIPE)
    assert "dateutil is /tmp/pydeps/dateutil/__init__.py" in said
    assert re.search(
        r"prefect \S+ has requirement python-dateutil\S+, but you have .*4\.0\.0", said
    )


def test_a_lock_for_an_image_holds_only_what_is_missing(stage: Stage, run: FlowRun) -> None:
    """What the image has is named with its version, so that another image can be told."""
    assert run
    lock = stage.lock("frames")
    assert re.findall(r"^([\w.-]+)==", lock, re.MULTILINE) == ["frames", "fresh"]
    assert re.search(r"^# image: python-dateutil==2\.\S+$", lock, re.MULTILINE)


def test_image_and_lock_together_are_checked_before_a_run(stage: Stage, run: FlowRun) -> None:
    """Verified=True: it was installed and imported there, and all requirements hold."""
    assert run
    body = sets.get_set(stage.node, "frames", namespace=TEAM)
    verified = sets.condition(body, "Verified")
    assert (verified["status"], verified["reason"]) == ("True", "Verified")
    assert body["status"]["image"]["name"] == images.FLOW_UV


def test_pip_has_nothing_to_say_against_image_and_lock_together(
    stage: Stage, index: Index, run: FlowRun
) -> None:
    """`pip check`, which tells of the plain recipe's mistake, finds none in ours."""
    assert run
    said = run_by_hand(stage, index, _OURS.format(lock=stage.lock("frames")))
    assert "dateutil is /opt/prefect/lib/" in said
    assert "No broken requirements found." in said


def test_a_run_sees_the_lock_and_the_images_own_beside_it(stage: Stage, run: FlowRun) -> None:
    """The packages that the image lacked, and the copy that its Prefect came with."""
    packages = stage.seen(run)["packages"]
    assert packages["frames"]["file"] == f"{SITE}/frames/__init__.py"
    assert packages["fresh"]["file"] == f"{SITE}/fresh/__init__.py"
    assert packages["python-dateutil"]["version"].startswith("2.")
    assert packages["python-dateutil"]["file"].startswith("/opt/prefect/lib/")


def test_what_the_image_has_in_another_version_is_refused_before_any_run(
    stage: Stage, run: FlowRun
) -> None:
    """Both sides are named, and the ways out; nothing that a run could choose is there."""
    assert run
    said = refusal(stage, "kept")
    assert re.search(r"python-dateutil 2\.\S+ is in the image", said)
    assert "python-dateutil>=4" in said
    assert re.search(r"prefect \S+ requires python-dateutil\S*<3", said)
    assert "name python-dateutil in spec.shadow" in said
    assert mounted_name("kept", pool=POOL) not in sets.names(stage.node, "cm", namespace=JOBS)


def test_shadowing_does_not_let_a_lock_break_the_image(stage: Stage, run: FlowRun) -> None:
    """The copy may move, but what the image's own packages require of it still holds."""
    assert run
    said = refusal(stage, "shadowed")
    assert "python-dateutil>=4" in said
    assert re.search(r"prefect \S+ requires python-dateutil\S*<3", said)
    assert "in spec.shadow" not in said
    assert mounted_name("shadowed", pool=POOL) not in sets.names(stage.node, "cm", namespace=JOBS)


def refusal(stage: Stage, name: str) -> str:
    """Why a set has no lock; it is Stalled by that."""
    body = sets.wait_reason(stage.node, name, "Unsatisfiable", namespace=TEAM, seconds=SECONDS)
    assert sets.condition(body, "Stalled")["status"] == "True"
    return str(sets.condition(body, "Ready")["message"])


def run_by_hand(stage: Stage, index: Index, script: str) -> str:
    """What a script prints in a plain pod of the pool's image, as people write them."""
    name = "by-hand"
    environment = {"INDEX": index.url, "HOST": index.host}
    container = {
        "name": "main",
        "image": images.FLOW_PIP,
        "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-ec", script],
        "env": [{"name": key, "value": value} for key, value in environment.items()],
    }
    spec = {"restartPolicy": "Never", "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    stage.node.kubectl("apply", "-n", JOBS, "-f", "-", input=json.dumps(pod))
    path = f"/api/v1/namespaces/{JOBS}/pods/{name}"

    def ended() -> bool:
        found = sets.read(stage.node, path) or {}
        return found.get("status", {}).get("phase") in {"Succeeded", "Failed"}

    sets.wait(ended, what="the pod to end", seconds=SECONDS)
    said = stage.node.kubectl("logs", name, "-n", JOBS)
    stage.node.kubectl("delete", "pod", name, "-n", JOBS, "--wait=false")
    return said
