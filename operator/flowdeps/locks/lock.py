"""Locks: all pins for a target, as a value and as the text of a requirements.txt file.

The text is the same bytes for the same lock, and any installer reads it. Comments hold the target
and the packages of an image that the lock builds on, so that a run in another image can tell.

Invariants: pins are sorted; names are normalized, as their type says, so that they can be compared;
each pin has at least one hash; a name has at most one pin a platform. The digest depends on pins,
hashes, target and image packages only, not on the text's format, nor on what is known of sizes.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from packaging.utils import InvalidName, NormalizedName, canonicalize_name, is_normalized_name
from packaging.version import Version

from flowdeps.locks.legible import printable
from flowdeps.locks.target import PLATFORMS, Target, TargetError

T = TypeVar("T")

_TITLE = "# A flowdeps lock. Change the requirements, not this file."
_NOTE = "# note: "
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_PIN = re.compile(r"(?P<name>[^\s=;]+)==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>.+))?")
HEADER = re.compile(r"#\s*(?P<key>python|platforms|image|size):\s*(?P<value>.+)")
_SIZE = re.compile(r"(?P<name>[a-z0-9]([a-z0-9-]*[a-z0-9])?) (?P<size>[0-9]{1,15})")
_MACHINE = re.compile(r"platform_machine == \"(?P<machine>\w+)\"")
_BY_MACHINE = {one.machine: name for name, one in PLATFORMS.items()}


MOST_BYTES = 10**15 - 1
"""No package is larger."""


class LockError(ValueError):
    """A lock that contradicts itself, or a text that isn't one (the message names the line)."""


@dataclass(frozen=True, order=True)
class Pin:
    """One version of a package on platforms, with the hashes of its wheels that fit them.

    Hashes are ``sha256:<64 hex digits>``; hashes and platforms are sorted and unique.
    """

    name: NormalizedName
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
                raise LockError(f"{self.name}=={self.version}: {one[:80]!r} is not a sha256 hash")


@dataclass(frozen=True)
class Lock:
    """Pins for a target. Raises `LockError` where they contradict each other or the target."""

    target: Target
    pins: tuple[Pin, ...] = ()
    base: tuple[tuple[NormalizedName, str], ...] = ()
    """Names and versions of the image's packages that pins or requirements build on."""
    sizes: tuple[tuple[NormalizedName, int], ...] = field(default=(), compare=False)
    """Bytes of the largest wheel of packages, by name, as far as their indexes say."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "pins", tuple(sorted(self.pins)))
        object.__setattr__(self, "base", tuple(sorted(set(self.base))))
        object.__setattr__(self, "sizes", tuple(sorted(dict(self.sizes).items())))
        for name, version in self.base:
            _check(name, version)
        if len(dict(self.base)) < len(self.base):
            raise LockError("an image package is named with two versions")
        taken: set[tuple[str, str]] = set()
        for pin in self.pins:
            _claim(pin, self.target, taken)

    @cached_property
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

    def on(self, platform: str) -> dict[NormalizedName, Pin]:
        """Return the pins for a platform, by name."""
        return {pin.name: pin for pin in self.pins if platform in pin.platforms}

    def render(self, notes: Iterable[str] = ()) -> str:
        """Return the text of the lock: a requirements.txt file, always the same bytes; ``notes``:
        what people should know of it, as comments."""
        platforms = ", ".join(self.target.platforms)
        lines = [_TITLE, f"# python: {self.target.python}", f"# platforms: {platforms}"]
        lines += [f"# image: {name}=={version}" for name, version in self.base]
        lines += [f"# size: {name} {size}" for name, size in self.sizes]
        lines += [f"{_NOTE}{printable(one)}".rstrip("\\") for one in notes]  # some join lines
        for pin in self.pins:
            machines = (PLATFORMS[one].machine for one in pin.platforms)
            marker = " or ".join(f'platform_machine == "{machine}"' for machine in machines)
            where = "" if pin.platforms == self.target.platforms else f" ; {marker}"
            parts = (f"{pin.name}=={pin.version}{where}", *(f"--hash={h}" for h in pin.hashes))
            lines.append(" \\\n    ".join(parts))
        return "".join(f"{line}\n" for line in lines)


def parse_lock(text: str) -> Lock:
    """Parse what `Lock.render` wrote; further comments, blank lines and a byte order mark don't
    matter. Raises `LockError` naming the line.
    """
    header: dict[str, str] = {}
    base: list[tuple[NormalizedName, str]] = []
    sizes: dict[NormalizedName, int] = {}
    pending: list[tuple[int, str]] = []
    for number, line in _joined(text):
        told = HEADER.fullmatch(line)
        if told and told["key"] == "image":
            base.append(_numbered(number, _image_package, told["value"].strip()))
        elif told and told["key"] == "size":  # where it makes no sense, it is but a comment
            if size := _SIZE.fullmatch(told["value"].strip()):
                sizes[canonicalize_name(size["name"])] = int(size["size"])
        elif told:
            header.setdefault(told["key"], told["value"])
        elif line and not line.startswith("#"):
            pending.append((number, line))
    target, taken = target_of(header), set[tuple[str, str]]()
    pins = tuple(_numbered(number, _pin, line, target, taken) for number, line in pending)
    names = {pin.name for pin in pins}
    known = tuple((name, size) for name, size in sizes.items() if name in names)
    return Lock(target, pins, tuple(base), known)


def notes_in(text: str) -> tuple[str, ...]:
    """Return the notes in the text of a lock."""
    return tuple(
        printable(one.removeprefix(_NOTE)) for one in text.splitlines() if one.startswith(_NOTE)
    )


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line's number and text, joined with those that it continues on; as for pip, a
    comment doesn't."""
    joined, start = "", 0
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        start = start if joined else number
        goes_on = line.endswith("\\") and not line.lstrip().startswith("#")
        joined += line.removesuffix("\\")
        if not goes_on:
            yield start, joined.strip()
            joined = ""
    if joined:
        raise LockError(f"line {start}: the text ends in the middle of a pin")


def _numbered(number: int, parse: Callable[..., T], *arguments: object) -> T:
    try:
        return parse(*arguments)
    except LockError as error:
        raise LockError(f"line {number}: {error}") from None


def _name(text: str) -> NormalizedName:
    """Return a name of a lock's text, unless it is written in another way."""
    bare, bracket, _ = text.partition("[")
    if bracket:
        raise LockError(
            f"{text[:80]!r}: a pin has no extras; name {bare} without,"
            " and what they bring in pins of its own"
        )
    try:
        name = canonicalize_name(text, validate=True)
    except InvalidName:
        raise LockError(f"{text[:80]!r} is not a package name") from None
    if name != text:
        raise LockError(f"{text[:80]!r} is not a normalized package name; write {name}")
    return name


def _check(name: str, version: str) -> None:
    if not is_normalized_name(name):
        raise LockError(f"{name[:80]!r} is not a normalized package name")
    try:
        normal = str(Version(version)) == version
    except ValueError:  # InvalidVersion, or a number of too many digits
        normal = False
    if not normal:
        raise LockError(f"{name[:80]}: {version[:80]!r} is not a normalized version")


def _image_package(text: str) -> tuple[NormalizedName, str]:
    match = _PIN.fullmatch(text)
    if not match or match["marker"]:
        raise LockError(f"{text[:80]!r} is not an image package like name==version")
    name = _name(match["name"])
    _check(name, match["version"])
    return name, match["version"]


def target_of(header: dict[str, str]) -> Target:
    """Return the target in the header of a lock. Raises LockError."""
    for key in ("python", "platforms"):
        if key not in header:
            raise LockError(
                f"line 1: not a flowdeps lock: it has no line '# {key}: …' (what uv, Poetry or"
                " pip-compile export belongs in requirementsFrom, without hashes)"
            )
    try:
        return Target(header["python"], tuple(header["platforms"].replace(",", " ").split()))
    except TargetError as error:
        raise LockError(f"the lock's header: {error}") from None


def _pin(line: str, target: Target, taken: set[tuple[str, str]]) -> Pin:
    head, *hashes = map(str.strip, re.split(r"\s--hash=", line))
    match = _PIN.fullmatch(head)
    if not match:
        raise LockError(f"{head[:80]!r} is not a pin like name==version")
    marker, platforms = match["marker"], target.platforms
    if marker is not None:
        machines = [_MACHINE.fullmatch(part.strip()) for part in marker.split(" or ")]
        names = [one and _BY_MACHINE.get(one["machine"]) for one in machines]
        platforms = tuple(filter(None, names))
        if len(platforms) < len(names):
            raise LockError(f"the marker {marker[:80]!r} is not one that a lock has")
    pin = Pin(_name(match["name"]), match["version"], tuple(hashes), platforms)
    _claim(pin, target, taken)
    return pin


def _claim(pin: Pin, target: Target, taken: set[tuple[str, str]]) -> None:
    """Add a pin's name on its platforms to those ``taken``, if they are the target's and free."""
    if not pin.platforms or not set(pin.platforms) <= set(target.platforms):
        raise LockError(f"{pin.name}: its platforms are not those of the lock")
    claimed = {(pin.name, platform) for platform in pin.platforms}
    if taken & claimed:
        raise LockError(f"{pin.name} is pinned twice for one platform")
    taken |= claimed
