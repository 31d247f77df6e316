from typing import Any

import pytest
from packaging.utils import canonicalize_name, parse_wheel_filename

from flowdeps.locks.pylock import PylockError, UnusableWheelsError, read_pylock, write_preferences
from tests.unit.locks.builders import AMD64, ARM64, BOTH


def resolution(
    *wheels: str, hashes: str = 'sha256 = "{0}"', url: str = "https://example.com"
) -> str:
    """A resolution to a==1.0 with ``wheels`` by tag, the first with the hash 00…, then 11…."""
    lines = ['lock-version = "1.0"', 'created-by = "x"', "[[packages]]", 'name = "a"']
    lines += ['version = "1.0"', "wheels = ["]
    for number, tag in enumerate(wheels):
        digest = hashes.format(str(number) * 64)
        lines.append(f'{{ url = "{url}/a-1.0-{tag}.whl", hashes = {{ {digest} }} }},')
    return "\n".join([*lines, "]"])


def test_only_hashes_of_wheels_that_fit_reach_a_pin() -> None:
    """A resolver that lists too much doesn't put it into the lock."""
    text = resolution(
        "cp311-cp311-manylinux_2_17_x86_64",
        "cp311-cp311-manylinux_2_17_aarch64",
        "cp312-cp312-manylinux_2_17_x86_64",
        "py3-none-any",
    )
    pin = read_pylock(text, target=BOTH, platform=AMD64).pins[canonicalize_name("a")]
    assert pin.hashes == ("sha256:" + "0" * 64, "sha256:" + "3" * 64)
    assert pin.platforms == (AMD64,)


def test_a_package_without_a_fitting_wheel_is_refused() -> None:
    """A pin that couldn't be installed never gets into a lock."""
    text = resolution("cp311-cp311-manylinux_2_17_x86_64")
    with pytest.raises(
        UnusableWheelsError, match=r"^a==1.0 has no wheel for Python 3.11 on linux/arm64$"
    ):
        read_pylock(text, target=BOTH, platform=ARM64)


@pytest.mark.parametrize("login", ["", "me:hunter2@"])
def test_a_wheel_without_sha256_is_refused(login: str) -> None:
    """An index that only knows other hashes can't be locked; no password of it is shown."""
    url = f"https://{login}example.com"
    with pytest.raises(
        UnusableWheelsError,
        match=r"^the index gives no sha256 for the wheels of a==1.0, but md5: let example.com give",
    ):
        read_pylock(
            resolution("py3-none-any", url=url, hashes='md5 = "0"'), target=BOTH, platform=AMD64
        )


def test_a_wheel_that_is_not_on_the_network_is_refused() -> None:
    """A page of an index can't point to a file of this machine."""
    text = resolution("py3-none-any", url="file:///srv")
    with pytest.raises(UnusableWheelsError, match="not on the network"):
        read_pylock(text, target=BOTH, platform=AMD64)


def test_what_the_image_has_at_the_same_version_is_no_pin() -> None:
    """Wherever the resolver found it, in the image's spelling; at another version it is one."""
    text = resolution("py3-none-any", url="file:///srv")
    found = read_pylock(text, target=BOTH, platform=AMD64, image={"a": "1.0", "b": "1.0"})
    assert (found.pins, found.base) == ({}, {"a": "1.0"})
    found = read_pylock(text, target=BOTH, platform=AMD64, image={"a": "1.0.0"})
    assert (found.pins, found.base) == ({}, {"a": "1.0.0"})
    text = resolution("py3-none-any")
    found = read_pylock(text, target=BOTH, platform=AMD64, image={"a": "1.1"})
    assert (set(found.pins), found.base) == ({"a"}, {})


@pytest.mark.parametrize("text", ["", "x", 'lock-version = "1.0"', 'lock-version = "9.0"'])
def test_an_unreadable_resolution_is_an_error_of_ours(text: str) -> None:
    """Whatever a resolver writes ends in one kind of error."""
    with pytest.raises(PylockError, match=r"^the resolution can't be read"):
        read_pylock(text, target=BOTH, platform=AMD64)


def test_preferences_are_a_minimal_pylock() -> None:
    """Names and versions, sorted, each once, and nothing else."""
    assert write_preferences([("b", "2.0"), ("a", "1.0"), ("b", "2.0")]) == (
        'lock-version = "1.0"\ncreated-by = "flowdeps"\n'
        '[[packages]]\nname = "a"\nversion = "1.0"\n'
        '[[packages]]\nname = "b"\nversion = "2.0"\n'
    )


ODD = "-".join(".".join(f"{letter}{number}" for number in range(20)) for letter in "pal")


@pytest.mark.parametrize("odd", [ODD, ODD.replace(".", "%2E"), "py3-none-" + "any." * 70 + "any"])
def test_wheels_with_names_that_nobody_can_read_are_left_out(
    odd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing expands the tags that one stands for: 110 of each kind would fill the memory."""
    names: list[str] = []

    def parse(name: str) -> Any:
        names.append(name)
        return parse_wheel_filename(name)

    monkeypatch.setattr("packaging.pylock.parse_wheel_filename", parse)
    pin = read_pylock(resolution(odd, "py3-none-any"), target=BOTH, platform=AMD64).pins[
        canonicalize_name("a")
    ]
    assert pin.hashes == ("sha256:" + "1" * 64,)
    assert names == ["a-1.0-py3-none-any.whl"]
    with pytest.raises(UnusableWheelsError, match=r"^the index offers a==1\.0 only as wheels "):
        read_pylock(resolution(odd), target=BOTH, platform=AMD64)
