"""What is said of requirements whose markers hold nowhere."""

import pytest

from flowdeps.locks.image import ImageFacts
from flowdeps.locks.markers import left_out
from flowdeps.locks.request import LockRequest
from flowdeps.locks.target import Target
from tests.unit.locks.builders import AMD64, ARM64

ON_AMD64 = 'uvloop; platform_machine == "x86_64"'
SLIP = 'uvloop; platform_machine == "amd64"'


def said(*lines: str, platforms: tuple[str, ...] = (AMD64, ARM64), full: str = "") -> str | None:
    image = ImageFacts(python="3.11", full_version=full, platform=AMD64) if full else None
    target = Target("3.11", platforms)
    return left_out(LockRequest(requirements=lines, target=target, image=image))


def test_a_marker_that_holds_nowhere_is_told_with_what_it_is_compared_with() -> None:
    """Who wrote amd64 for x86_64 sees both names; nothing is said where a platform matches."""
    assert said("six", SLIP) == (
        "uvloop is left out: its marker holds on no platform of the set"
        " (platform_machine is x86_64 or aarch64); correct it if that is not meant"
    )
    assert said("six", ON_AMD64) is None
    assert said(ON_AMD64, platforms=(ARM64,)) == (
        "uvloop is left out: its marker holds on no platform of the set"
        " (platform_machine is aarch64); correct it if that is not meant"
    )


def test_many_are_one_sentence() -> None:
    """A file for every system leaves out much, and that is one note."""
    lines = [f'p{number}; sys_platform == "win32"' for number in range(7)]
    assert said(*lines, 'old; python_version < "3.9"') == (
        "old, p0, p1, p2, p3 and 3 more are left out: their markers hold on no platform of the set"
        " (python_version is 3.11; sys_platform is linux); correct them if that is not meant"
    )


def test_a_package_that_another_line_asks_for_is_not_left_out() -> None:
    """As where each version of Python has a line of its own."""
    assert said('numpy<2; python_version < "3.11"', 'numpy>=2; python_version >= "3.11"') is None
    assert said(SLIP, "uvloop") is None


@pytest.mark.parametrize(
    ("marker", "full", "held"),
    [
        ("python_full_version >= '3.11.4'", "", False),
        ("python_full_version >= '3.11.4'", "3.11.9", True),
        ("python_full_version >= '3.11.4'", "3.11.9+", True),
        ("sys_platform == 'linux' and os_name == 'posix'", "", True),
        ("implementation_name == 'cpython' and platform_system == 'Linux'", "", True),
        ("extra == 'fast'", "", False),
        ("os_name ~= 'posix'", "", True),
    ],
)
def test_markers_are_those_of_the_target(marker: str, full: str, held: bool) -> None:
    """Of the image's Python where there is one; of what can't be compared nothing is claimed."""
    assert (said(f"app; {marker}", full=full) is None) is held
