"""The install container of a build leaves the same tree each time, with bytecode, for many runs.

What packages hold is Python's own library, so it is real code, and each build has other temporary
names, hash seeds and addresses.
"""

import ast
import hashlib
import os
import sysconfig
from pathlib import Path

import pytest

from flowdeps.delivery.in_image import bytecode
from tests.cluster.index import Index
from tests.unit.delivery.install_pod import Pod, at, pin

BUILD = "FLOWDEPS_BUILD"
LIBRARY = Path(sysconfig.get_path("stdlib"))
SMALL = 40_000
UNCHECKED = 0b01


def sources() -> list[tuple[str, str]]:
    """Modules of Python's library with their text, in an order that is the same each time."""
    found = sorted(LIBRARY.glob("*.py")) + sorted((LIBRARY / "asyncio").glob("*.py"))
    found = [one for one in found if one.stat().st_size < SMALL]
    return [(one.name, one.read_text("utf-8")) for one in found]


def publish(index: Index, count: int, *, modules: int = 2) -> list[str]:
    """Publish packages with some modules and a program each; return their lines in a lock."""
    library = sources()
    lines = []
    for number in range(count):
        chosen = [library[(number * modules + more) % len(library)] for more in range(modules)]
        files = {f"p{number}/{name}": text for name, text in chosen}
        files[f"p{number}/__init__.py"] = ""
        files[f"p{number}-1.0.dist-info/entry_points.txt"] = (
            f"[console_scripts]\np{number} = p{number}:main\n"
        )
        lines.append(pin(index, f"p{number}", "1.0", modules=files))
    return lines


def tree(home: Path) -> dict[str, tuple[int, str]]:
    """All that is in a directory: modes, and contents or where links lead."""
    found = {}
    for path in home.rglob("*"):
        content = ""
        if path.is_symlink():
            content = os.readlink(path)  # noqa: PTH115
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(home))] = (path.lstat().st_mode, content)
    return found


def build(pod: Pod) -> dict[str, tuple[int, str]]:
    """What a build leaves."""
    pod.environment[BUILD] = "1"
    outcome = pod.run()
    assert outcome.code == 0, outcome.lines
    return tree(pod.home)


@pytest.mark.slow
def test_two_builds_of_a_hundred_packages_leave_one_tree(pod: Pod, index: Index) -> None:
    """Each file, with its mode: metadata, programs, bytecode, and what boot is told."""
    pod.write(*publish(index, 100), index=at(index))
    first = build(pod)
    assert sum(name.endswith(".pyc") for name in first) > 300
    assert sum(name.startswith("site/bin/") for name in first) == 100
    assert build(pod) == first


def test_two_builds_leave_one_tree(either: Pod, index: Index) -> None:
    """By either installer, and nothing of the installer's own, such as uv's lock file, whose mode
    lets everybody write it."""
    either.write(*publish(index, 8), index=at(index))
    either.environment["PYTHONPATH"] = "/app"
    first = build(either)
    assert build(either) == first
    assert {name.split("/")[0] for name in first} == {
        "boot",
        "image",
        "lock.json",
        "manifest.json",
        "site",
    }
    hidden = [name for name in first if Path(name).name.startswith(".")]
    assert hidden == []
    for name in first:
        if name.endswith(".pyc"):
            flags = (either.home / name).read_bytes()[4]
            assert flags == UNCHECKED, name


def test_each_file_is_compiled_by_a_process_of_its_own(tmp_path: Path) -> None:
    """What it writes depends on nothing that another file has brought along: in Python 3.9 and 3.10
    a name is written in another way where an imported codec has the same name. Hashes are not
    random, for the order of a set may be that of its hashes."""
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.py").write_text("x = 1\n")
    log = tmp_path / "log"
    watch = f"""
import os, sys
log = os.open({str(log)!r}, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
def hook(event, args):
    if event == "compile":
        line = f"{{os.getpid()}} {{os.path.basename(args[1])}} {{hash('a')}}\\n"
        os.write(log, line.encode())
sys.addaudithook(hook)
"""
    compiler = bytecode.COMPILER
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bytecode, "COMPILER", watch + compiler)
        bytecode.compile_all([tmp_path])
        bytecode.compile_all([tmp_path])
    compiled = [line.split() for line in log.read_text().splitlines()]
    assert sorted(name for _, name, _ in compiled) == [
        "a.py",
        "a.py",
        "b.py",
        "b.py",
        "c.py",
        "c.py",
    ]
    assert len({process for process, _, _ in compiled}) == 6
    assert len({hashed for _, _, hashed in compiled}) == 1


def test_what_does_not_compile_is_passed_over(pod: Pod, index: Index) -> None:
    """As pip does: templates, code for another Python, what ends the compiler; and all else is
    compiled."""
    odd: dict[str, str | bytes] = {
        "alpha/__init__.py": "",
        "alpha/template.py": "def {{ name }}(:\n",
        "alpha/null.py": "a\0b",
        "alpha/latin.py": b"x = '\xe9'\n",
        "alpha/deep.py": "(" * 20_000 + ")" * 20_000,
        "alpha/well.py": "x = 1\n",
    }
    pod.write(pin(index, "alpha", "1.0", modules=odd), index=at(index))
    found = build(pod)
    compiled = {Path(name).name.partition(".")[0] for name in found if "alpha/__pycache__/" in name}
    assert compiled == {"__init__", "well"}


def test_a_run_uses_the_bytecode(pod: Pod, index: Index) -> None:
    """Nothing is compiled again, and no source is looked at: it is not even right."""
    pod.write(pin(index, "alpha", "1.0", modules={"alpha.py": "x = 'compiled'\n"}), index=at(index))
    build(pod)
    (pod.home / "site/alpha.py").write_text("x = 'source'\n")
    assert pod.said("import alpha; print(alpha.x)") == "compiled"


def test_a_build_has_no_extras(pod: Pod, index: Index) -> None:
    """Those of an image's own variable would be in the environment of all runs."""
    index.add("beta", "1.0")
    pod.environment |= {"FLOWDEPS_EXTRAS": "beta", "FLOWDEPS_INDEX": index.url}
    pod.write(pin(index, "alpha", "1.0"), index=at(index))
    found = build(pod)
    assert "site/alpha/__init__.py" in found
    assert not any("beta" in name for name in found)


def test_variables_of_the_image_are_in_no_bytecode(pod: Pod, index: Index) -> None:
    """Hash seeds, flags and modules that the image's own Python runs as it starts."""
    pod.write(*publish(index, 3), index=at(index))
    plain = build(pod)
    (pod.lock / "py_compile.py").write_text("1 / 0\n")
    pod.environment |= {"PYTHONHASHSEED": "7", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONINSPECT": "1"}
    assert build(pod) == plain


def test_the_compiler_is_python_3_9() -> None:
    """The oldest interpreter that images with Prefect 3 have can read it."""
    ast.parse(bytecode.COMPILER, feature_version=(3, 9))
