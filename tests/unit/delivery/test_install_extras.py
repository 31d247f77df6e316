"""Packages for one run beside its lock: what is asked for, what is added, what is refused."""

from pathlib import Path
from typing import Any

import pytest

from flowdeps.delivery.in_image import extras
from flowdeps.delivery.in_image.installer import InstallError
from tests.cluster.index import Index
from tests.unit.delivery.install_pod import Pod, Step, at, bake, pin

# Signs that break a line somewhere, as JSON spells them.
BREAKS = ("000a", "000b", "000c", "000d", "001c", "0085", "2028")


def ran(pod: Pod, wanted: str, **more: Any) -> Step:
    pod.environment["FLOWDEPS_EXTRAS"] = wanted
    return pod.run(**more)


def modules(outcome: Step) -> list[str]:
    return [name for name in outcome.installed if "." not in name and name != "bin"]


def test_what_is_missing_is_added_and_reported_as_unpinned(either: Pod, index: Index) -> None:
    """The package and what it requires come beside the lock, with their versions in a warning."""
    either.write(pin(index, "alpha", "1.0"), index=at(index))
    index.add("alpha", "2.0")
    index.add("extra", "1.2", requires=["alpha", "more"])
    index.add("more", "3.0")
    outcome = ran(either, " extra\n")
    assert outcome.code == 0, outcome.lines
    assert modules(outcome) == ["alpha", "extra", "more"]
    assert '"1.0"' in (outcome.site / "alpha/__init__.py").read_text()
    assert outcome.lines[0] == (
        "flowdeps: warning: unpinned: installed extra 1.2, more 3.0 beside the lock; "
        "pin them in a dependency set"
    )
    assert outcome.last.startswith("flowdeps: installed 1 package of ml")


def test_what_image_and_lock_have_is_not_installed_again(
    either: Pod, index: Index, baked: Path
) -> None:
    """Packages that no index has satisfy requirements where image or lock have them."""
    bake(baked, "own-tool", "1.0.dev3+g1a2b", requires=["alpha"])
    either.write(pin(index, "alpha", "1.0"), index=at(index))
    outcome = ran(either, "own_tool alpha")
    assert outcome.code == 0, outcome.lines
    assert modules(outcome) == ["alpha"]
    assert "flowdeps: extra_py_deps: all of it is there already" in outcome.lines[0]


def test_extras_need_no_set(either: Pod, index: Index, baked: Path) -> None:
    """With the key none they come from the configured index, beside the image."""
    bake(baked, "alpha", "1.0")
    index.add("extra", "1.0", requires=["alpha"])
    index.add("alpha", "2.0")
    either.environment["FLOWDEPS_INDEX"] = index.url
    outcome = ran(either, "extra>=1,<2", key="none")
    assert outcome.code == 0, outcome.lines
    assert modules(outcome) == ["extra"]
    assert "installed extra 1.0 beside the image" in outcome.lines[0]
    assert outcome.last.endswith("the flow sees the packages of its image and its extras")


@pytest.mark.parametrize("url", ["git+https://git.example.com/helper.git@v1", "file:///src/helper"])
def test_where_the_images_packages_came_from_does_not_matter(
    either: Pod, index: Index, baked: Path, url: str
) -> None:
    """What one of them requires by URL is there: nothing is cloned or downloaded again."""
    bake(baked, "house", "1.0", requires=[f"helper @ {url}"])
    bake(baked, "helper", "1.0")
    index.add("report", "1.0", requires=["house"])
    either.write(index=at(index), packages=0)
    outcome = ran(either, "report")
    assert outcome.code == 0, outcome.lines
    assert modules(outcome) == ["report"]


def test_what_the_image_requires_by_url_and_lacks_is_not_taken_from_an_index(
    either: Pod, index: Index, baked: Path
) -> None:
    """Whatever has that name there may be somebody else's."""
    bake(baked, "house", "1.0", requires=["helper @ https://example.com/helper-1.0.whl"])
    index.add("report", "1.0", requires=["house"])
    index.add("helper", "9.0")
    either.write(index=at(index), packages=0)
    outcome = ran(either, "report")
    assert outcome.code == 0, outcome.lines
    assert modules(outcome) == ["report"]


def test_old_metadata_of_the_image_hold_up_no_extra(either: Pod, index: Index, baked: Path) -> None:
    """Versions and names that are none, and letters of another encoding: the rest counts."""
    bake(baked, "house", "1.0", requires=["alpha<2", "pytz (>=2004d)"])
    with (baked / "house-1.0.dist-info/METADATA").open("ab") as metadata:
        metadata.write("Author: José\n".encode("latin-1"))
    bake(baked, "odd", "1.0")
    odd = baked / "odd-1.0.dist-info/METADATA"
    odd.write_text(odd.read_text().replace("Name: odd", "Name: our own tool"))
    index.add("report", "1.0", requires=["house"])
    index.add("alpha", "1.0")
    index.add("alpha", "2.0")
    either.write(index=at(index), packages=0)
    outcome = ran(either, "report")
    assert outcome.code == 0, outcome.lines
    assert modules(outcome) == ["alpha", "report"]
    assert "installed alpha 1.0, report 1.0 beside" in outcome.lines[0]


@pytest.mark.parametrize("wanted", ["alpha>=2", "needs-newer"])
@pytest.mark.parametrize("owner", ["lock", "image"])
def test_nothing_moves_what_image_and_lock_have(
    either: Pod, index: Index, baked: Path, wanted: str, owner: str
) -> None:
    """An extra that wants another version ends the run with a line that names both."""
    if owner == "image":
        bake(baked, "alpha", "1.0")
        either.write(pin(index, "beta", "1.0"), index=at(index))
    else:
        either.write(pin(index, "alpha", "1.0"), index=at(index))
    index.add("alpha", "2.0")
    index.add("needs-newer", "1.0", requires=["alpha>=2"])
    outcome = ran(either, wanted)
    assert outcome.code == 1
    assert outcome.last.startswith("flowdeps: extra_py_deps: cannot be had beside image and lock: ")
    assert "alpha>=2" in outcome.last
    assert "alpha==1.0" in outcome.last
    assert outcome.last.endswith("nothing was installed")


def test_an_extra_that_no_index_has_is_named(either: Pod, index: Index) -> None:
    """One line says which one."""
    either.write(pin(index, "alpha", "1.0"), index=at(index))
    outcome = ran(either, "nowhere")
    assert outcome.code == 1
    assert outcome.last == (
        f"flowdeps: extra_py_deps: {index.url} has no wheel of nowhere for this image; "
        "nothing was installed"
    )


def test_an_extra_without_a_wheel_is_not_built(either: Pod, index: Index) -> None:
    """A source distribution would run foreign code before the flow does."""
    either.write(pin(index, "alpha", "1.0"), index=at(index))
    index.add_sdist("extra", "1.0")
    outcome = ran(either, "extra")
    assert outcome.code == 1
    assert "extra" in outcome.last


def test_an_index_that_is_down_is_named_for_extras_too(either: Pod, index: Index) -> None:
    """What is not there is not called a conflict."""
    either.write(index=at(index), packages=0)
    index.down()
    outcome = ran(either, "extra")
    assert outcome.code == 1
    assert f"{index.url} cannot be reached or does not answer" in outcome.last


def test_a_package_that_shares_a_namespace_comes_beside_it(either: Pod, index: Index) -> None:
    """Two packages in one directory: both are there, and the lock's files stay."""
    line = pin(
        index, "one", "1.0", modules={"shared/one.py": "", "shared/both.py": "of = 'the lock'\n"}
    )
    either.write(line, index=at(index))
    index.add("two", "1.0", modules={"shared/two.py": "", "shared/both.py": "of = 'the extra'\n"})
    outcome = ran(either, "two")
    assert outcome.code == 0, outcome.lines
    found = sorted(path.name for path in (outcome.site / "shared").iterdir())
    assert found == ["both.py", "one.py", "two.py"]
    assert "the lock" in (outcome.site / "shared/both.py").read_text()


def test_the_variables_name_is_the_configured_one(pod: Pod, index: Index) -> None:
    """Lines speak of the job variable that the pool has."""
    pod.write(index=at(index), packages=0)
    pod.environment["FLOWDEPS_EXTRAS_VARIABLE"] = "more"
    assert ran(pod, "./x").last.startswith('flowdeps: more: "./x" is not a package')


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("", []),
        (" \n ", []),
        (" None", []),
        (" []", []),
        ("httpx", ["httpx"]),
        (" httpx>=0.27  rich\n\npolars ", ["httpx>=0.27", "rich", "polars"]),
        ("httpx >= 0.27, < 1 rich [jupyter]", ["httpx>=0.27,<1", "rich[jupyter]"]),
        ("# tools\nhttpx # fast\n", ["httpx"]),
        ('httpx ; python_version < "3.12"\nrich', ['httpx ; python_version < "3.12"', "rich"]),
        ('["httpx>=0.27", " rich "]', ["httpx>=0.27", "rich"]),
        (
            " ['httpx>=0.27', \"x; sys_platform == 'linux'\"]",
            ["httpx>=0.27", "x; sys_platform == 'linux'"],
        ),
        ("[]", []),
    ],
)
def test_the_value_is_text_or_a_list(value: str, found: list[str]) -> None:
    """Spaces and lines separate; JSON lists and Python's are read; markers keep their spaces."""
    assert extras.requirements(value) == found


@pytest.mark.parametrize(
    "value",
    [
        "--index-url=https://example.com/",
        "-r other.txt",
        "httpx --pre",
        'httpx; python_version > "3" --config-settings=x',
        "git+https://example.com/x",
        "httpx @ https://user:hidden@example.com/httpx.whl",
        "./local",
        "../local",
        "/srv/x",
        "x.whl",
        "$(HOME)",
        "httpx\\",
        "a;b;c",
        "['httpx', 1]",
        "['httpx'",
        "{'httpx': 1}",
        '["httpx; a\\nrich"]',
        *(f"[\"httpx; a > '3'\\u{sign}--pre\"]" for sign in ("0009", *BREAKS)),
        *(f"[\"httpx; a > '3'\\u{sign}rich\"]" for sign in BREAKS),
    ],
)
def test_what_is_no_plain_requirement_is_refused(value: str) -> None:
    """Flags, URLs, paths and what has another type end in a line, without a password."""
    with pytest.raises(InstallError) as caught:
        extras.requirements(value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("value", ["httpx, rich", "httpx,rich", '"httpx>=0.27" rich', "'httpx'"])
def test_what_other_tools_take_is_refused_with_the_form_to_write(value: str) -> None:
    """Commas and quotes, as they stand in variables of other images."""
    with pytest.raises(InstallError, match="separate packages by spaces, without commas or quotes"):
        extras.requirements(value)
