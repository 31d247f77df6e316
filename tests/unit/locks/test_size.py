"""How large a lock is: told from its index, measured where it is installed, warned of."""

from dataclasses import replace

import pytest
from packaging.utils import NormalizedName

from flowdeps.delivery.in_image.mounted import digest_of
from flowdeps.locks.lock import Lock, Pin, parse_lock
from flowdeps.locks.pylock import read_pylock
from flowdeps.locks.size import Size, human, read_size, size_of, warn_of_size, with_installed
from flowdeps.locks.target import Target

TARGET = Target("3.11", ("linux/amd64", "linux/arm64"))
AMD64 = Target("3.11", ("linux/amd64",))
HASH = f"sha256:{'0' * 64}"


def pin(name: str, *platforms: str) -> Pin:
    return Pin(NormalizedName(name), "1.0", (HASH,), platforms or TARGET.platforms)


def lock(*pins: Pin, **sizes: int) -> Lock:
    known = tuple((NormalizedName(name), size) for name, size in sizes.items())
    return Lock(TARGET, pins, sizes=known)


def test_what_is_known_of_sizes_makes_no_other_lock() -> None:
    """Neither its digest nor its equality: an index that begins to tell sizes moves nothing."""
    without, known = lock(pin("torch")), lock(pin("torch"), torch=5)
    assert without == known
    assert without.digest == known.digest


def test_sizes_are_in_the_text_and_come_back() -> None:
    """As comments, which installers pass over; without any the text is as it was."""
    known = lock(pin("six"), pin("torch"), torch=812, six=3)
    assert "# size: six 3\n# size: torch 812\n" in known.render()
    assert parse_lock(known.render()).sizes == known.sizes
    assert digest_of(known.render()) == known.digest, "as a run's install container has it"
    assert "# size" not in lock(pin("six")).render()


@pytest.mark.parametrize(
    "line",
    ["torch", "torch many", "torch -1", f"torch 1{'0' * 15}", "Other 7", "gone 7", "torch 1 2"],
)
def test_a_size_that_makes_no_sense_is_a_comment(line: str) -> None:
    """A lock may come from a pull request: what it says of sizes refuses and moves nothing."""
    text = lock(pin("torch")).render()
    assert parse_lock(f"# size: {line}\n{text}").sizes == ()


def test_the_platform_with_most_to_download_counts() -> None:
    """A run has one; packages whose size no index tells make it a least size."""
    amd64, arm64 = TARGET.platforms
    known = lock(pin("a", amd64), pin("b", arm64), pin("c"), a=5, b=7, c=1)
    assert size_of(known) == Size(download=8, largest=("b", "a", "c"))
    assert size_of(replace(known, sizes=known.sizes[:1])) == Size(
        download=5, whole=False, largest=("a",)
    )
    assert size_of(lock(pin("a"))) is None


def test_a_size_reads_as_people_say_it() -> None:
    """What is not known is left out."""
    assert str(Size(download=2_400_000_000, installed=5_100_000_000)) == (
        "2.4 GB to download, 5.1 GB installed"
    )
    assert str(Size(download=81_000_000, whole=False)) == "at least 81 MB to download"
    assert str(Size(installed=1)) == "1 B installed"
    assert str(Size()) == ""
    assert human(999_999) == "1000 kB"


def test_a_size_survives_its_annotation() -> None:
    """Also without what is not known."""
    for size in (Size(), Size(download=5, whole=False, installed=7, largest=("torch", "six"))):
        assert read_size(size.to_json()) == size


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        "{}",
        "{",
        "[" * 100_000,
        '{"download": -1, "largest": []}',
        '{"download": 1.5, "largest": []}',
        '{"download": true, "largest": []}',
        '{"download": 1000000000000000, "largest": []}',
        '{"largest": ["a", "b", "c", "d"]}',
        '{"largest": [1]}',
        '{"largest": 1}',
        '{"whole": 1, "largest": []}',
        '{"else": 1, "largest": []}',
    ],
)
def test_an_annotation_that_makes_no_sense_is_none(text: str | None) -> None:
    """Anybody who may write ConfigMaps in the namespace can write any text."""
    assert read_size(text) is None


def test_what_was_measured_is_added_to_what_the_index_says() -> None:
    """Also where the index says nothing; where nothing was measured, all stays."""
    assert with_installed(Size(download=5), 7) == Size(download=5, installed=7)
    assert with_installed(None, 7) == Size(installed=7)
    assert with_installed(Size(download=5), Size(installed=7)) == Size(download=5, installed=7)
    assert with_installed(Size(download=5), None) == Size(download=5)
    assert with_installed(None, 0) is None


def test_a_set_above_the_limit_is_warned_of_with_advice_that_fits() -> None:
    """Either size counts. Where CUDA is most of it, smaller builds come first; runs that have it
    ready are not told to."""
    limit = 2 * 2**30
    cuda = Size(download=3_900_000_000, largest=("torch", "nvidia-cudnn-cu12"))
    assert warn_of_size(cuda, limit=limit) == (
        "large: 3.9 GB to download (most of it torch, nvidia-cudnn-cu12), more than"
        " limits.warnAboveSize (2.1 GB): take builds for CPUs from an index of their own"
        " (index.packages) if no GPU is used, or mount ready environments, so that runs need not"
        " install it"
    )
    other = Size(download=1, installed=3_000_000_000, largest=("spark",))
    assert "index.packages" not in warn_of_size(other, limit=limit)
    assert "mount ready environments" in warn_of_size(other, limit=limit)
    assert warn_of_size(other, limit=limit, mounted=True).endswith("limits.warnAboveSize (2.1 GB)")
    for size, most in ((cuda, 0), (cuda, 4 * 10**9), (None, 1)):
        assert warn_of_size(size, limit=most) == ""


def test_the_largest_wheel_that_fits_is_the_size_of_a_pin() -> None:
    """Those for other platforms count as little as those without a size."""
    wheels = "".join(
        f"""
[[packages.wheels]]
url = "https://index.example.com/{name}"
{f"size = {size}" if size else ""}
hashes = {{ sha256 = "{"0" * 64}" }}
"""
        for name, size in (
            ("torch-1.0-cp311-cp311-manylinux_2_28_x86_64.whl", 800),
            ("torch-1.0-py3-none-any.whl", 900),
            ("torch-1.0-cp311-cp311-win_amd64.whl", 9000),
        )
    )
    text = f"""
lock-version = "1.0"
created-by = "uv"
[[packages]]
name = "torch"
version = "1.0"
{wheels}
"""
    found = read_pylock(text, target=AMD64, platform="linux/amd64")
    assert found.sizes == {"torch": 900}
    without = text.replace("size = ", "# ")
    assert read_pylock(without, target=AMD64, platform="linux/amd64").sizes == {}
