"""Find modules that a lock puts before the image's, behind it, or twice into itself.

Distributions of two names may bring one module: builds of one library, or parts of a package that
has an ``__init__``, of which Python reads one directory alone. Metadata does not tell, files do.
Namespaces are no clash, nor is a file that both have with equal content, nor what the lock has
another version of by the distribution's name. Nothing is imported.
"""

from __future__ import annotations

import filecmp
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from flowdeps.delivery.in_image.modules import (
    BESIDE,
    Module,
    find,
    listed_files,
    module_files,
    module_name,
)

Installed = dict[str, metadata.Distribution]
Brought = dict[Module, dict[str, list[metadata.PackagePath]]]  # files by module and distribution
# How a package says that it may have further parts elsewhere.
SHARES = (b"extend_path", b"declare_namespace")


@dataclass(frozen=True)
class Clash:
    """A module that a run would not find as it was installed."""

    kind: str
    """``hides``: the lock's distribution that of the image; ``hidden``: the other way round;
    ``twice``: both are the lock's."""
    module: str
    ours: str
    """The lock's distribution, such as ``six 1.17.0``."""
    theirs: str
    """The other one; or a path, where no distribution says that the file is its own."""
    leave: tuple[str, ...]
    """The names that allow it: not that of another version, which is leave for that alone."""

    def is_meant(self, shadow: set[str]) -> bool:
        """Tell whether somebody allowed it."""
        return bool(shadow & {"*", *self.leave})


def clashes(lock: Installed, image: Installed, *, site: str, behind: list[str]) -> list[Clash]:
    """Return one clash for each two distributions of lock and image that have any, and for each
    package of the image that no distribution lists.

    ``site`` is where the lock is, ``behind`` the rest of the search path.
    """
    brought: Brought = {}
    for name, one in sorted(lock.items()):
        for module, files in module_files(one).items():
            if not BESIDE.intersection(module):
                brought.setdefault(module, {})[name] = files
    found = [*written_twice(lock, brought)]
    meetings = [*meeting(brought, behind)]
    owners = owners_of(image, {module[0] for module, _ in meetings}) if meetings else {}
    # What nobody lists is taken for the old copy of what is replaced, if that may be.
    unlisted = any(name in lock and not listed_files(one) for name, one in image.items())
    for module, spec in meetings:
        if module not in brought:
            theirs = owner(image, owners, Path(spec.origin or ""))
            for added, name in added_files(spec, module, brought):
                found.append(Clash("hidden", added, title(lock, name), theirs, (name,)))
            continue
        name = min(brought[module])
        for file, lost in hidden_files(spec, module, Path(site)):
            theirs = owner(image, owners, file)
            other = "" if os.sep in theirs else theirs.split()[0]
            if other not in lock and (other or not unlisted):
                leave = (other,) if other and name in image else tuple(filter(None, (name, other)))
                found.append(Clash("hides", lost, title(lock, name), theirs, leave))
    first: dict[tuple[str, str, str], Clash] = {}
    for clash in sorted(found, key=lambda clash: (clash.module.count("."), clash.module)):
        other = clash.module.split(".")[0] if os.sep in clash.theirs else clash.theirs
        first.setdefault((clash.kind, clash.ours, other), clash)
    return [*first.values()]


def overtaken(modules: list[str], *, site: str, before: list[str]) -> list[str]:
    """Describe each module of the lock that a run imports from what comes ``before`` the lock."""
    notes = []
    for top in dict.fromkeys(one.partition(".")[0] for one in modules):
        first = PathFinder.find_spec(top, before)
        if first and not is_namespace(first) and PathFinder.find_spec(top, [site]):
            notes.append(f"{top} is not imported from the lock: {first.origin} comes before it")
    return notes


def written_twice(lock: Installed, brought: Brought) -> Iterator[Clash]:
    """Yield the modules that two distributions of the lock bring, where these differ."""
    for module, files in brought.items():
        contents = [{(str(one), one.hash and one.hash.value) for one in files[n]} for n in files]
        if any(one != contents[0] for one in contents) and not is_shared(files):
            first, second, *_ = sorted(files)
            titles = title(lock, first), title(lock, second)
            yield Clash("twice", ".".join(module), *titles, (first, second))


def meeting(
    brought: Brought, places: list[str], above: Module = ()
) -> Iterator[tuple[Module, ModuleSpec]]:
    """Yield the outermost modules that image and lock both have, unless both are namespaces."""
    depth = len(above)
    names = {one[depth] for one in brought if len(one) > depth and one[:depth] == above}
    if not above:  # which come from Python itself
        names -= getattr(sys, "stdlib_module_names", frozenset())
    for name in sorted(names):
        module = (*above, name)
        spec = find(".".join(module), places)
        if spec is None:
            continue
        inside = spec.submodule_search_locations
        if inside is not None and is_namespace(spec) and is_shared(brought.get(module, {})):
            yield from meeting(brought, [*inside], module)
        else:
            yield module, spec


def is_namespace(spec: ModuleSpec) -> bool:
    return not spec.origin or spec.origin == "namespace" or shares([Path(spec.origin)])


def is_shared(files: dict[str, list[metadata.PackagePath]]) -> bool:
    """Tell whether a module of the lock is a namespace: it has no file, or one that says so."""
    return not files or shares(place_of(one) for each in files.values() for one in each)


def shares(files: Iterable[Path]) -> bool:
    """Tell whether a package's file extends its path, as namespaces did before Python 3.3."""
    for file in files:
        try:
            text = file.read_bytes()
        except OSError:
            continue
        if any(sign in text for sign in SHARES):
            return True
    return False


def hidden_files(spec: ModuleSpec, module: Module, site: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of a module in the image that the lock hides and has not itself, and the
    names of their modules."""
    inside = spec.submodule_search_locations
    files = [(Path(spec.origin or ""), module[:-1])] if inside is None else []
    for place in map(Path, inside or []):
        found = sorted(place.rglob("*"))
        files += [(one, (*module, *one.relative_to(place).parts[:-1])) for one in found]
    for file, above in files:
        name = module_name(file.name)
        if name is None:
            continue
        lost = above if name == "__init__" else (*above, name)
        if all(map(is_plain, lost)) and not is_equal(file, site.joinpath(*above, file.name)):
            yield file, ".".join(lost)


def is_plain(name: str) -> bool:
    return name.isidentifier() and name not in BESIDE and name != "__pycache__"


def added_files(spec: ModuleSpec, module: Module, brought: Brought) -> Iterator[tuple[str, str]]:
    """Yield what the lock adds to a package of the image, which is where Python does not look.

    As the module, and the distribution's name.
    """
    place, depth = Path(spec.origin or "").parent, len(module)
    for one in sorted(brought):
        for name, files in brought[one].items() if one[:depth] == module else []:
            if not all(is_equal(place_of(f), place.joinpath(*f.parts[depth:])) for f in files):
                yield ".".join(one), name


def is_equal(one: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def place_of(file: metadata.PackagePath) -> Path:
    return Path(str(file.locate()))


def owners_of(installed: Installed, tops: set[str]) -> dict[str, str]:
    """Return the distribution that each file of these modules belongs to, by its real path."""
    found = {}
    for name, one in installed.items():
        for file in listed_files(one):
            if file.parts[0].partition(".")[0] in tops and module_name(file.name):
                found[os.path.realpath(place_of(file))] = name
    return found


def owner(installed: Installed, owners: dict[str, str], file: Path) -> str:
    """Return the distribution that a file belongs to; if none does, the file."""
    name = owners.get(os.path.realpath(file))
    return title(installed, name) if name else str(file)


def title(installed: Installed, name: str) -> str:
    return f"{name} {installed[name].version}"
