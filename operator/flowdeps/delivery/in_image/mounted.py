"""Read a lock as its ConfigMap had it at one moment, whole or not at all.

Kubelet writes what a ConfigMap has into a directory of its own, moves the link ``..data`` to that,
and deletes the one before. The names in the volume lead through the link, so two that are opened
one after the other may be of two locks. All are read from the directory that the link leads to; if
that is gone halfway, the next one is read from the beginning.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from flowdeps.delivery.in_image.installer import InstallError
from flowdeps.delivery.in_image.inventory import MACHINES

SOURCE = Path(os.environ.get("FLOWDEPS_SOURCE", "/etc/flowdeps"))
FILES = ("lock.json", "requirements.txt", "digest")
VERSIONS = 10  # that may take each other's place while one is read


def read_lock(key: str) -> tuple[dict[str, Any], str]:
    """Return the lock that is mounted for the chosen key: lock.json, and the text of the pins.

    Where FLOWDEPS_LOCK has the digest of a lock, it has to be that one: a pod that tries a lock may
    try no other. Raises InstallError.
    """
    files = read_files()
    if "lock.json" not in files:
        raise missing(key)
    try:
        lock: dict[str, Any] = json.loads(files["lock.json"])
        text = files["requirements.txt"].decode()
        digests = {lock["digest"], digest_of(text), files.get("digest", b"").decode()}
    except (AttributeError, KeyError, TypeError, ValueError):
        digests = set()
    if len(digests - {""}) != 1:  # an early operator wrote no file of that name
        raise InstallError(
            f'the lock of "{key}" is damaged: its text is not the one that it was made with. '
            "flowdeps writes it anew within minutes: start the run again; if that does not help, "
            "see who else writes the ConfigMap"
        )
    if os.environ.get("FLOWDEPS_LOCK") not in {None, "", lock["digest"]}:
        raise InstallError(
            f'the lock of "{key}" is another one than this pod is to try: see who else writes its '
            "ConfigMap"
        )
    return lock, text


def read_files() -> dict[str, bytes]:
    """Return the files of the volume that are there, all of one version."""
    link = SOURCE / "..data"
    for _ in range(VERSIONS):
        place = Path(os.path.realpath(link)) if link.is_symlink() else SOURCE
        found = {}
        for name in FILES:
            with suppress(FileNotFoundError):
                found[name] = (place / name).read_bytes()
        if place in {SOURCE, Path(os.path.realpath(link))}:  # kubelet moves the link, then deletes
            return found
    raise InstallError("the lock changes all the time: start the run again")


def missing(key: str) -> InstallError:
    """Return the error for a key without a lock."""
    namespace = os.environ.get("FLOWDEPS_NAMESPACE", "")
    variable = os.environ.get("FLOWDEPS_VARIABLE", "dependency_set")
    if not key:
        return InstallError(
            f'the job variable "{variable}" is empty: write the key of a set, or none; if a '
            "Prefect variable gives it, that one is missing or empty"
        )
    return InstallError(
        f'dependency set "{key}" does not exist for namespace "{namespace}" or has no lock '
        f'yet: choose another with the job variable "{variable}", or see kubectl get fds -A'
    )


def digest_of(text: str) -> str:
    """Return the digest of a lock by its text, as ``locks/lock.py`` has it."""
    python = ""
    platforms: list[str] = []
    image: list[list[str]] = []
    pins: list[list[object]] = []
    for line in logical_lines(text):
        field = re.fullmatch(r"# (python|platforms|image): (.+)", line)
        if field and field[1] == "python":
            python = field[2]
        elif field and field[1] == "platforms":
            platforms = field[2].split(", ")
        elif field:
            image.append(field[2].split("=="))
        elif line and not line.startswith("#"):
            head, *hashes = re.split(r"\s+--hash=", line)
            pinned, _, marker = head.partition(" ; ")
            machines = re.findall(r'platform_machine == "(\w+)"', marker)
            where = [f"linux/{MACHINES.get(one, one)}" for one in machines] or platforms
            pins.append([*pinned.split("=="), hashes, where])
    content = {"python": python, "platforms": platforms, "pins": pins}
    if image:
        content["image"] = image
    shown = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(shown.encode()).hexdigest()}"


def logical_lines(text: str) -> list[str]:
    """Return the lines, each with those that it continues on; a comment does not."""
    lines, joined = [], ""
    for line in text.splitlines():
        joined += line.rstrip("\\")
        if line.startswith("#") or not line.endswith("\\"):
            lines.append(joined.strip())
            joined = ""
    return [*lines, joined.strip()]
