"""`flowdeps populate` with what `flowdeps pack` makes, the real oras and a real registry."""

import json
import os
import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import tools
from tests.cluster.registry import Registry
from tests.integration.environments.test_pack import (
    _REPOSITORY,
    _ROOT,
    LOCK,
    Packer,
    packer,
    protected,
)

__all__ = ["packer", "protected"]

_OTHER = "sha256-" + "0" * 64


@dataclass(frozen=True)
class Populator:
    """What a populator's pod has beside the registry."""

    claim: Path
    credentials: Path
    env: dict[str, str]

    def start(self, **env: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "flowdeps", "populate"),
                *(f"--claim={self.claim}", f"--credentials={self.credentials}"),
            ],
            env=tools.environment({**self.env, **env}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, **env: str) -> tuple[int, dict[str, Any]]:
        """The exit status and what the last line says."""
        return ended(self.start(**env))

    def names(self) -> set[str]:
        """What is on the claim, without the lock."""
        return {one.name for one in self.claim.iterdir()} - {".flowdeps.lock"}


def ended(process: "subprocess.Popen[str]") -> tuple[int, dict[str, Any]]:
    out, err = process.communicate()
    assert "s3cret" not in out + err
    assert err == ""
    *_, last = out.splitlines()
    assert last.startswith("flowdeps-populate: ")
    return process.returncode, json.loads(last.removeprefix("flowdeps-populate: "))


def populator(packer: Packer, address: str, digest: str, claim: Path) -> Populator:
    claim.mkdir(exist_ok=True)
    env = {
        "PATH": f"{packer.oras.parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(_ROOT / "operator"), os.environ.get("PYTHONPATH", "")]),
        "FLOWDEPS_REFERENCE": f"{address}/{_REPOSITORY}@{digest}",
        "FLOWDEPS_LOCK": LOCK.digest,
        "FLOWDEPS_PLAIN_HTTP": "1",
    }
    return Populator(claim, packer.directory / "credentials", env)


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """The files below a directory, with their modes."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): (path.stat().st_mode, path.read_bytes()) for path in files}


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    return tmp_path.with_name(f"{tmp_path.name}-claim")


@pytest.fixture
def ready(packer: Packer, registry: Registry, claim: Path) -> Populator:
    """A claim with nothing on it, and an environment in the registry."""
    return populator(packer, registry.address, packer.run(registry.address)[1]["digest"], claim)


def directory_of(one: Populator) -> str:
    return one.env["FLOWDEPS_REFERENCE"].partition("@")[2].replace(":", "-")


def test_what_was_packed_is_on_the_claim(
    packer: Packer, registry: Registry, ready: Populator
) -> None:
    """Whole, under the name of its digest, readable by all; and a second populator asks the
    registry for nothing."""
    status, said = ready.run()
    directory = directory_of(ready)
    assert (status, said["ok"], said["directory"]) == (0, True, directory)
    assert ready.names() == {directory, "none"}
    assert list((ready.claim / "none").iterdir()) == []
    found, packed = tree(ready.claim / directory), tree(packer.tree)
    del packed["site/.lock"], found["populated.json"]
    assert {name: content for name, (_, content) in found.items()} == {
        name: content for name, (_, content) in packed.items()
    }
    assert said["files"] == len(found)
    assert said["bytes"] == sum(len(content) for _, content in found.values())
    assert said["slower"] > 0
    before = len(registry.requests())
    assert ready.run() == (status, said)
    assert len(registry.requests()) == before


def test_killed_at_any_point_it_leaves_nothing_half_made(
    packer: Packer, ready: Populator, claim: Path
) -> None:
    """Under the name of an environment all of it is there or nothing; the next one finishes."""
    directory = directory_of(ready)
    for number in range(3):
        process = ready.start()
        # It has written a part, and goes on for some time more.
        while process.poll() is None and not list(claim.glob(".flowdeps-new-*")):
            time.sleep(0.001)
        time.sleep(random.Random(number).uniform(0, 0.1))
        process.kill()
        process.communicate()
        if (claim / directory).exists():
            break
    status, _ = ready.run()
    assert status == 0
    assert ready.names() == {directory, "none"}
    found, packed = tree(claim / directory), tree(packer.tree)
    assert {*found} - {"populated.json"} == {*packed} - {"site/.lock"}


def test_two_at_once_fetch_once(registry: Registry, ready: Populator) -> None:
    """And both say what is there."""
    before = len(registry.requests())
    one, other = ready.start(), ready.start()
    assert ended(one) == ended(other)
    asked = [path for method, path in registry.requests()[before:] if method == "GET"]
    assert len([path for path in asked if "/blobs/" in path]) == 2  # configuration and layer
    assert ready.names() == {directory_of(ready), "none"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_claim_is_one_line_and_keeps_nothing(
    packer: Packer, registry: Registry, claim: Path
) -> None:
    """With the bytes that are needed and those that are free; in a larger one it goes well."""
    (packer.tree / "site" / "large.bin").write_bytes(os.urandom(3_000_000))
    one = populator(packer, registry.address, packer.run(registry.address)[1]["digest"], claim)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "claim", claim], check=True)
    try:
        status, said = one.run()
        assert (status, said["ok"], said["retry"]) == (1, False, True)
        assert re.match(r"the claim is full: 3,\d{3},\d{3} bytes .* are needed, ", said["error"])
        assert one.names() == {"none"}
        subprocess.run(["mount", "-o", "remount,size=8m", claim], check=True)
        assert one.run()[0] == 0
    finally:
        subprocess.run(["umount", claim], check=True)


def test_a_new_one_takes_the_place_of_those_of_no_use(
    packer: Packer, registry: Registry, ready: Populator, claim: Path
) -> None:
    """But for those that are named; where nobody says what is named, all stay."""
    assert ready.run()[0] == 0
    first = directory_of(ready)
    note = ready.claim / first / "populated.json"
    kept: dict[str, set[str]] = {}
    for number, keep in enumerate(("", first.removeprefix("sha256-")[:10], "0123456789")):
        os.utime(note, (0, 0))
        (packer.tree / "site" / "more.py").write_text(str(number))
        digest = packer.run(registry.address)[1]["digest"]
        assert populator(packer, registry.address, digest, claim).run(FLOWDEPS_KEEP=keep)[0] == 0
        kept[keep] = ready.names() & {first}
    assert kept == {"": {first}, first.removeprefix("sha256-")[:10]: {first}, "0123456789": set()}


def test_what_the_registry_does_not_give_is_an_error(
    registry: Registry, ready: Populator, protected: Registry
) -> None:
    """Of one line, which says what to do; nothing is on the claim then."""
    status, said = ready.run(FLOWDEPS_LOCK=f"sha256:{'1' * 64}")
    assert (status, said["retry"]) == (1, False)
    assert "is not one that flowdeps has made: it is for the lock " in said["error"]
    reference = ready.env["FLOWDEPS_REFERENCE"].replace(registry.address, protected.address)
    status, said = ready.run(FLOWDEPS_REFERENCE=reference)
    assert status == 1
    assert "wants credentials, and there are none for it: put some into the Secret" in said["error"]
    assert "environments.pullSecretRef" in said["error"]
    registry.delete(ready.env["FLOWDEPS_REFERENCE"])
    status, said = ready.run()
    assert (status, said["retry"]) == (1, True)
    assert "no longer has what flowdeps has pushed" in said["error"]
    registry.down()
    status, said = ready.run()
    assert (status, said["retry"]) == (1, True)
    assert "can't be reached from the populator's pod" in said["error"]
    assert ready.names() == {"none"}


def test_an_archive_that_flowdeps_did_not_make_is_refused(
    packer: Packer, registry: Registry, claim: Path
) -> None:
    """Its writer has all digests right. Nothing behind the first wrong name is waited for."""
    (packer.tree / "etc").mkdir()
    (packer.tree / "etc" / "large").write_bytes(os.urandom(5_000_000))
    one = populator(packer, registry.address, packer.run(registry.address)[1]["digest"], claim)
    status, said = one.run()
    assert (status, said["retry"]) == (1, False)
    assert "etc is nothing that an environment has" in said["error"]
    assert one.names() == {"none"}
