"""Finished locks in the form of pylock.toml."""

from typing import Any

import pytest

from flowdeps.locks.external_pylock import (
    MOST_BYTES,
    MOST_PACKAGES,
    ExternalPylock,
    is_pylock,
    parse_external_pylock,
)
from flowdeps.locks.image import Distribution, ImageFacts
from flowdeps.locks.lock import Lock, LockError
from tests.unit.locks.builders import AMD64, ARM64, digest

HEADER = "# python: 3.11\n# platforms: linux/amd64\n"
TOP = 'lock-version = "1.0"\ncreated-by = "some-tool"\n'


def wheel(
    stem: str, tag: str, *, kind: str = "sha256", at: str = "https://files.example.com"
) -> str:
    """A wheel's entry in an array, with a hash that only its name decides."""
    name = f"{stem}-{tag}.whl"
    hashed = digest(name).removeprefix("sha256:")
    return f'{{ url = "{at}/{name}", hashes = {{ {kind} = "{hashed}" }} }}'


def package(name: str, version: str, *tags: str, more: str = "", **given: Any) -> str:
    """An entry of a package with wheels."""
    wheels = ", ".join(
        wheel(f"{name}-{version}", tag, **given) for tag in tags or ("py3-none-any",)
    )
    return f'[[packages]]\nname = "{name}"\nversion = "{version}"\n{more}wheels = [{wheels}]\n'


def facts(python: str = "3.11", **versions: str) -> ImageFacts:
    found = tuple(Distribution(name, version) for name, version in versions.items())
    return ImageFacts(python=python, platform=AMD64, distributions=found)


def lock(
    *packages: str, header: str = HEADER, top: str = TOP, image: ImageFacts | None = None
) -> Lock:
    text = "".join((header, top, *packages))
    assert is_pylock(text)
    return parse_external_pylock(text).lock_for(image)


def pins(found: Lock) -> dict[str, str]:
    return {pin.name: pin.version for pin in found.pins}


def test_only_files_that_fit_reach_the_lock() -> None:
    """Files for other systems and interpreters, which a lock for all has, are left out."""
    fits = "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64"
    others = (
        "cp311-cp311-win_amd64",
        "cp312-cp312-manylinux_2_17_x86_64",
        "cp311-cp311-musllinux_1_2_x86_64",
    )
    found = lock(package("fast", "1.0", fits, *others))
    assert [pin.hashes for pin in found.pins] == [(digest(f"fast-1.0-{fits}.whl"),)]
    assert found.target.platforms == (AMD64,)


def test_packages_of_other_platforms_are_left_out() -> None:
    """By their markers, and one name may have a version for each Python."""
    found = lock(
        package("colorama", "0.4", more="marker = \"sys_platform == 'win32'\"\n"),
        package("numpy", "2.2.0", more="marker = \"python_full_version < '3.12'\"\n"),
        package("numpy", "2.3.0", more="marker = \"python_full_version >= '3.12'\"\n"),
        package("dev", "1.0", more="marker = \"'dev' in dependency_groups\"\n"),
        package("plot", "1.0", more="marker = \"'plot' in extras\"\n"),
    )
    assert pins(found) == {"numpy": "2.2.0"}


def test_default_groups_are_installed() -> None:
    """What the file says is installed unless something else is asked for."""
    found = lock(
        package("dev", "1.0", more="marker = \"'dev' in dependency_groups\"\n"),
        top=TOP + 'dependency-groups = ["dev"]\ndefault-groups = ["dev"]\n',
    )
    assert pins(found) == {"dev": "1.0"}


def test_each_platform_has_its_own_pins() -> None:
    """A lock for two platforms has the markers that a lock of flowdeps has."""
    found = lock(
        package("both", "1.0"),
        package("intel", "1.0", more="marker = \"platform_machine == 'x86_64'\"\n"),
        header=f"# python: 3.11\n# platforms: {AMD64}, {ARM64}\n",
    )
    assert {pin.name: pin.platforms for pin in found.pins} == {
        "both": (AMD64, ARM64),
        "intel": (AMD64,),
    }


def test_without_comments_it_is_for_the_image() -> None:
    """Its Python and platform, and what it has at the same version is what the lock builds on."""
    image = facts("3.12", prefect="3.9.1")
    found = lock(
        package("prefect", "3.9.1.0"),
        package("fast", "1.0", "cp312-cp312-manylinux_2_17_x86_64"),
        header="",
        image=image,
    )
    assert (found.target.python, pins(found)) == ("3.12", {"fast": "1.0"})
    assert found.base == (("prefect", "3.9.1"),)


@pytest.mark.parametrize(
    "more",
    [
        '[packages.sdist]\nurl = "https://example.com/own-1.0.tar.gz"\nhashes = {sha256 = "0"}\n',
        '[packages.vcs]\ntype = "git"\nurl = "https://git.example.com/own"\ncommit-id = "0"\n',
        '[packages.directory]\npath = "."\n',
        '[packages.archive]\nurl = "https://example.com/own.zip"\nhashes = {sha256 = "0"}\n',
    ],
)
def test_what_is_no_wheel_is_refused_by_name(more: str) -> None:
    """Source distributions, repositories, directories and archives."""
    entry = f'[[packages]]\nname = "own"\nversion = "1.0"\n{more}'
    with pytest.raises(LockError, match=r"^own: no wheel for Python 3.11 on linux/amd64; only"):
        lock(entry)
    assert lock(entry, image=facts(own="1.0")).base == (("own", "1.0"),)


@pytest.mark.parametrize(
    ("packages", "says"),
    [
        ([package("a", "1.0", kind="md5")], "a==1.0: its wheels have no sha256"),
        ([package("a", "1.0", at="file:///srv")], "a==1.0: a-1.0-py3-none-any.whl is a path"),
        ([package("a", "1.0", "cp312-cp312-manylinux_2_17_x86_64")], "No wheel found"),
        ([package("a", "1.0"), package("a", "2.0")], "Multiple packages with the name 'a'"),
        ([package("a", "1.0", more='requires-python = ">=3.13"\n')], "'>=3.13'"),
        ([package("A b", "1.0")], "not a pylock.toml"),
        (['[[packages]]\nname = "a"\nwheels = "x"\n'], "not a pylock.toml"),
        (["packages = 3\n"], "not a pylock.toml"),
        (["[[packages]\n"], "not a pylock.toml"),
        ([package("a", "9" * 5000)], "only as wheels whose names"),
        ([package("a", "1.0", more=f"marker = \"python_version < '{'9' * 5000}'\"\n")], "digits"),
    ],
)
def test_what_cannot_be_installed_is_refused(packages: list[str], says: str) -> None:
    """With one line that names the package."""
    with pytest.raises(LockError) as error:
        lock(*packages)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_file_for_other_environments_is_refused() -> None:
    """By its Python, and by the environments that it names."""
    with pytest.raises(LockError, match=r"for Python 3.11 on linux/amd64: .*>=3.12"):
        lock(package("a", "1.0"), top=TOP + 'requires-python = ">=3.12"\n')
    with pytest.raises(LockError, match="does not satisfy any of the environments"):
        lock(package("a", "1.0"), top=TOP + "environments = [\"sys_platform == 'win32'\"]\n")


def test_a_file_for_no_known_python_is_refused() -> None:
    """No image and no comment says which it is."""
    with pytest.raises(LockError, match=r"no image says which Python"):
        lock(package("a", "1.0"), header="")


def test_comments_after_the_content_are_no_header() -> None:
    """What a tool writes beside a package is not the target."""
    text = TOP + "# python: 3.13\n" + package("a", "1.0")
    assert parse_external_pylock(text).target is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TOP + " " * MOST_BYTES, "more than 1,024 KiB"),
        (TOP + '[[packages]]\nname = "a"\n' * (MOST_PACKAGES + 1), "2,001 packages, 2,000 fit"),
        (TOP + package("a", "1", *(f"py{n}-none-any" for n in range(3001))), "lists 3,001 wheels"),
        (
            TOP
            + package(
                "a", "1", *(f"{'.'.join(['py3'] * 400)[:150]}.p{n}-none-any" for n in range(300))
            ),
            "with 23,400 tags",
        ),
        (
            TOP + package("a", "1", more=f'marker = "{"(" * 17}os_name"\n'),
            "more than 16 parentheses",
        ),
        (
            TOP + package("a", "1", more=f'requires-python = "{">=3," * 20_000}>=3"\n'),
            "more than 65,536 characters",
        ),
        (TOP + f"extras = {[f'e{n}' for n in range(20_000)]}\npackages = []", "more than 65,536"),
        (TOP + "a = " + "[" * 100_000, "not a pylock.toml"),
        (
            TOP + package("a", "1", ".".join(["py3"] * 600) + "-none-any"),
            "only as wheels whose names",
        ),
    ],
    ids=[
        "bytes",
        "packages",
        "files",
        "tags",
        "parentheses",
        "conditions",
        "extras",
        "depth",
        "one name",
    ],
)
def test_what_would_take_too_long_is_refused(text: str, says: str) -> None:
    """Bytes, packages, files, tags and markers are counted before they are read."""
    with pytest.raises(LockError) as error:
        parse_external_pylock(text)
    assert says in str(error.value)


def test_what_is_kept_is_what_is_read() -> None:
    """Not what tools add, nor files for other systems: many of these may be held at once."""
    text = (
        TOP
        + package(
            "a",
            "1.0",
            "py3-none-any",
            "cp311-cp311-win_amd64",
            more='tool = {x = {y = 1}}\ndependencies = [{name = "b"}]\n',
        )
        + "[tool.some]\nx = 1\n"
    )
    found = parse_external_pylock(text)
    assert isinstance(found, ExternalPylock)
    [kept] = found.content.packages
    assert [one.filename for one in kept.wheels or ()] == ["a-1.0-py3-none-any.whl"]
    assert (found.content.tool, kept.tool, kept.dependencies) == (None, None, None)
