"""Of two distributions with one module, a run gets one: a trial finds those that nobody allowed.

Names of distributions don't show it, so each test has its packages as files.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.delivery.install_pod import bake
from tests.unit.delivery.trial_pod import Trial

Packages = dict[str, dict[str, str]]
VISION = {"cv3/__init__.py": "import ctypes; ctypes.CDLL('libGLx.so.1')\n"}
HEADLESS = {"cv3/__init__.py": "def read(): ...\n"}
CORE = {"company/__init__.py": "", "company/core.py": "x = 1\n"}
PLUGIN = {"company/plugin/__init__.py": "from company.core import x\n"}
PKGUTIL = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
DECLARED = "__import__('pkg_resources').declare_namespace(__name__)\n"


def install(directory: Path, packages: Packages, version: str) -> None:
    for name, modules in packages.items():
        bake(directory, name, version, modules=modules)


def found(trial: Trial, image: Packages, lock: Packages) -> list[dict[str, Any]]:
    """The clashes that a trial reports of packages 1.0 in the image and 2.0 in the lock."""
    install(trial.image, image, "1.0")
    install(trial.site, lock, "2.0")
    result = trial.run().result
    assert result["ok"] is not bool(result.get("clashes"))
    clashes: list[dict[str, Any]] = result.get("clashes", [])
    for one in clashes:
        assert one.pop("leave")
    return clashes


@pytest.mark.parametrize(
    ("image", "lock", "clash"),
    [
        (
            {"vision-headless": HEADLESS},
            {"vision-full": VISION},
            ("hides", "cv3", "vision-full 2.0", "vision-headless 1.0"),
        ),
        (
            {},
            {"vision-full": VISION, "vision-headless": HEADLESS},
            ("twice", "cv3", "vision-full 2.0", "vision-headless 2.0"),
        ),
        (
            {"company-core": CORE, "company-plugin": PLUGIN},
            {"company-core": CORE},
            ("hides", "company.plugin", "company-core 2.0", "company-plugin 1.0"),
        ),
        (
            {"company-core": CORE},
            {"company-plugin": PLUGIN},
            ("hidden", "company.plugin", "company-plugin 2.0", "company-core 1.0"),
        ),
        (
            {"one": {"ns/shared/__init__.py": "", "ns/shared/a.py": ""}},
            {"two": {"ns/shared/__init__.py": "", "ns/shared/b.py": ""}},
            ("hides", "ns.shared.a", "two 2.0", "one 1.0"),
        ),
        (
            {"one": {"fast.py": ""}},
            {"two": {"fast.abi3.so": ""}},
            ("hides", "fast", "two 2.0", "one 1.0"),
        ),
        (
            {"one": {"tool/__init__.py": "", "tool/x.py": ""}},
            {"two": {"tool.py": ""}},
            ("hides", "tool", "two 2.0", "one 1.0"),
        ),
        (
            {"grown": {"grown/__init__.py": "old = 1\n"}},
            {"grown": {"grown/new.py": ""}},
            ("hidden", "grown.new", "grown 2.0", "grown 1.0"),
        ),
        (
            {"old-style": {"ns/__init__.py": PKGUTIL, "ns/a.py": ""}},
            {"new": {"ns/__init__.py": "real = 1\n", "ns/b.py": ""}},
            ("hides", "ns", "new 2.0", "old-style 1.0"),
        ),
    ],
    ids=lambda one: one[1] if isinstance(one, tuple) else "",
)
def test_a_module_that_a_run_would_not_find_as_installed_is_refused(
    trial: Trial, image: Packages, lock: Packages, clash: tuple[str, str, str, str]
) -> None:
    """Builds of one library, a package that two share, a module beside a package: the two and their
    module are named, once."""
    kind, module, ours, theirs = clash
    expected = {"kind": kind, "module": module, "ours": ours, "theirs": theirs}
    assert found(trial, image, lock) == [expected]


@pytest.mark.parametrize(
    ("image", "lock"),
    [
        ({"one": {"ns/a/__init__.py": ""}}, {"two": {"ns/b/__init__.py": ""}}),
        (
            {"one": {"ns/__init__.py": PKGUTIL, "ns/a.py": ""}},
            {"two": {"ns/__init__.py": f"# two\n{PKGUTIL}", "ns/b.py": ""}},
        ),
        (
            {},
            {
                "one": {"ns/__init__.py": DECLARED, "ns/a.py": ""},
                "two": {"ns/__init__.py": f"# two\n{DECLARED}", "ns/b.py": ""},
            },
        ),
        ({"one": {"ns/__init__.py": PKGUTIL}}, {"two": {"ns/b.py": ""}}),
        ({}, {"company-core": CORE, "company-plugin": {**PLUGIN, "company/__init__.py": ""}}),
        ({"six": {"six.py": "old = 1\n"}}, {"six": {"six.py": ""}}),
        (
            {"big": {"big/__init__.py": "", "big/a.py": "old = 1\n"}},
            {"big": {"big/__init__.py": ""}},
        ),
        (
            {"full": {"same.py": "x = 1\n", "company/__init__.py": ""}},
            {"least": {"same.py": "x = 1\n", "company/__init__.py": ""}},
        ),
        (
            {"one": {"tests/__init__.py": "", "docs/conf.py": "", "a/tests/x.py": ""}},
            {"two": {"tests/__init__.py": "x = 1\n", "docs/conf.py": "2", "a/tests/x.py": "3"}},
        ),
        (
            {"one": {"a/__init__.py": ""}},
            {"types-one": {"a/__init__.pyi": "", "a-stubs/x.pyi": ""}},
        ),
        ({"one": {"a/data.txt": "", "a.libs/libx.so": "1"}}, {"two": {"a/__init__.py": ""}}),
        ({"one": {"bin/run.py": ""}}, {"two": {"bin/run.py": "1"}}),
        ({"one": {"one.py": ""}}, {"two": {"two.py": "", "one.pth": "", "LICENSE": ""}}),
        ({"one": {"dataclasses.py": ""}}, {"two": {"dataclasses.py": "x = 1\n"}}),
    ],
)
def test_what_takes_nothing_away_is_no_clash(trial: Trial, image: Packages, lock: Packages) -> None:
    """Namespaces of any kind, equal files, another version of the same distribution, what wheels
    carry along, stubs, data and scripts."""
    assert found(trial, image, lock) == []


def test_code_of_the_image_that_no_package_has_is_named_by_its_file(trial: Trial) -> None:
    """A team's own modules, copied beside the packages; of a package one is named."""
    (trial.image / "utils/b").mkdir(parents=True)
    for name in ("a", "b/c"):
        (trial.image / f"utils/{name}.py").write_text("ours = True\n")
    clashes = found(trial, {}, {"parser": {"parser.py": "", "utils/__init__.py": ""}})
    assert clashes == [
        {
            "kind": "hides",
            "module": "utils.a",
            "ours": "parser 2.0",
            "theirs": str(trial.image / "utils/a.py"),
        }
    ]


def test_what_the_image_has_on_pythonpath_is_not_hidden(trial: Trial, tmp_path: Path) -> None:
    """It comes first in a run, as it would if the lock's packages were installed in the image."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/utils.py").write_text("ours = True\n")
    trial.pod.environment["PYTHONPATH"] = str(tmp_path / "app")
    assert trial.pod.run().code == 0
    modules = {"parser.py": "import utils\nassert utils.ours\n", "utils.py": "stray = True\n"}
    bake(trial.site, "parser", "1.0", modules=modules)
    assert trial.run(imports=["parser"]).result == {"ok": True}
    told = f"utils is not imported from the lock: {tmp_path}/app/utils.py comes before it"
    assert trial.run(names=["parser"]).result == {"ok": True, "notes": [told]}
    (trial.image / "utils.py").write_text("ours = True\n")
    assert [one["module"] for one in trial.run().result["clashes"]] == ["utils"]


def test_the_old_copy_of_a_package_that_lists_no_files_is_no_clash(trial: Trial) -> None:
    """As conda and Debian install some: what lies there is taken for what is replaced."""
    bake(trial.image, "six", "1.0", modules={"six.py": "old = 1\n"})
    (trial.image / "six-1.0.dist-info/RECORD").unlink()
    assert found(trial, {}, {"six": {"six.py": ""}}) == []


def test_an_editable_installation_is_found_where_it_leads(trial: Trial, tmp_path: Path) -> None:
    """By a path in a .pth file, or by a finder."""
    for name in ("by_path", "by_finder"):
        (tmp_path / name / name).mkdir(parents=True)
        (tmp_path / name / name / "__init__.py").write_text("ours = True\n")
    place = tmp_path / "by_finder/by_finder/__init__.py"
    finder = (
        "import sys\nfrom importlib.util import spec_from_file_location\nclass Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == 'by_finder': return spec_from_file_location(name, {str(place)!r},"
        f" submodule_search_locations=[{str(place.parent)!r}])\nsys.meta_path.append(Finder())\n"
    )
    (trial.image / "__editable___finder.py").write_text(finder)
    (trial.image / "by.pth").write_text(f"{tmp_path}/by_path\nimport __editable___finder\n")
    bake(trial.site, "odd", "1.0", modules={"by_path.py": "", "by_finder.py": ""})
    clashes = trial.run().result["clashes"]
    assert {one["module"] for one in clashes} == {"by_path", "by_finder"}


@pytest.mark.parametrize("leave", ["vision-full", "Vision_Headless", "*"])
def test_with_leave_the_lock_goes_before_the_image(trial: Trial, leave: str) -> None:
    """Either package may be named, as the lock's or as the image's."""
    bake(trial.image, "vision-headless", "1.0", modules={"cv3.py": "read = 1\n"})
    bake(trial.site, "vision-full", "2.0", modules={"cv3.py": "read = write = 2\n"})
    trial.allow(leave)
    assert trial.run(names=["vision-full"]).result == {"ok": True}


@pytest.mark.parametrize(
    ("leave", "module"),
    [("company-core", None), ("company-plugin", "company.plugin"), ("*", "company.plugin")],
)
def test_leave_for_another_version_is_none_for_what_it_hides(
    trial: Trial, leave: str, module: str | None
) -> None:
    """The package that loses a module is named, and that it may; then it still has to work."""
    install(trial.image, {"company-core": CORE, "company-plugin": PLUGIN}, "1.0")
    install(trial.site, {"company-core": CORE}, "2.0")
    trial.allow(leave)
    result = trial.run(names=["company-core"]).result
    assert result.get("module") == module
    if module is None:
        assert [one["leave"] for one in result["clashes"]] == [["company-plugin"]]


@pytest.mark.parametrize("key", ["names", "imports"])
@pytest.mark.parametrize("name", ["numbers2", "numbers2-fast"])
def test_what_requires_a_package_that_was_moved_is_imported_too(
    trial: Trial, key: str, name: str
) -> None:
    """A newer version, or another build: metadata allow it, but what was built for the old one
    breaks. Nobody asked for it by name."""
    bake(trial.image, "numbers2", "1.0", modules={"numbers2.py": "abi = 1\n"})
    bake(trial.site, name, "2.0", modules={"numbers2.py": "abi = 2\n"})
    frames = "import numbers2\nassert numbers2.abi == 1, 'built for 1'\n"
    bake(trial.image, "frames", "1.0", requires=["Numbers2>=1"], modules={"frames.py": frames})
    trial.allow(name)
    asked: dict[str, Any] = {key: [name if key == "names" else "numbers2"]}
    result = trial.run(**asked).result
    assert result == {"ok": False, "module": "frames", "error": "AssertionError: built for 1"}


def test_an_extra_in_a_name_is_no_extra(trial: Trial) -> None:
    """What requires such a package needs it."""
    bake(trial.image, "extra-numbers", "1.0", modules={"extra_numbers.py": "abi = 1\n"})
    bake(trial.site, "extra-numbers", "2.0", modules={"extra_numbers.py": "abi = 2\n"})
    frames = "import extra_numbers\nassert extra_numbers.abi == 1\n"
    requires = ["extra-numbers>=1"]
    bake(trial.image, "frames", "1.0", requires=requires, modules={"frames.py": frames})
    trial.allow("extra-numbers")
    assert trial.run(names=["extra-numbers"]).result["module"] == "frames"


def test_what_requires_it_in_an_extra_or_broke_before_says_nothing(trial: Trial) -> None:
    """Only what needs a package is asked, and only of what worked without the lock."""
    bake(trial.image, "numbers2", "1.0", modules={"numbers2.py": ""})
    bake(trial.site, "numbers2", "2.0", modules={"numbers2.py": ""})
    for name, requirement in (("broken", "numbers2"), ("other", "numbers2; extra == 'fast'")):
        bake(trial.image, name, "1.0", requires=[requirement], modules={f"{name}.py": "1 / 0"})
    trial.allow("numbers2")
    verdict = trial.run(names=["numbers2"])
    assert verdict.result == {"ok": True}
    told = [line for line in verdict.lines if "without the lock" in line]
    assert len(told) == 1
    assert told[0].startswith("flowdeps: broken cannot be imported without the lock either")


def test_what_works_with_the_lock_is_not_imported_again(trial: Trial, tmp_path: Path) -> None:
    """A large image may have many packages that break without the lock, too."""
    bake(trial.image, "numbers2", "1.0", modules={"numbers2.py": ""})
    bake(trial.site, "numbers2", "2.0", modules={"numbers2.py": ""})
    codes = {name: f"open('{tmp_path}/count', 'a').write('{name}')\n" for name in "aceg"}
    for name, code in {**codes, "b": "1 / 0", "d": "1 / 0", "h": "1 / 0"}.items():
        bake(trial.image, name, "1.0", requires=["numbers2"], modules={f"{name}.py": code})
    trial.allow("numbers2")
    assert trial.run(names=["numbers2"]).result == {"ok": True}
    assert (tmp_path / "count").read_text() == "aceg"


def test_what_its_user_may_not_read_is_passed_over(trial: Trial, closed: Path) -> None:
    """A directory on the image's path that its user may not read hides no package of the lock."""
    (trial.image / "closed.pth").write_text(f"{closed}\n")
    bake(trial.site, "alpha", "1.0")
    assert trial.run(names=["alpha"]).result == {"ok": True}
