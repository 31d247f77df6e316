"""Pods and an index for the tests of the install script."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.index import Index
from tests.unit.delivery.flow_images import FlowImage, virtual
from tests.unit.delivery.install_pod import Pod
from tests.unit.delivery.trial_pod import Trial


@pytest.fixture
def pod(images: dict[str, Path], tmp_path: Path) -> Pod:
    (tmp_path / "lock").mkdir()
    (tmp_path / "home").mkdir()
    return Pod(
        programs=images["uv"],
        lock=tmp_path / "lock",
        home=tmp_path / "home",
        secret=tmp_path / "secret",  # not there: the volume's Secret is optional
    )


@pytest.fixture
def image(tmp_path: Path) -> FlowImage:
    """An image of this test alone: a virtual environment with uv."""
    return virtual(tmp_path)


@pytest.fixture
def served(pod: Pod, image: FlowImage) -> Pod:
    """A run that chose a set, whose directory a test fills."""
    return pod.choose(image)


@pytest.fixture
def trial(pod: Pod, tmp_path: Path) -> Trial:
    """What a lock leaves that brings nothing."""
    image = virtual(tmp_path)
    pod.programs = image.programs
    pod.write()
    assert pod.run().code == 0
    return Trial(pod=pod, image=image.site_packages)


@pytest.fixture
def baked(pod: Pod, tmp_path: Path) -> Path:
    """A directory of packages that the image has: its PYTHONPATH leads there."""
    (tmp_path / "baked").mkdir()
    pod.environment["PYTHONPATH"] = str(tmp_path / "baked")
    return tmp_path / "baked"


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A directory of somebody else: nothing can be read of it, not even what it holds."""
    directory = tmp_path / "closed"
    directory.mkdir(mode=0)
    yield directory
    directory.chmod(0o700)


@pytest.fixture(params=["uv", "pip"])
def either(request: pytest.FixtureRequest, pod: Pod, images: dict[str, Path]) -> Pod:
    """A pod whose image has one of the two installers."""
    pod.programs = images[request.param]
    return pod


@pytest.fixture
def index() -> Iterator[Index]:
    with Index() as running:
        yield running
