"""Report what the flow's interpreter finds installed, in lines that the operator reads.

A line is ``flowdeps-probe:`` and JSON: the interpreter first, then each distribution as its
metadata has it, then how many there were. Nothing of the image is imported.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import site
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PROBE_MARK = "flowdeps-probe:"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
VERSION = re.compile(
    r"v?(?P<epoch>\d+!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<pre>a|b|c|rc|alpha|beta|pre|preview)[-_.]?(?P<pre_n>\d*))?"
    r"(?P<post>-(?P<post_n1>\d+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_n2>\d*))?"
    r"(?P<dev>[-_.]?dev[-_.]?(?P<dev_n>\d*))?"
    r"(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?"
)
PRE = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}


def search_path() -> list[str]:
    """Return where the flow's interpreter looks for packages.

    This one is isolated: it lacks PYTHONPATH and what was installed for the user alone.
    """
    named = python_path()
    path = [*named, *sys.path]
    alone = sys.prefix == sys.base_prefix and not os.environ.get("PYTHONNOUSERSITE")
    users = site.getusersitepackages()
    if alone and os.path.isdir(users):  # noqa: PTH112 - Path raises where a parent is closed
        path.insert(len(named), users)
    return list(dict.fromkeys(path))


def python_path() -> list[str]:
    """Return the entries of PYTHONPATH, absolute; an empty one is the working directory."""
    given = os.environ.get("PYTHONPATH")
    return [str(Path(entry).absolute()) for entry in given.split(os.pathsep)] if given else []


class Readable(metadata.PathDistribution):
    """A distribution whose files may have bytes that are no UTF-8."""

    def read_text(self, filename: Any) -> str | None:
        try:
            return super().read_text(filename)
        except UnicodeDecodeError:
            path: Any = self._path.joinpath(filename)
            return str(path.read_bytes(), "utf-8", "replace")


def distributions(path: list[str]) -> dict[str, metadata.Distribution]:
    """Return the distributions on the path by normalized name; of two, the one to be imported."""
    found: dict[str, metadata.Distribution] = {}
    for each in metadata.distributions(path=path):
        one = Readable(each._path) if isinstance(each, metadata.PathDistribution) else each
        try:
            about: Any = one.metadata
        except Exception:  # noqa: S112 - unreadable: no installer could use it either
            continue
        name, version = about.get("Name"), about.get("Version")
        leftover = file_of(one).name.startswith("~")  # of pip
        if name and version and not leftover:
            found.setdefault(normal_name(name), one)
    return found


def declared(one: metadata.Distribution) -> dict[str, list[str]]:
    """Return what a distribution requires, and its extras; nothing where that can't be read."""
    about: Any = one.metadata
    try:
        requires = list(one.requires or [])
    except Exception as error:
        name = about.get("Name")
        say(f"warning: what {name} requires cannot be read: {type(error).__name__}: {error}")
        requires = []
    return {"requires": requires, "extras": list(about.get_all("Provides-Extra") or [])}


def file_of(one: metadata.Distribution) -> Path:
    """Return where a distribution's metadata is."""
    return Path(str(getattr(one, "_path", "")))


def normal_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def normal_version(text: str) -> str:
    """Return the version as a lock spells it; the text itself where it is none."""
    found = VERSION.fullmatch(text.strip().lower())
    if not found:
        return text
    normal = "" if found["epoch"] in {None, "0!"} else f"{int(found['epoch'][:-1])}!"
    normal += ".".join(str(int(part)) for part in found["release"].split("."))
    if found["pre"]:
        normal += PRE.get(found["pre"], found["pre"]) + str(int(found["pre_n"] or 0))
    if found["post"]:
        normal += f".post{int(found['post_n1'] or found['post_n2'] or 0)}"
    if found["dev"]:
        normal += f".dev{int(found['dev_n'] or 0)}"
    if found["local"]:
        parts = re.split(r"[-_.]", found["local"])
        normal += "+" + ".".join(str(int(part)) if part.isdigit() else part for part in parts)
    return normal


def machine() -> str:
    """Return the platform as Kubernetes spells it, e.g. ``linux/amd64``."""
    name = platform.machine().lower()
    return f"{sys.platform}/{MACHINES.get(name, name)}"


def libc() -> str:
    """Return ``glibc``, ``musl``, or nothing where it is unknown."""
    return platform.libc_ver()[0] or ("musl" if any(Path("/lib").glob("ld-musl-*")) else "")


def interpreter() -> dict[str, Any]:
    """Return what a resolver needs to know of this interpreter."""
    tools = {
        "uv": shutil.which("uv") or importlib.util.find_spec("uv"),
        "pip": importlib.util.find_spec("pip"),
    }
    found = sys.implementation.version
    version = f"{found.major}.{found.minor}.{found.micro}"
    if found.releaselevel != "final":
        version += f"{found.releaselevel[0]}{found.serial}"
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "platform": machine(),
        "libc": libc(),
        "libcVersion": platform.libc_ver()[1],
        "tools": [name for name, there in tools.items() if there],
        "pythonPath": python_path(),
        "markers": {
            "implementation_name": sys.implementation.name,
            "implementation_version": version,
            "os_name": os.name,
            "platform_machine": platform.machine(),
            "platform_python_implementation": platform.python_implementation(),
            "platform_release": "",  # the node's, not the image's, as is its version
            "platform_system": platform.system(),
            "platform_version": "",
            "python_full_version": platform.python_version(),
            "python_version": ".".join(platform.python_version_tuple()[:2]),
            "sys_platform": sys.platform,
        },
    }


def describe(path: list[str]) -> None:
    """Print what is installed on a search path."""
    records = [interpreter()]
    found = distributions(path)
    for name in sorted(found):
        about: Any = found[name].metadata
        records.append({"name": name, "version": about.get("Version"), **declared(found[name])})
    records.append({"distributions": len(found)})
    print("\n".join(f"{PROBE_MARK} {json.dumps(one)}" for one in records), flush=True)


def say(text: str) -> None:
    print("flowdeps: " + " ".join(text.split()), flush=True)
