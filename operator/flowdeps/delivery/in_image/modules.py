"""Say which modules packages bring, by the files that are there.

What metadata say of that may be stale or of another kind of build: a file that is not there, or a
top_level.txt that names what the wheel lacks, would end a whole lock for nothing.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
from collections.abc import Callable
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder

from flowdeps.delivery.in_image.inventory import declared, normal_name

Module = tuple[str, ...]  # the parts of its name
Files = dict[Module, list[metadata.PackagePath]]
MOST_MODULES = 20  # of one package
# What wheels carry beside the modules that they are for.
BESIDE = {
    *("benchmark", "benchmarks", "conftest", "doc", "docs", "example", "examples", "samples"),
    *("scripts", "setup", "test", "tests"),
}
# Where installers put scripts and data, which may be Python files, if the target is a directory.
NO_PACKAGES = {"bin", "etc", "include", "man", "sbin", "share"}
# Below share, what no program of a run looks for.
FOR_PEOPLE = {
    *("applications", "bash-completion", "doc", "fish", "icons", "info", "licenses", "man"),
    *("metainfo", "pixmaps", "zsh"),
}


def module_files(distribution: metadata.Distribution) -> Files:
    """Return the files of each module that a distribution has; a package's are its __init__."""
    found: Files = {}
    for file in listed_files(distribution):
        *parents, last = file.parts
        name = module_name(last)
        if name is None or (parents and parents[0] in NO_PACKAGES):
            continue
        module = tuple(parents) if name == "__init__" else (*parents, name)
        # Not Path's: it raises where a parent is closed to the user.
        there = os.path.isfile(str(file.locate()))  # noqa: PTH113
        if there and module and all(map(str.isidentifier, module)):
            found.setdefault(module, []).append(file)
    return found


def listed_files(distribution: metadata.Distribution) -> list[metadata.PackagePath]:
    """Return what a distribution says that it has installed; nothing if that cannot be read."""
    try:
        found = distribution.files or []
    except Exception:
        return []
    return [one for one in found if {*one.parts} - {".."}]  # no directory of the path itself


def data_of(distribution: metadata.Distribution) -> str | None:
    """Return a place of data files outside of packages, such as ``share/jupyter``, if there is one.

    A program that looks for them beside Python does not find them.
    """
    for file in listed_files(distribution):
        place, *inside = [part for part in file.parts if part != ".."]
        if inside and place in {"etc", "share"} and inside[0] not in FOR_PEOPLE:
            return f"{place}/{inside[0]}"
    return None


def module_name(file: str) -> str | None:
    """Return the name of the module in a file; None: it holds none that can be imported."""
    name = inspect.getmodulename(file)
    library = name and name.startswith("lib") and file == f"{name}.so"  # no module, most likely
    return None if library else name


def modules_of(distribution: metadata.Distribution, path: list[str]) -> list[str]:
    """Return what is imported of a distribution: its outermost packages and modules beside them.

    That is below a namespace (``google.cloud.storage``), which can be imported in any case. Where
    it does not say which files it has, the names of its top_level.txt count that ``path`` leads to.
    """
    files = module_files(distribution)
    packages = {one for one in files if any(map(is_init, files[one]))}
    outer = [one for one in files if not any(one[:end] in packages for end in range(1, len(one)))]
    for usable in (is_public, is_private):
        here = [one for one in outer if all(map(usable, one))]
        chosen = [one for one in here if one in packages or len(one) == 1] or here
        if chosen:
            break
    else:
        text = distribution.read_text("top_level.txt") or ""
        chosen = [(name,) for name in text.split() if is_public(name) and find(name, path)]
    chosen.sort(key=lambda one: (len(one), one))
    return [".".join(one) for one in chosen[:MOST_MODULES]]


def dependants(
    image: dict[str, metadata.Distribution], moved: set[str], path: list[str]
) -> list[str]:
    """Return modules of the image's distributions that may not get along with those that moved.

    That is of each that requires one of them, and of those that are in the image still.
    """
    modules: list[str] = []
    for name in sorted(image) if moved else []:
        required = declared(image[name])["requires"]
        needs = [
            re.split(r"[^\w.-]", one.strip())
            for one in required
            if "extra" not in one.partition(";")[2]
        ]
        if moved & {name, *(normal_name(words[0]) for words in needs)}:
            modules += modules_of(image[name], path)
    return modules


def is_init(file: metadata.PackagePath) -> bool:
    return module_name(file.name) == "__init__"


def is_public(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_") and name not in BESIDE


def is_private(name: str) -> bool:
    return not name.startswith("__") and name not in BESIDE


def find(module: str, path: list[str]) -> ModuleSpec | None:
    """Return what an import would find on a path, or by other means of this interpreter's."""
    finders: list[Callable[[], ModuleSpec | None]] = [lambda: PathFinder.find_spec(module, path)]
    if "." not in module:
        finders.append(lambda: importlib.util.find_spec(module))
    for one in finders:
        try:
            found = one()
        except Exception:  # noqa: S112 - an editable installation's finder may do anything
            continue
        if found:
            return found
    return None
