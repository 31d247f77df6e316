"""Requirements that an image contradicts, found without a resolver."""

import pytest

from flowdeps.locks.differences import differences
from flowdeps.locks.image import Distribution, ImageFacts
from flowdeps.locks.request import LockRequest
from tests.unit.locks.builders import BOTH

IMAGE = ImageFacts(
    python="3.11",
    full_version="3.11.9",
    platform="linux/amd64",
    markers={"python_version": "3.11"},
    distributions=(
        Distribution("prefect", "3.8.8", ("pydantic>=2.10", "httpx<1", "absent<2")),
        Distribution("pydantic", "2.14.3"),
        Distribution("httpx", "1.2"),
        Distribution("torch", "2.1.0+cu121"),
        Distribution("typer", "0.12rc1"),
    ),
)


def against(*lines: str, shadow: tuple[str, ...] = (), image: ImageFacts | None = IMAGE) -> object:
    return differences(LockRequest(requirements=lines, target=BOTH, image=image, shadow=shadow))


def test_all_lines_that_differ_are_found_at_once() -> None:
    """Each with what the image has; the others of the file are no matter."""
    found = against("prefect==3.4.0", "pydantic<2", "pandas==2.2.2", "typer>=0.12rc1", "HTTPX==1")
    assert found == {
        "prefect==3.4": "it has 3.8.8",
        "pydantic<2": "it has 2.14.3",
        "httpx==1": "it has 1.2",
    }


@pytest.mark.parametrize(
    "line",
    [
        "torch==2.1.0",
        "torch==2.1.0+cu121",
        "pydantic",
        "pydantic==2.14.*",
        'pydantic<2 ; sys_platform == "win32"',
        'pydantic<2 ; python_full_version < "3.11.5"',
        "pandas==2.2.2",
    ],
)
def test_a_line_that_the_image_meets_or_that_nobody_asks_for_is_none(line: str) -> None:
    """A build is a version of what it was built from; a marker that holds nowhere asks nothing."""
    assert against(line) == {}


def test_a_line_that_one_platform_asks_for_counts() -> None:
    """Its lock would be for both."""
    line = 'pydantic<2 ; platform_machine == "aarch64"'
    assert against(line) == {line: "it has 2.14.3"}


def test_what_the_image_requires_is_against_a_pin_of_a_shadowed_package() -> None:
    """With who requires it; not where that may move too, or was broken before."""
    lines, shadow = ("pydantic==2.9", "httpx==0.5", "absent==3"), ("pydantic", "httpx")
    assert against(*lines, shadow=shadow) == {
        "pydantic==2.9": "its prefect 3.8.8 requires pydantic>=2.10",
        "absent==3": "its prefect 3.8.8 requires absent<2",
    }
    assert against("httpx==2", shadow=("httpx",)) == {}
    assert against(*lines, shadow=("*",)) == {}
    assert against("pydantic<2.9", "pydantic==2.*", shadow=("pydantic",)) == {}


def test_a_lock_for_no_image_has_nothing_against_it() -> None:
    """There is nothing to compare with."""
    assert against("pydantic==1", image=None) == {}
