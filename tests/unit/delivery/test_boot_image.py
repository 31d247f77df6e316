"""Where a run starts, the image has what the lock builds on: each run looks once, at names."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.delivery.flow_images import FlowImage
from tests.unit.delivery.install_pod import Pod, bake, child

SIX = "# image: six==1.17.0"


def changed(
    pod: Pod, image: FlowImage, *versions: str, **variables: Any
) -> "subprocess.CompletedProcess[str]":
    """How a run ends whose image had six 1.17.0 and now has these."""
    bake(image.site_packages, "six", "1.17.0")
    pod.choose(image, "ml", SIX)
    for one in image.site_packages.glob("six*"):
        one.rename(one.with_name(f"gone-{one.name.replace('-info', '')}"))
    for version in versions:
        bake(image.site_packages, "six", version)
    return pod.flow("print('runs')", **variables)


@pytest.mark.parametrize(("versions", "found"), [(["1.16.0"], "six 1.16.0"), ([], "no six")])
def test_another_image_ends_the_run_with_one_line(
    pod: Pod, image: FlowImage, versions: list[str], found: str
) -> None:
    """Before anything of the run is imported."""
    done = changed(pod, image, *versions)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "flowdeps: the lock of team-a/ml was made for an image that has six 1.17.0; this one "
        f"has {found}: run the flow in the image that it was made for with its packages as they "
        "are (an entrypoint, a command or PYTHONPATH may change them), or name an image with these "
        "in python.image of team-a/ml"
    ]


def test_what_the_deployment_has_installed_as_its_container_starts_is_a_warning(
    pod: Pod, image: FlowImage
) -> None:
    """Prefect's image does so, and whoever asked for it has the run that was asked for."""
    done = changed(pod, image, "1.16.0", EXTRA_PIP_PACKAGES="six==1.16.0")
    assert (done.returncode, done.stdout) == (0, "runs\n")
    assert done.stderr.startswith("flowdeps: warning: the lock of team-a/ml was made for")


def test_packages_that_were_added_are_no_other_image(pod: Pod, image: FlowImage) -> None:
    """By a pull step, or by what starts the container."""
    bake(image.site_packages, "six", "1.17.0")
    pod.choose(image, "ml", SIX)
    bake(image.site_packages, "seven", "1.0")
    assert pod.said("import seven, six") == ""


@pytest.mark.parametrize(
    ("baked", "name"),
    [("Six_Pack", "six_pack-1.17.0.dist-info"), ("six-pack", "Six.Pack-1.17.0-py3.egg-info")],
)
def test_another_spelling_of_the_same_is_no_other_image(
    pod: Pod, image: FlowImage, baked: str, name: str
) -> None:
    """Tools name the directory of metadata in their own ways, and what is in it counts."""
    bake(image.site_packages, baked, "1.17.0")
    pod.choose(image, "ml", "# image: six-pack==1.17.0")
    [directory] = image.site_packages.glob("*-1.17.0.dist-info")
    if name.endswith("egg-info"):
        (directory / "METADATA").rename(directory / "PKG-INFO")
    directory.rename(image.site_packages / name)
    assert pod.said("print('runs')") == "runs"


@pytest.mark.parametrize("where", ["search path", "file"])
def test_what_is_elsewhere_than_in_the_environment_is_found(
    pod: Pod, image: FlowImage, tmp_path: Path, where: str
) -> None:
    """On the image's PYTHONPATH, and as an old installation has it: one file."""
    bake(tmp_path / "baked", "six", "1.17.0")
    if where == "file":
        about = (tmp_path / "baked/six-1.17.0.dist-info/METADATA").read_text()
        (image.site_packages / "six-1.17.0.egg-info").write_text(about)
    else:
        pod.environment["PYTHONPATH"] = str(tmp_path / "baked")
    pod.choose(image, "ml", SIX)
    assert pod.said("print('runs')") == "runs"


def test_only_the_first_interpreter_looks(pod: Pod, image: FlowImage) -> None:
    """What the flow itself changes later is its own affair."""
    bake(image.site_packages, "six", "1.17.0")
    pod.choose(image, "ml", SIX)
    [metadata] = image.site_packages.glob("six-*")
    code = f"import os\nos.rename('{metadata}', '{metadata}.gone')\n{child('print(1)')}"
    assert pod.said(code) == "1"
