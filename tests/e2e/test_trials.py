"""The pods that look at an image and try a lock in it, where they work and where they can't.

The image ``odd`` lacks a system library that the package odd loads when it is imported. Its name
moves to an image that has it while the tests of other images go on, for the operator looks at a
failed image again only after a while.
"""

import json
import platform
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import images
from tests.e2e.stage import RESTRICTED, SECONDS, SITE, TEAM, Stage, image_set
from tests.support import sets

pytestmark = [pytest.mark.node, pytest.mark.usefixtures("elsewhere")]

_ODD = "example.com/flowdeps/flow:odd"
_LIBRARY = "libodd.so.1"
_MISSING = "127.0.0.1:1/flowdeps/no-such-image:1"  # refused at once, whatever DNS there is
_QUOTA = "e2e-quota"
_PURPOSE = "flowdeps.dev/purpose"


@pytest.fixture(scope="module")
def odd(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A set that serves a good lock; yields an archive of the image in which odd works."""
    stage.index.add("sound", "1.0")
    modules = {"odd.py": f'import ctypes\nctypes.CDLL("{_LIBRARY}")\n'}
    stage.index.add("odd", "1.0", modules=modules)
    stage.node.tag_image(images.FLOW_UV, _ODD)
    directory = tmp_path_factory.mktemp("odd")
    libraries = directory / "tree" / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
    libraries.mkdir(parents=True)
    (libraries / _LIBRARY).symlink_to("libm.so.6")
    archive = images.flow_with(directory / "tree", name=_ODD, directory=directory)
    stage.offer(image_set("odd", ["sound"], image=_ODD))
    yield archive
    archive.unlink()


@pytest.fixture(scope="module")
def elsewhere(stage: Stage) -> Iterator[None]:
    """Sets whose image can't be looked at, one of them in a namespace that has room for no pod."""
    stage.index.add("sound", "1.0")
    stage.node.kubectl("create", "namespace", _QUOTA)
    stage.node.kubectl("create", "quota", "no-pods", "-n", _QUOTA, "--hard=pods=0")
    counted = f"/api/v1/namespaces/{_QUOTA}/resourcequotas/no-pods"
    sets.wait(
        lambda: "hard" in (sets.read(stage.node, counted) or {}).get("status", {}),
        what="the quota to be in force",
    )
    sets.apply(
        stage.node,
        image_set("missing", ["sound"], image=_MISSING),
        image_set("bare", ["sound"], image=images.PAUSE),
        in_namespace(_QUOTA, "crowded"),
    )
    yield
    stage.let_go()
    for namespace in (RESTRICTED, _QUOTA):
        stage.node.kubectl("delete", "fds", "--all", "-n", namespace)
    stage.node.kubectl("delete", "namespace", _QUOTA, "--wait=false")


def test_what_cannot_be_imported_in_the_image_never_reaches_a_run(stage: Stage, odd: Path) -> None:
    """It installs, and its import fails: the set says so, and runs go on with the lock before."""
    assert odd
    before = stage.digest("odd")
    sets.apply(stage.node, image_set("odd", ["sound", "odd"], image=_ODD))
    body = sets.wait_reason(stage.node, "odd", "VerifyFailed", namespace=TEAM, seconds=SECONDS)
    verified = sets.condition(body, "Verified")
    assert verified["status"] == "False"
    assert f"import odd: OSError: {_LIBRARY}" in verified["message"]
    assert stage.digest("odd") == before
    packages = stage.seen(stage.start("sound", "odd", choice="odd", image=_ODD))["packages"]
    assert packages["sound"]["version"] == "1.0"
    assert packages["odd"]["version"] is None


def test_the_pods_meet_the_restricted_pod_security_standard(stage: Stage) -> None:
    """They work where it is enforced, have no service account's token, and leave nothing behind."""
    with pods_of(stage, RESTRICTED) as seen:
        sets.apply(stage.node, in_namespace(RESTRICTED, "strict"))
        ready = sets.wait_ready(stage.node, "strict", namespace=RESTRICTED, seconds=SECONDS)
        sets.wait(lambda: not ours(stage, RESTRICTED), what="the pods to go", seconds=SECONDS)
    assert sets.condition(ready, "Verified")["reason"] == "Verified"
    assert {pod["metadata"]["labels"][_PURPOSE] for pod in seen} == {"probe", "verify"}
    for pod in seen:
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert "serviceAccountToken" not in json.dumps(pod["spec"]["volumes"])
    left = sets.names(stage.node, "cm", namespace=RESTRICTED)
    assert not [name for name in left if name.startswith("flowdeps-verify")]


def test_where_a_quota_forbids_pods_the_set_says_so(stage: Stage) -> None:
    """With the quota's own words."""
    said = reason(stage, "crowded", "PodsForbidden", namespace=_QUOTA)
    assert "exceeded quota: no-pods" in said
    assert "limited: pods=0" in said


@pytest.mark.parametrize(
    ("name", "why", "words"),
    [
        ("missing", "ImageUnavailable", rf"{_MISSING} can't be pulled: .+; check its name"),
        ("bare", "ImageUnusable", rf"{images.PAUSE} can't be looked at: .+; use an image with"),
    ],
)
def test_an_image_that_cannot_be_looked_at_is_named_with_a_way_out(
    stage: Stage, name: str, why: str, words: str
) -> None:
    """One that nobody can pull, and one without Python."""
    assert re.search(words, reason(stage, name, why, namespace=TEAM))


def test_a_mended_image_heals_its_sets_without_anybodys_help(stage: Stage, odd: Path) -> None:
    """The tag leads to an image with the library: the lock is tried again, and runs have it."""
    stage.node.load_image(odd)
    # The longer ago it failed, the later it is looked at again.
    sets.wait_ready(stage.node, "odd", namespace=TEAM, seconds=600)
    packages = stage.seen(stage.start("sound", "odd", choice="odd", image=_ODD))["packages"]
    assert packages["odd"] == {"version": "1.0", "file": f"{SITE}/odd.py"}


def in_namespace(namespace: str, name: str) -> sets.Body:
    """A set of another namespace than the team's, for no pool."""
    body = sets.set_body(name, ["sound"], namespace=namespace)
    body["spec"]["python"] = {"image": images.FLOW_UV}
    return body


def reason(stage: Stage, name: str, why: str, *, namespace: str) -> str:
    """What a set says once it is not ready for this reason."""
    body = sets.wait_reason(stage.node, name, why, namespace=namespace, seconds=SECONDS)
    return str(sets.condition(body, "Ready")["message"])


def ours(stage: Stage, namespace: str) -> list[dict[str, Any]]:
    """The operator's pods in a namespace."""
    path = f"/api/v1/namespaces/{namespace}/pods?labelSelector={_PURPOSE}"
    found: list[dict[str, Any]] = (sets.read(stage.node, path) or {"items": []})["items"]
    return found


@contextmanager
def pods_of(stage: Stage, namespace: str) -> Iterator[list[dict[str, Any]]]:
    """The operator's pods that come up in a namespace meanwhile; each lives for a second."""
    seen: dict[str, dict[str, Any]] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            seen.update({pod["metadata"]["uid"]: pod for pod in ours(stage, namespace)})

    found: list[dict[str, Any]] = []
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        try:
            yield found
        finally:
            over.set()
        looking.result()
    found += seen.values()
