"""A lock that was made for an image: where it may be installed, and what it goes before."""

from pathlib import Path
from typing import Any

import pytest
from packaging.version import InvalidVersion, Version

from flowdeps.delivery.in_image.inventory import normal_version
from tests.cluster.index import Index
from tests.unit.delivery.flow_images import LIBRARY, virtual
from tests.unit.delivery.install_pod import Pod, Step, at, bake, pin


def test_a_lock_is_installed_where_the_image_has_what_it_builds_on(
    pod: Pod, index: Index, baked: Path
) -> None:
    """Names and versions are compared, however the image's metadata spell them."""
    bake(baked, "Six_Pack", "1.17.0-RC1")
    pod.write("# image: six-pack==1.17.0rc1", pin(index, "alpha", "1.0"), index=at(index))
    outcome = pod.run()
    assert outcome.code == 0, outcome.lines
    assert len(outcome.lines) == 1


@pytest.mark.parametrize(
    ("has", "image", "packages"),
    [("1.16.0", "registry.example.com/flows:1", 1), (None, None, 1), ("1.16.0", None, 0)],
)
def test_another_image_is_refused_with_the_way_out(
    pod: Pod, index: Index, baked: Path, has: str | None, image: str | None, packages: int
) -> None:
    """The line names what the lock builds on, what this image has, and where to run; also for a
    lock that adds nothing."""
    if has:
        bake(baked, "six", has)
    pins = [pin(index, "alpha", "1.0")] * packages
    about: dict[str, Any] = {"index": at(index), "image": image, "packages": packages}
    pod.write("# image: six==1.17.0", *pins, **about)
    outcome = pod.run()
    assert outcome.code == 1
    assert outcome.lines == [
        "flowdeps: the lock of team-a/ml was made for an image that has six 1.17.0; this one has "
        f"{f'six {has}' if has else 'no six'}: run the flow in "
        f"{image or 'the image that it was made for'}, or name this image in python.image of "
        "team-a/ml"
    ]


def test_of_two_copies_the_one_counts_that_an_import_finds(
    pod: Pod, index: Index, baked: Path, tmp_path: Path
) -> None:
    """The first directory of PYTHONPATH decides."""
    bake(baked, "six", "1.17.0")
    bake(tmp_path / "behind", "six", "1.16.0")
    pod.environment["PYTHONPATH"] += f":{tmp_path / 'behind'}"
    pod.write("# image: six==1.17.0", pin(index, "alpha", "1.0"), index=at(index))
    assert pod.run().code == 0


def shadowing(pod: Pod, index: Index, packages: Path, **about: Any) -> Step:
    bake(packages, "alpha", "1.0")
    bake(packages, "beta", "1.0")
    bake(packages, "gamma", "2.0")
    lines = [pin(index, name, "2.0") for name in ("alpha", "beta", "gamma")]
    pod.write(*lines, index=at(index), **about)
    return pod.run()


@pytest.fixture(params=["uv", "pip"])
def packages(
    request: pytest.FixtureRequest, images: dict[str, Path], pod: Pod, tmp_path: Path
) -> Path:
    """Where the image has its packages."""
    pip = images["pip"].parent / "lib" / LIBRARY / "site-packages"
    image = virtual(tmp_path, pip=pip if request.param == "pip" else None)
    pod.programs = image.programs
    return image.site_packages


def test_a_pin_before_the_images_own_copy_is_reported(
    pod: Pod, index: Index, packages: Path
) -> None:
    """Another version than the image's is named once, a copy of the same version is not."""
    outcome = shadowing(pod, index, packages)
    assert outcome.code == 0, outcome.lines
    assert outcome.lines[0] == (
        "flowdeps: warning: team-a/ml puts other versions before those of the image: "
        "alpha 2.0 before 1.0, beta 2.0 before 1.0; set python.image, or name them in shadow"
    )


@pytest.mark.parametrize(("shadow", "lines"), [(["alpha"], 2), (["alpha", "beta"], 1), (["*"], 1)])
def test_what_may_shadow_is_not_reported(
    pod: Pod, index: Index, packages: Path, shadow: list[str], lines: int
) -> None:
    """A set that names a package, or any, wants it so."""
    outcome = shadowing(pod, index, packages, shadow=shadow)
    assert len(outcome.lines) == lines
    assert "alpha" not in outcome.lines[0]


@pytest.mark.parametrize("shadow", [[], ["*"]])
def test_a_pin_behind_a_copy_on_the_images_search_path_is_reported(
    pod: Pod, index: Index, baked: Path, shadow: list[str]
) -> None:
    """Code that the image puts on PYTHONPATH goes first, whatever the set may go before."""
    outcome = shadowing(pod, index, baked, shadow=shadow)
    assert outcome.code == 0, outcome.lines
    assert outcome.lines[0] == (
        "flowdeps: warning: the image's PYTHONPATH puts other versions before those of team-a/ml: "
        "alpha 1.0 before 2.0, beta 1.0 before 2.0; set python.image, or take them out of the image"
    )
    assert len(outcome.lines) == 2


@pytest.mark.parametrize(
    "text",
    [
        "1.0",
        "v1.0",
        "1.0-rc1",
        "1.0.ALPHA",
        "1.0-1",
        "1.0rev2",
        "1.0dev",
        "0!1.0",
        "1!2.0.post1.dev3",
        "1.0+Local-7",
        "01.02",
        "1.0c3",
        "2024a.1",
        "nonsense",
    ],
)
def test_versions_are_spelt_as_locks_spell_them(text: str) -> None:
    """The script's spelling is that of the library that made the lock."""
    try:
        expected = str(Version(text))
    except InvalidVersion:
        expected = text
    assert normal_version(text) == expected
