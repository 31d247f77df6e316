"""What a run's interpreter begins with: its image's own order, and the set in its place."""

from pathlib import Path

import pytest

from tests.cluster.index import Index
from tests.unit.delivery.flow_images import KINDS, FlowImage
from tests.unit.delivery.install_pod import Pod, at, pin


def of(image: FlowImage, pod: Pod) -> Pod:
    pod.programs = image.programs
    pod.environment |= image.environment
    return pod


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_chooses_nothing_is_as_if_we_were_not_there(
    pod: Pod, tmp_path: Path, kind: str
) -> None:
    """Search path, modules, flags and all variables are the same, whatever the image is."""
    of(KINDS[kind](tmp_path), pod)
    assert pod.run("none").code == 0
    assert pod.saw() == pod.saw(ours=False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_is_behind_pythons_own_modules_and_before_the_images_packages(
    pod: Pod, index: Index, tmp_path: Path, kind: str
) -> None:
    """Everything else on the path is where the image has it."""
    image = KINDS[kind](tmp_path)
    of(image, pod).write(pin(index, "alpha", "1.0"), index=at(index))
    assert pod.run().code == 0
    ours, own = pod.saw(), pod.saw(ours=False)
    site = str(pod.home / "site")
    assert [entry for entry in ours["path"] if entry != site] == own["path"]
    place = ours["path"].index(site)
    assert ours["path"][place - 1].endswith("lib-dynload")
