import pytest

from flowdeps.api.parts import PYTHON_VERSIONS
from flowdeps.locks.target import PLATFORMS, Target, TargetError
from tests.unit.locks.builders import AMD64, ARM64


def test_platforms_are_sorted_and_unique() -> None:
    """The order in which platforms are named doesn't matter."""
    assert Target("3.12", (ARM64, AMD64, ARM64)) == Target("3.12", (AMD64, ARM64))


@pytest.mark.parametrize(
    "python", ["3", "3.7", "3.9", "3.11.2", "2.7", "4.0", "3.012", "cp311", ""]
)
def test_only_a_minor_version_of_python_is_a_target(python: str) -> None:
    """A patch version, an old Python or anything else is refused with an example."""
    with pytest.raises(TargetError, match=r"as in 3\.12$"):
        Target(python, (AMD64,))


def test_the_oldest_python_is_that_of_the_resource() -> None:
    """What an image may have is what a set may name."""
    minor = int(PYTHON_VERSIONS[0].split(".")[1])
    assert Target(f"3.{minor}", (AMD64,)).python == PYTHON_VERSIONS[0]
    with pytest.raises(TargetError, match=rf"from 3\.{minor} on"):
        Target(f"3.{minor - 1}", (AMD64,))


@pytest.mark.parametrize("platforms", [(), ("linux/riscv64",), (AMD64, "amd64")])
def test_only_known_platforms_are_targets(platforms: tuple[str, ...]) -> None:
    """An unknown or missing platform is refused with those that there are."""
    with pytest.raises(TargetError, match="choose from linux/amd64, linux/arm64"):
        Target("3.11", platforms)


@pytest.mark.parametrize(
    ("tag", "platforms"),
    [
        ("py3-none-any", {AMD64, ARM64}),
        ("py2.py3-none-any", {AMD64, ARM64}),
        ("py311-none-any", {AMD64, ARM64}),
        ("cp311-none-any", {AMD64, ARM64}),
        ("cp311-cp311-manylinux_2_28_x86_64", {AMD64}),
        ("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", {AMD64}),
        ("cp311-cp311-manylinux1_x86_64", {AMD64}),
        ("cp311-cp311-manylinux2014_aarch64", {ARM64}),
        ("cp311-cp311-linux_aarch64", {ARM64}),
        ("cp38-abi3-manylinux_2_17_aarch64", {ARM64}),
        ("cp311-abi3-manylinux_2_17_x86_64", {AMD64}),
        ("py3-none-manylinux_2_17_x86_64", {AMD64}),
        ("cp312-abi3-manylinux_2_17_x86_64", set()),
        ("cp310-cp310-manylinux_2_17_x86_64", set()),
        ("cp312-none-any", set()),
        ("pp311-pypy311_pp73-manylinux_2_17_x86_64", set()),
        ("cp311-cp311-manylinux_2_31_x86_64", set()),
        ("cp311-cp311-musllinux_1_2_x86_64", set()),
        ("cp311-cp311-macosx_11_0_arm64", set()),
        ("cp311-cp311-win_amd64", set()),
        ("cp311-cp311-manylinux_2_17_i686", set()),
        ("py2-none-any", set()),
    ],
)
def test_a_wheel_fits_where_its_tags_run(tag: str, platforms: set[str]) -> None:
    """This CPython, the stable ABI or none; any platform, or this machine and a glibc up to 2.28,
    unless another is asked for."""
    target = Target("3.11", (AMD64, ARM64))
    assert {one for one in PLATFORMS if target.fits(f"a-1.0-{tag}.whl", one)} == platforms


def test_a_wheel_may_need_the_glibc_that_is_there() -> None:
    """And older ones, on each platform; a newer one it may not."""
    target = Target("3.11", (AMD64, ARM64))
    for one in PLATFORMS.values():
        for needed, fits in ((17, True), (28, True), (31, True), (35, True), (36, False)):
            wheel = f"a-1.0-cp311-cp311-manylinux_2_{needed}_{one.machine}.whl"
            assert target.fits(wheel, one.name, glibc=35) == fits
            assert one.uv_platform(35) == f"{one.machine}-manylinux_2_35"


def test_a_free_threaded_build_does_not_fit_the_usual_interpreter() -> None:
    """cp313t has an ABI of its own."""
    target = Target("3.13", (AMD64,))
    assert target.fits("a-1.0-cp313-cp313-manylinux_2_17_x86_64.whl", AMD64)
    assert not target.fits("a-1.0-cp313-cp313t-manylinux_2_17_x86_64.whl", AMD64)


def test_a_name_that_no_wheel_has_does_not_fit() -> None:
    """A file name that can't be read is no wheel for us, and no error."""
    assert not Target("3.11", (AMD64,)).fits("a-1.0.tar.gz", AMD64)


def _compressed(each: int) -> str:
    """The name of a wheel with so many tags a part."""
    parts = (".".join(f"{letter}{number}" for number in range(each)) for letter in "pal")
    return f"a-1.0-{'-'.join(parts)}.whl"


@pytest.mark.parametrize(
    "name", [_compressed(9), _compressed(110), f"a-1.0-py3-none-{'any.' * 60}any.whl"]
)
def test_a_name_that_stands_for_very_many_tags_is_not_read(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They grow with the cube of its length: nothing expands them."""
    read: list[str] = []
    monkeypatch.setattr("flowdeps.locks.target.parse_wheel_filename", read.append)
    assert not Target("3.12", (AMD64,)).fits(name, AMD64)
    assert read == []


def test_a_name_with_many_tags_is_read() -> None:
    """As numpy's, and more."""
    many = ".".join(f"manylinux_2_{number}_x86_64" for number in range(10, 18))
    name = f"a-1.0-py2.py3.cp312-none.abi3-{many}.whl"
    assert Target("3.12", (AMD64,)).fits(name, AMD64)
