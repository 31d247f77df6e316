"""Install packages for one run beside its lock, named by a job variable and pinned by nobody.

The value is text: requirements separated by spaces or lines, or a list (JSON, or as Python prints
it, which is how a Prefect variable that is a list arrives). What image and lock have stays as it
is: each of their packages is a constraint and, as a stub, something to choose, also where no index
has it. Of what the installer then chooses, the rest is installed.
"""

from __future__ import annotations

import ast
import json
import re
from importlib import metadata
from pathlib import Path

from flowdeps.delivery.in_image.installer import (
    CAUSES,
    TEMPORARY,
    WHEELS_ONLY,
    Installer,
    InstallError,
    without_credentials,
)
from flowdeps.delivery.in_image.inventory import VERSION, declared, normal_name, normal_version
from flowdeps.delivery.in_image.stub import NAMED, stub_filename, stub_wheel

COMPARISON = r"(?:[<>!=~]=|[<>]|===)\s*[\w.*+!-]+"
REQUIREMENT = re.compile(
    r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?"
    r"(?:\s*\[[\w\s.,-]*\])?"
    rf"(?:\s*\(?\s*{COMPARISON}(?:\s*,\s*{COMPARISON})*\s*\)?)?"
    r"(?:\s*;[\w\s.,()<>=!~'\"+*-]+)?",
    re.ASCII,
)
FILE = re.compile(r"\.(whl|zip|tar\.gz|tgz|txt|toml)$", re.IGNORECASE)
MORE = re.compile(r"\s-|[\n\r\f\v]")  # a flag, or what a requirements file takes for another line
BESIDE_BOTH = "cannot be had beside image and lock: {subject}"
NOWHERE = "{index} has no wheel of {subject} for this image"
RESOLUTION = (
    (r"Because (?P<subject>\S+) was not found in", NOWHERE),
    (r"Because (?P<subject>.+?), we can conclude that", BESIDE_BOTH),
    (r"The conflict is caused by: (?P<subject>.+?) (To fix|Additionally)", BESIDE_BOTH),
    (r"No matching distribution found for (?P<subject>\S+)", NOWHERE),
)


def requirements(value: str) -> list[str]:
    """Return the requirements that the variable's value names. Raises InstallError."""
    text = value.strip()
    if text in {"", "None"}:  # a Prefect variable that is null arrives as None
        return []
    if text.startswith("["):
        found = read_list(text)
    else:
        lines = (re.sub(r"(^|\s)#.*", "", line) for line in text.splitlines())
        found = [one for line in lines for one in split(line)]
    for one in found:
        if not REQUIREMENT.fullmatch(one) or FILE.search(one) or MORE.search(one):
            shown = without_credentials(" ".join(one.split()))[:100]
            raise InstallError(
                f'"{shown}" is not a package with versions such as httpx>=0.27: separate packages '
                "by spaces, without commas or quotes; URLs, paths and flags are not allowed"
            )
    return found


def read_list(text: str) -> list[str]:
    """Return the texts in a list of JSON or Python. Raises InstallError."""
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list) and all(isinstance(one, str) for one in found):
            return [one.strip() for one in found if one.strip()]
    raise InstallError("begins like a list but is no list of texts")


def split(line: str) -> list[str]:
    """Return the requirements in a line: separated by spaces, unless a marker takes all of it."""
    if ";" in line:
        return [line.strip()]
    line = re.sub(r"\s*([<>=!~,]+)\s*", r"\1", line)
    return re.sub(r"\s+(?=[\[(])", "", line).split()


def install_extras(
    wanted: list[str],
    *,
    known: dict[str, metadata.Distribution],
    installer: Installer,
    target: Path,
) -> list[str]:
    """Install what is wanted and not known into the target; return it as ``name version``.

    ``known``: the packages of image and lock by name. Raises InstallError.
    """
    scratch = TEMPORARY / "extras"
    wheels, added = scratch / "known", scratch / "site"
    wheels.mkdir(parents=True)
    versions = {name: normal_version(one.version) for name, one in known.items()}
    # What an installer could not read holds up nothing.
    versions = {
        name: version
        for name, version in versions.items()
        if VERSION.fullmatch(version) and re.fullmatch(NAMED, name, re.IGNORECASE | re.ASCII)
    }
    for name, version in versions.items():
        wheel = stub_wheel(name, version, **declared(known[name]), present=versions)
        (wheels / stub_filename(name, version)).write_bytes(wheel)
    asked, constraints = scratch / "asked.txt", scratch / "constraints.txt"
    asked.write_text("".join(f"{one}\n" for one in wanted))
    constraints.write_text("".join(f"{name}=={versions[name]}\n" for name in versions))
    given = ["-c", str(constraints), "--find-links", str(wheels), *WHEELS_ONLY]
    chosen = choose(installer, asked, given, scratch)
    missing = {name: version for name, version in sorted(chosen.items()) if name not in known}
    if missing:
        pins = scratch / "missing.txt"
        pins.write_text("".join(f"{name}=={version}\n" for name, version in missing.items()))
        installer.install(pins, added)
        move_into(target, added)
    return [f"{name} {version}" for name, version in missing.items()]


def choose(installer: Installer, asked: Path, given: list[str], scratch: Path) -> dict[str, str]:
    """Return what the installer would install: versions by name."""
    causes = (*CAUSES[:-1], *RESOLUTION, CAUSES[-1])
    if installer.name == "uv":
        pins = scratch / "chosen.txt"
        command = installer.uv_command("compile")
        command += ["--no-header", "--no-annotate", "-o", str(pins), *given, str(asked)]
        installer.run(command, causes)
        found = re.findall(r"^([\w.-]+)==(\S+)", pins.read_text(), re.MULTILINE)
        return {normal_name(name): version for name, version in found}
    report = scratch / "report.json"
    command = [*installer.pip_command(), "--dry-run", "--ignore-installed"]
    command += ["--report", str(report), *given, "-r", str(asked)]
    installer.run(command, causes)
    items = [item["metadata"] for item in json.loads(report.read_text("utf-8"))["install"]]
    return {normal_name(item["name"]): item["version"] for item in items}


def move_into(target: Path, source: Path) -> None:
    """Move what is in the source into the target; what is there already stays."""
    for entry in source.iterdir():
        place = target / entry.name
        if not place.exists():
            entry.rename(place)
        elif entry.is_dir() and place.is_dir():
            move_into(place, entry)
