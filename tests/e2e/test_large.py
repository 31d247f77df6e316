"""A large package from an index of its own, and what it requires from the default one."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.index import Index
from tests.e2e.stage import TEAM, Stage, image_set
from tests.support import sets

pytestmark = pytest.mark.node

_BYTES = 32 * 2**20  # random, so that no packing makes them fewer


@pytest.fixture(scope="module")
def builds(stage: Stage) -> Iterator[Index]:
    """An index with builds of heavy for CPUs; the default one has another heavy."""
    stage.index.add("sound", "1.0")
    stage.index.add("heavy", "9.0", modules={"heavy/__init__.py": "raise ImportError\n"})
    with Index(host=stage.node.gateway) as index:
        modules: dict[str, str | bytes] = {"heavy/__init__.py": "import sound\n"}
        modules["heavy/lib.bin"] = os.urandom(_BYTES)
        index.add("heavy", "1.0+cpu", requires=["sound"], modules=modules)
        yield index
        stage.let_go()


def test_a_large_package_of_its_own_index_is_locked_tried_and_run(
    stage: Stage, builds: Index
) -> None:
    """The rest comes from the default index. The set says how large it is, by the index and as it
    was installed. What it takes is printed."""
    start = time.monotonic()
    own = {"packages": [{"names": ["heavy"], "url": builds.url}]}
    stage.offer(image_set("large", ["heavy"], index=own))
    ready = time.monotonic() - start
    status = sets.get_set(stage.node, "large", namespace=TEAM)["status"]
    assert _BYTES < status["lock"]["downloadSize"] < 1.01 * _BYTES
    assert _BYTES < status["lock"]["installedSize"] < 1.01 * _BYTES
    lock = stage.lock("large")
    assert re.search(r"^heavy==1\.0\+cpu ", lock, re.MULTILINE)
    assert re.search(r"^# size: heavy \d+$", lock, re.MULTILINE)
    run = stage.start("heavy", "sound", choice="large")
    packages = stage.seen(run)["packages"]
    assert packages["heavy"]["version"] == "1.0+cpu"
    assert packages["sound"]["version"] == "1.0"
    assert not [one for one in builds.requests if "sound" in one]
    assert not [one for one in stage.index.requests if one.endswith(".whl") and "heavy" in one]
    [installed] = re.findall(r"installed 2 packages of .* in [\d.]+ s", stage.install_log(run))
    status_file = Path(f"/proc/{stage.operator.pid}/status").read_text()
    [peak] = re.findall(r"^VmHWM:\s+(\d+ kB)", status_file, re.MULTILINE)
    print(f"\nReady after {ready:.1f} s; the run {installed}; the operator's peak is {peak}")
