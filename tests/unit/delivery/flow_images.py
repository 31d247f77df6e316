"""Kinds of images, each as an interpreter of its own with the variables that the image sets."""

import shutil
import sys
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import tools

LIBRARY = f"python{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True, kw_only=True)
class FlowImage:
    """Where its programs are, where its packages are, and what it sets."""

    programs: Path
    site_packages: Path
    environment: dict[str, str] = field(default_factory=dict)


def virtual(root: Path, *, pip: Path | None = None, system: bool = False) -> FlowImage:
    """A virtual environment with uv or, where ``pip`` leads to the packages of another one, with
    its pip; ``system``: which sees the packages of its interpreter, too."""
    venv.create(root / "venv", symlinks=True, system_site_packages=system)
    image = _image(root / "venv", uv=pip is None)
    for package in pip.glob("pip*") if pip else ():
        shutil.copytree(package, image.site_packages / package.name)
    return image


def whole(root: Path) -> FlowImage:
    """An interpreter with its library, as conda makes one: it is no virtual environment."""
    library = Path(sys.base_prefix, "lib", LIBRARY)
    own = root / "conda" / "lib" / LIBRARY
    (own / "site-packages").mkdir(parents=True)
    for entry in library.iterdir():
        if entry.name not in {"site-packages", "__pycache__"}:
            (own / entry.name).symlink_to(entry)
    programs = root / "conda" / "bin"
    programs.mkdir()
    shutil.copy(Path(sys.base_prefix, "bin", LIBRARY).resolve(), programs / "python3")
    return _image(root / "conda")


def _image(prefix: Path, *, uv: bool = True) -> FlowImage:
    if uv:
        (prefix / "bin/uv").symlink_to(tools.uv())
    packages = prefix / "lib" / LIBRARY / "site-packages"
    return FlowImage(programs=prefix / "bin", site_packages=packages)


def _sets(make: Callable[[Path], FlowImage], **variables: str) -> Callable[[Path], FlowImage]:
    def made(root: Path) -> FlowImage:
        image = make(root)
        for name, value in variables.items():
            image.environment[name] = value.replace("ROOT", str(root))
        return image

    return made


def _user_site(root: Path) -> FlowImage:
    image = _sets(whole, HOME="ROOT/user")(root)
    (root / "user/.local/lib" / LIBRARY / "site-packages").mkdir(parents=True)
    return image


def _customized(root: Path) -> FlowImage:
    """Two modules that Python runs as it starts, and a directory that a .pth file adds."""
    image = whole(root)
    (root / "source").mkdir()
    (image.site_packages / "editable.pth").write_text(f"{root}/source\n")
    for name in ("sitecustomize", "usercustomize"):
        code = f"import os, sys\nos.environ['{name}'] = __file__\nsys.path.append('/{name}')\n"
        (image.site_packages / f"{name}.py").write_text(code)
    return image


def _customized_on_the_path(root: Path) -> FlowImage:
    image = _sets(virtual, PYTHONPATH="ROOT/app")(root)
    (root / "app").mkdir()
    (root / "app/sitecustomize.py").write_text("import os\nos.environ['own'] = __file__\n")
    return image


def _broken_customized(root: Path) -> FlowImage:
    image = virtual(root)
    (image.site_packages / "sitecustomize.py").write_text("import sys\nsys.path.append('/was')\n")
    return image


KINDS: Mapping[str, Callable[[Path], FlowImage]] = {
    "venv": virtual,
    "whole": whole,
    "venv over the system": lambda root: virtual(root, system=True),
    "safe path": _sets(virtual, PYTHONSAFEPATH="1"),
    "path": _sets(virtual, PYTHONPATH="ROOT/app"),
    "empty entry first": _sets(whole, PYTHONPATH=":ROOT/app"),
    "empty entry last": _sets(virtual, PYTHONPATH="ROOT/app:"),
    "set to nothing": _sets(whole, PYTHONPATH=""),
    "relative entries": _sets(virtual, PYTHONPATH="src:./lib/../lib:."),
    "many entries": _sets(whole, PYTHONPATH="/1:/2:/3:/4:/5:/6"),
    "entries twice": _sets(virtual, PYTHONPATH="/1:src:/1:src"),
    "other letters": _sets(virtual, PYTHONPATH="ROOT/ä ö:/'\"\\n\udcff"),
    "its own packages on the path": _sets(
        whole, PYTHONPATH=f"/1:ROOT/conda/lib/{LIBRARY}/site-packages"
    ),
    "Python's own library on the path": _sets(whole, PYTHONPATH=f"ROOT/conda/lib/{LIBRARY}"),
    "user site": _user_site,
    "no user site": _sets(_user_site, PYTHONNOUSERSITE="1"),
    "customized": _customized,
    "customized on the path": _customized_on_the_path,
    "customized in the environment": _broken_customized,
    "flags": _sets(virtual, PYTHONUNBUFFERED="1", PYTHONDONTWRITEBYTECODE="1", PYTHONOPTIMIZE="1"),
    "no home": _sets(whole, HOME="/nonexistent"),
}
