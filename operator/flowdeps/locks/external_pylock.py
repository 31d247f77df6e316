"""Reads a finished lock in the form of pylock.toml (PEP 751), which any tool may have made.

It becomes a `Lock` for a target. Two comments may name that, as in a lock of flowdeps; without
them it is the image's:

    # python: 3.12
    # platforms: linux/amd64, linux/arm64
    lock-version = "1.0"

A package needs wheels with a sha256 hash on the network. Packages whose markers do not hold on a
platform are left out, and so are files for other platforms. URLs in the file are never fetched:
runs install by name and hash from the set's index.

Anyone who can write a ConfigMap can write such a text. What takes long is done once, when it is
parsed. What is left for each target is bounded.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from packaging.pylock import (
    Package,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockValidationError,
)
from packaging.utils import NormalizedName
from packaging.version import Version

from flowdeps.locks.image import ImageFacts
from flowdeps.locks.legible import printable
from flowdeps.locks.lock import HEADER, Lock, LockError, Pin, target_of
from flowdeps.locks.platforms import Pins, merge_platforms
from flowdeps.locks.pylock import PylockError, leave_out_odd_wheels
from flowdeps.locks.requirements import MOST_PARENTHESES
from flowdeps.locks.target import OLDEST_GLIBC, Target, count_tags, marker_environment

MOST_BYTES = 1024 * 1024
"""What a ConfigMap holds."""
MOST_PACKAGES = 2_000
MOST_FILES = 3_000
"""Wheels for Linux or for any platform."""
MOST_TAGS = 10_000
"""For which their names stand."""
MOST_CONDITIONS = 64 * 1024
"""Characters of all markers, groups, extras and versions of Python."""

_VERSION = re.compile(r"^[ \t]*lock-version[ \t]*=", re.MULTILINE)
_USABLE = re.compile(r"any|[a-z0-9_]*linux_[a-z0-9_]*(x86_64|aarch64)")
_SHOWN = 200


@dataclass(frozen=True, eq=False)
class ExternalPylock:
    """A finished lock that says what to install in several environments."""

    content: Pylock
    target: Target | None
    """What its comments name; None: it has none."""

    def lock_for(self, image: ImageFacts | None) -> Lock:
        """Return the lock for the target, on top of an image. Raises LockError."""
        target = self.target
        if target is None:
            if image is None:
                raise LockError(
                    "no image says which Python it is for; name one in spec.python.image"
                    " (`flowdeps lock` needs --image-packages), or write '# python: 3.12' and"
                    " '# platforms: linux/amd64' in its first lines"
                )
            target = Target(image.python, (image.platform,))
        glibc = image.glibc if image else OLDEST_GLIBC
        versions = image.versions if image else {}
        resolved: dict[str, Pins] = {}
        base: dict[NormalizedName, str] = {}
        for platform in target.platforms:
            pins: dict[NormalizedName, Pin] = {}
            for package, is_wheel in self._selected(target, platform, image, glibc):
                there = versions.get(package.name)
                if there and Version(there) == package.version:  # 1.0 is 1.0.0
                    base[package.name] = there
                elif is_wheel:
                    pins[package.name] = _pin(package, target, platform, glibc)
                else:
                    raise LockError(
                        f"{package.name}: no wheel for Python {target.python} on {platform}; only"
                        " wheels of an index can be installed"
                    )
            resolved[platform] = pins
        return merge_platforms(target, resolved, base=tuple(base.items()))

    def _selected(
        self, target: Target, platform: str, image: ImageFacts | None, glibc: int
    ) -> Iterator[tuple[Package, bool]]:
        """Yield the packages for a platform, and whether they have a wheel for it."""
        known = image.full_version if image and image.python == target.python else ""
        environment: Any = marker_environment(
            target.python, full_version=known or f"{target.python}.0", platform=platform
        )
        tags = tuple(target.tags(platform, glibc=glibc))
        try:
            for package, source in self.content.select(environment=environment, tags=tags):
                yield package, isinstance(source, PackageWheel)
        except (PylockSelectError, ValueError, LookupError) as error:
            where = f"Python {target.python} on {platform}"
            raise LockError(f"it can't be used for {where}: {_short(error)}") from None


def is_pylock(text: str) -> bool:
    """Tell whether a text is meant to be a pylock.toml."""
    return _VERSION.search(text) is not None


def parse_external_pylock(text: str) -> ExternalPylock:
    """Parse a pylock.toml. Raises LockError."""
    if len(text.encode(errors="replace")) > MOST_BYTES:
        raise LockError(f"the text has more than {MOST_BYTES // 1024:,} KiB; divide the set")
    text = text.removeprefix("\ufeff")
    try:
        document = tomllib.loads(text)
        _reduce(document)
        content = Pylock.from_dict(document)
    except LockError:
        raise
    except PylockError as error:
        raise LockError(printable(str(error))) from None
    # No TOML, a name or URL that is none, another shape, a version of too many digits.
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        PylockValidationError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise LockError(f"not a pylock.toml: {_short(error)}") from None
    return ExternalPylock(content, _target(text))


def _target(text: str) -> Target | None:
    """Return the target that comments before the content name."""
    header: dict[str, str] = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        if found := HEADER.fullmatch(line.strip()):
            header.setdefault(found["key"], found["value"])
    return target_of(header) if header.keys() & {"python", "platforms"} else None


def _reduce(document: dict[str, Any]) -> None:
    """Leave out what nothing here reads, and refuse what would take too long."""
    document.pop("tool", None)
    packages = document.get("packages", [])
    if len(packages) > MOST_PACKAGES:
        raise LockError(f"it has {len(packages):,} packages, {MOST_PACKAGES:,} fit; divide the set")
    for package in packages:
        for unread in ("tool", "dependencies", "attestation-identities", "index"):
            package.pop(unread, None)
    leave_out_odd_wheels(document)
    files = tags = 0
    for package in packages:
        kept = []
        for wheel in package.get("wheels", ()):
            name = str(wheel.get("name") or wheel.get("path") or _file(wheel)).rpartition("/")[2]
            stem = name.removesuffix(".whl")
            if any(map(_USABLE.fullmatch, stem.rpartition("-")[2].split("."))):
                fields = ("name", "url", "path")
                hashes = wheel.get("hashes", {})
                others = dict([*hashes.items()][:1])
                hashes = {k: v for k, v in hashes.items() if k == "sha256"} or others
                kept.append({**{k: wheel[k] for k in fields if k in wheel}, "hashes": hashes})
                tags += count_tags(name)
        files += len(kept)
        if "wheels" in package and kept:
            package["wheels"] = kept
    if files > MOST_FILES or tags > MOST_TAGS:
        raise LockError(
            f"it lists {files:,} wheels for Linux with {tags:,} tags; {MOST_FILES:,} and"
            f" {MOST_TAGS:,} fit; lock fewer versions of Python, or divide the set"
        )
    _check_conditions(document, packages)


def _file(wheel: dict[str, Any]) -> str:
    return urlsplit(wheel.get("url") or "").path


def _check_conditions(document: dict[str, Any], packages: list[dict[str, Any]]) -> None:
    texts = [str(document.get("requires-python") or "")]
    for several in ("environments", "extras", "dependency-groups", "default-groups"):
        texts += map(str, document.get(several, ()))
    texts += (str(one.get(key) or "") for one in packages for key in ("marker", "requires-python"))
    if any(text.count("(") > MOST_PARENTHESES for text in texts):
        raise LockError(f"a marker has more than {MOST_PARENTHESES} parentheses; write fewer")
    if sum(map(len, texts)) > MOST_CONDITIONS:
        raise LockError(
            f"its markers have more than {MOST_CONDITIONS:,} characters; lock fewer environments"
        )


def _pin(package: Package, target: Target, platform: str, glibc: int) -> Pin:
    label = f"{package.name}=={package.version}"
    hashes = list[str]()
    for wheel in package.wheels or ():
        if target.fits(wheel.filename, platform, glibc=glibc):
            if urlsplit(wheel.url or "").scheme not in {"http", "https"}:
                raise LockError(f"{label}: {wheel.filename} is a path; publish it to an index")
            if digest := wheel.hashes.get("sha256"):
                hashes.append(f"sha256:{digest}")
    if not hashes:
        raise LockError(f"{label}: its wheels have no sha256; make the file with such hashes")
    return Pin(package.name, str(package.version), tuple(hashes), (platform,))


def _short(error: Exception) -> str:
    text = printable(" ".join(str(error).split()))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
