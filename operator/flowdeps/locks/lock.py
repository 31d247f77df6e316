"""Locks: all pins for a target, as a value and as the text of a requirements.txt file.

The text is the same bytes for the same lock, and any installer reads it::

    # A flowdeps lock. Change the requirements, not this file.
    # python: 3.11
    # platforms: linux/amd64, linux/arm64
    # image: six==1.17.0
    numpy==2.3.3 \\
        --hash=sha256:… \\
        --hash=sha256:…
    uvloop==0.21.0 ; platform_machine == "x86_64" \\
        --hash=sha256:…

A lock that was made for an image names the packages of the image that it builds on: an installer
passes over the line, and a run in another image can tell that the lock isn't for it.

Invariants: pins are sorted; each has at least one hash; a name has at most one pin a platform. The
digest depends on pins, hashes, target and image packages only, not on the text's format, so it
names a lock across versions of flowdeps.
"""

import hashlib
import json
import re
from dataclasses import dataclass

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from flowdeps.locks.target import PLATFORMS, Target, TargetError

_TITLE = "# A flowdeps lock. Change the requirements, not this file."
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_PIN = re.compile(r"(?P<name>[^\s=;]+)==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>.+))?")
_FIELD = re.compile(r"#\s*(?P<key>python|platforms|image):\s*(?P<value>.+)")
_MACHINE = re.compile(r"platform_machine == \"(?P<machine>\w+)\"")
_BY_MACHINE = {one.machine: name for name, one in PLATFORMS.items()}


class LockError(ValueError):
    """A lock that contradicts itself, or a text that isn't one (the message names the line)."""


@dataclass(frozen=True, order=True)
class Pin:
    """One version of a package on platforms, with the hashes of its wheels that fit them.

    Hashes are ``sha256:<64 hex digits>``; hashes and platforms are sorted and unique.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    platforms: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "hashes", tuple(sorted(set(self.hashes))))
        object.__setattr__(self, "platforms", tuple(sorted(set(self.platforms))))
        _check(self.name, self.version)
        if not self.hashes:
            raise LockError(f"{self.name}=={self.version} has no hash")
        for one in self.hashes:
            if not _HASH.fullmatch(one):
                raise LockError(f"{self.name}=={self.version}: {one!r} is not a sha256 hash")


@dataclass(frozen=True)
class Lock:
    """Pins for a target. ``base``: name and version of the image packages that they, or the
    requirements, build on. Raises `LockError` where they contradict each other or the target.
    """

    target: Target
    pins: tuple[Pin, ...] = ()
    base: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "pins", tuple(sorted(self.pins)))
        object.__setattr__(self, "base", tuple(sorted(set(self.base))))
        for name, version in self.base:
            _check(name, version)
        if len(dict(self.base)) < len(self.base):
            raise LockError("an image package is named with two versions")
        taken: set[tuple[str, str]] = set()
        for pin in self.pins:
            _place(pin, self.target, taken)

    @property
    def digest(self) -> str:
        """``sha256:<64 hex digits>`` over pins, hashes, target and image packages."""
        content: dict[str, object] = {
            "python": self.target.python,
            "platforms": self.target.platforms,
            "pins": [[pin.name, pin.version, pin.hashes, pin.platforms] for pin in self.pins],
        }
        if self.base:  # a lock without keeps the digest that it had before there were any
            content["image"] = self.base
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    @property
    def short(self) -> str:
        """The digest's first ten hex digits: the revision's name."""
        return self.digest.removeprefix("sha256:")[:10]

    def on(self, platform: str) -> dict[str, Pin]:
        """The pins that hold on a platform, by name."""
        return {pin.name: pin for pin in self.pins if platform in pin.platforms}

    def render(self) -> str:
        """The text of the lock: a requirements.txt file, always the same bytes."""
        platforms = ", ".join(self.target.platforms)
        lines = [_TITLE, f"# python: {self.target.python}", f"# platforms: {platforms}"]
        lines += [f"# image: {name}=={version}" for name, version in self.base]
        for pin in self.pins:
            marker = "" if pin.platforms == self.target.platforms else f" ; {_marker(pin)}"
            lines.append(
                " \\\n    ".join(
                    (f"{pin.name}=={pin.version}{marker}", *(f"--hash={h}" for h in pin.hashes))
                )
            )
        return "".join(f"{line}\n" for line in lines)


def parse_lock(text: str) -> Lock:
    """The lock that `Lock.render` wrote; comments, blank lines in between and a byte order mark are
    ignored.

    Raises `LockError` naming the line.
    """
    header: dict[str, str] = {}
    base: list[tuple[str, str]] = []
    pending: list[tuple[int, str]] = []
    joined = ""
    start = 0
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        start = start if joined else number
        joined += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        field = _FIELD.fullmatch(joined.strip())
        if field and field["key"] == "image":
            base.append(_image_package(field["value"], number=start))
        elif field:
            header.setdefault(field["key"], field["value"])
        elif joined.strip() and not joined.lstrip().startswith("#"):
            pending.append((start, joined.strip()))
        joined = ""
    if joined:
        raise LockError(f"line {start}: the text ends in the middle of a pin")
    target = _target(header)
    pins: list[Pin] = []
    taken: set[tuple[str, str]] = set()
    for number, line in pending:
        try:
            pins.append(_pin(line, target))
            _place(pins[-1], target, taken)
        except LockError as error:
            raise LockError(f"line {number}: {error}") from None
    return Lock(target, tuple(pins), tuple(base))


def _check(name: str, version: str) -> None:
    if name != canonicalize_name(name, validate=False):
        raise LockError(f"{name!r} is not a normalized package name")
    try:
        normal = str(Version(version)) == version
    except InvalidVersion:
        normal = False
    if not normal:
        raise LockError(f"{name}: {version!r} is not a normalized version")


def _image_package(text: str, *, number: int) -> tuple[str, str]:
    match = _PIN.fullmatch(text.strip())
    if not match or match["marker"]:
        raise LockError(f"line {number}: {text[:80]!r} is not an image package like name==version")
    try:
        _check(match["name"], match["version"])
    except LockError as error:
        raise LockError(f"line {number}: {error}") from None
    return match["name"], match["version"]


def _target(header: dict[str, str]) -> Target:
    for key in ("python", "platforms"):
        if key not in header:
            raise LockError(f"line 1: not a flowdeps lock: it has no line '# {key}: …'")
    try:
        return Target(header["python"], tuple(header["platforms"].replace(",", " ").split()))
    except TargetError as error:
        raise LockError(f"the lock's header: {error}") from None


def _pin(line: str, target: Target) -> Pin:
    head, *hashes = re.split(r"\s+--hash=", line)
    match = _PIN.fullmatch(head.strip())
    if not match:
        raise LockError(f"{head.strip()[:80]!r} is not a pin like name==version")
    return Pin(
        name=match["name"],
        version=match["version"],
        hashes=tuple(hashes),
        platforms=_platforms(match["marker"], target),
    )


def _place(pin: Pin, target: Target, taken: set[tuple[str, str]]) -> None:
    """Add a pin's names and platforms to those ``taken``, if they are the target's and free."""
    if not pin.platforms or not set(pin.platforms) <= set(target.platforms):
        raise LockError(f"{pin.name}: its platforms are not those of the lock")
    places = {(pin.name, platform) for platform in pin.platforms}
    if taken & places:
        raise LockError(f"{pin.name} is pinned twice for one platform")
    taken |= places


def _marker(pin: Pin) -> str:
    machines = (PLATFORMS[platform].machine for platform in pin.platforms)
    return " or ".join(f'platform_machine == "{machine}"' for machine in machines)


def _platforms(marker: str | None, target: Target) -> tuple[str, ...]:
    if marker is None:
        return target.platforms
    machines = [_MACHINE.fullmatch(part.strip()) for part in marker.split(" or ")]
    names = [_BY_MACHINE.get(match["machine"]) for match in machines if match]
    if len(names) != len(machines) or None in names:
        raise LockError(f"the marker {marker!r} is not one that a lock has")
    return tuple(name for name in names if name)
