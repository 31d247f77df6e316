"""While an installer runs, the log says how far it is; a trial's has its time, and says so."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from flowdeps.delivery.in_image.progress import EVERY, bytes_of, how_far, wait_for
from tests.cluster.index import Index
from tests.unit.delivery.install_pod import Pod, at, pin


@dataclass
class Child:
    """An installer that takes some seconds of a clock of its own."""

    seconds: float
    now: float = 0.0
    killed: bool = False
    lines: list[float] = field(default_factory=list)

    def wait(self, timeout: float | None = None) -> int:
        left = self.seconds - self.now
        if self.killed or timeout is None or timeout >= left:
            self.now += 0.0 if self.killed else left
            return 0
        self.now += timeout
        raise subprocess.TimeoutExpired("uv", timeout)

    def kill(self) -> None:
        self.killed = True

    def await_end(self, limit: float | None) -> bool:
        child = cast("Any", self)
        return wait_for(
            child, lambda: self.lines.append(self.now), limit=limit, clock=lambda: self.now
        )


def test_six_minutes_of_downloads_end_within_the_default_time_and_not_within_five() -> None:
    """A run's have no limit. Meanwhile a line comes every ten seconds."""
    for limit in (None, 900.0):
        child = Child(seconds=361)
        assert child.await_end(limit)
        assert child.lines == [EVERY * number for number in range(1, 37)]
    late = Child(seconds=360)
    assert not late.await_end(300.0)
    assert (late.killed, late.now) == (True, 300.0)


def test_a_quick_installation_says_nothing_of_its_progress() -> None:
    """Logs of runs stay as short as they were."""
    child = Child(seconds=EVERY - 1)
    assert child.await_end(None)
    assert child.lines == []


def test_a_trial_without_time_names_it_and_the_field(either: Pod, index: Index) -> None:
    """With an exit code of its own, by which the operator tells it from other failures."""
    either.write(pin(index, "alpha", "1.0"), index=at(index))
    either.environment["FLOWDEPS_TIMEOUT"] = "0.001"
    outcome = either.run()
    assert outcome.code == 124
    assert "did not end within 0 seconds (0 of 1 packages are there" in outcome.last
    assert "give it more by spec.verify.installTimeout" in outcome.last
    assert outcome.installed == []


@pytest.mark.parametrize(
    ("trial", "field"), [("", "install.resources of the pool"), ("900", "pods.resources")]
)
def test_an_installer_that_is_killed_is_told_as_that(
    either: Pod, index: Index, tmp_path: Path, trial: str, field: str
) -> None:
    """With the field that gives it more memory; the kernel may kill it alone."""
    either.environment["FLOWDEPS_TIMEOUT"] = trial
    either.write(pin(index, "alpha", "1.0"), index=at(index))
    uv = tmp_path / "first" / "uv"
    uv.parent.mkdir()
    uv.write_text("#!/bin/sh\nkill -9 $$\n")
    uv.chmod(0o755)
    either.environment["PATH"] = f"{uv.parent}:{either.image_environment['PATH']}"
    outcome = either.run()
    assert outcome.code == 1
    assert "uv was killed" in outcome.last
    assert f"by {field} in the operator's configuration" in outcome.last


def _write(place: Path, size: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"x" * size)


def test_what_uv_has_and_what_is_under_way_is_read_from_its_cache(tmp_path: Path) -> None:
    """A wheel is there once it is whole; what uv unpacks has the names of its directories."""
    cache = tmp_path / "cache"
    for name in ("alpha", "beta"):
        _write(cache / f"archive-v0/{name}-id/{name}-1.0.dist-info/METADATA", 1)
        _write(cache / f"archive-v0/{name}-id/{name}/__init__.py", 4096)
    _write(cache / ".tmpAbC/torch/lib.so", 8192)
    _write(cache / ".tmpAbC/torch.libs/other.so", 8192)
    _write(tmp_path / "site/gamma-1.0.dist-info/METADATA", 1)
    said = how_far(tmp_path, 5)
    assert said.startswith("3 of 5 packages are there, ")
    assert said.endswith("on the volume, under way: torch")
    assert how_far(tmp_path, 0).startswith(said.split(", ")[1])
    os.link(cache / ".tmpAbC/torch/lib.so", tmp_path / "linked.so")
    assert how_far(tmp_path, 5) == said, "a file counts once, however many links it has"


def test_what_pip_has_and_what_is_under_way_is_read_from_its_wheels(tmp_path: Path) -> None:
    """It takes them one by one: all but the last are whole."""
    for number, name in enumerate(("torch", "alpha", "beta")):
        place = tmp_path / f"pip-unpack-{name}" / f"{name}-1.0-py3-none-any.whl"
        _write(place, 4096)
        changed = 1000 + (5 if name == "alpha" else number)
        os.utime(place, (changed, changed))
    assert how_far(tmp_path, 3).startswith("2 of 3 packages are there, ")
    assert how_far(tmp_path, 3).endswith("under way: alpha")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (2500, "2 kB"), (81_000_000, "81 MB"), (2.4e12, "2400.0 GB")],
)
def test_sizes_are_told_as_people_read_them(size: float, text: str) -> None:
    """In powers of ten, as package indexes do."""
    assert bytes_of(size) == text
