"""Reads and writes the pylock.toml format (PEP 751), in which a resolver answers.

Only wheels that fit the target and have a sha256 hash reach a pin, whatever the resolver listed.
What an image has at the same version is set apart, wherever the resolver found it. What is written,
names and versions alone, uv prefers if it finds it where it is to write its output.
"""

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.pylock import Package, Pylock, PylockValidationError
from packaging.utils import NormalizedName
from packaging.version import Version

from flowdeps.locks.lock import MOST_BYTES, LockError, Pin
from flowdeps.locks.releases import Pages
from flowdeps.locks.target import LONGEST_NAME, MOST_TAGS, OLDEST_GLIBC, Target, is_wheel_name


class PylockError(ValueError):
    """A resolution that can't be read."""


class UnusableWheelsError(PylockError):
    """A package of a resolution that can't be locked: no wheel that fits, or none with a hash."""


@dataclass(frozen=True)
class Resolved:
    """What a resolver chose for a platform."""

    pins: Mapping[NormalizedName, Pin]
    """By name."""
    base: Mapping[NormalizedName, str]
    """The image's versions that the pins or the requirements need, by name."""
    yanked: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Why the index withdrew a release that was chosen, by name and version; maybe empty."""
    warnings: tuple[str, ...] = ()
    """What else the resolver warned of."""
    pages: Pages = field(default_factory=dict)
    """What the index says of the packages."""
    sizes: Mapping[NormalizedName, int] = field(default_factory=dict)
    """Bytes of the largest wheel that fits, by name, where the index says it."""


def read_pylock(
    text: str,
    *,
    target: Target,
    platform: str,
    glibc: int = OLDEST_GLIBC,
    image: Mapping[str, str] | None = None,
) -> Resolved:
    """Read a resolution for ``platform``, one of the target's, on top of what ``image`` has
    (versions by name). Raises `PylockError`.
    """
    try:
        content = tomllib.loads(text)
        leave_out_odd_wheels(content)
        resolution = Pylock.from_dict(content)
    except PylockError:
        raise
    # No TOML, a URL that is none, another shape: an index has a say in it.
    except (ValueError, TypeError, AttributeError, PylockValidationError, RecursionError) as error:
        raise PylockError(f"the resolution can't be read: {error}") from None
    pins: dict[NormalizedName, Pin] = {}
    base: dict[NormalizedName, str] = {}
    sizes: dict[NormalizedName, int] = {}
    for package in resolution.packages:
        there = image.get(package.name) if image else None
        if there and Version(there) == package.version:  # 1.0 is 1.0.0
            base[package.name] = there
        else:
            pins[package.name], size = _pin(package, target, platform, glibc)
            if size:
                sizes[package.name] = size
    return Resolved(pins, base, sizes=sizes)


def leave_out_odd_wheels(content: dict[str, Any]) -> None:
    """Leave out wheels whose names are not to be read, of packages that have others."""
    for package in content.get("packages", ()):
        wheels = package.get("wheels", ())
        kept = [wheel for wheel in wheels if all(map(is_wheel_name, _names_of(wheel)))]
        if wheels and not kept:
            raise UnusableWheelsError(
                f"the index offers {_label(package)} only as wheels"
                f" whose names have more than {LONGEST_NAME} characters or stand for more than"
                f" {MOST_TAGS} tags; choose another version"
            )
        if wheels:
            package["wheels"] = kept


def _label(package: Mapping[str, Any]) -> str:
    return f"{str(package.get('name'))[:80]}=={str(package.get('version'))[:80]}"


def _names_of(wheel: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the format takes for the name of a wheel."""
    for value in (wheel.get("name"), wheel.get("path"), urlsplit(wheel.get("url") or "").path):
        yield unquote(str(value or "").rpartition("/")[2])


def write_preferences(versions: Iterable[tuple[str, str]]) -> str:
    """Write a minimal pylock.toml, with versions that a resolver keeps where it may; of several of
    one name uv keeps the newest that it may."""
    lines = ['lock-version = "1.0"', 'created-by = "flowdeps"']
    for name, version in sorted(set(versions)):
        # A JSON string is a TOML string.
        lines += ["[[packages]]", f"name = {json.dumps(name)}", f"version = {json.dumps(version)}"]
    return "".join(f"{line}\n" for line in lines)


def _pin(package: Package, target: Target, platform: str, glibc: int) -> tuple[Pin, int]:
    """Return the pin of a package, and the size of its largest wheel that fits; 0: not known."""
    label = f"{package.name}=={package.version}"
    hashes = []
    fitting = size = 0
    others = set[str]()
    for wheel in package.wheels or ():
        if not target.fits(wheel.filename, platform, glibc=glibc):
            continue
        url = wheel.url or ""
        if urlsplit(url).scheme not in {"http", "https"}:
            wrong = f"the index offers a file of {label} that is not on the network"
            raise UnusableWheelsError(wrong)
        fitting += 1
        size = max(size, min(wheel.size or 0, MOST_BYTES))
        if digest := wheel.hashes.get("sha256"):
            hashes.append(f"sha256:{digest}")
        others |= wheel.hashes.keys() - {"sha256"}
    if not fitting:
        raise UnusableWheelsError(f"{label} has no wheel for Python {target.python} on {platform}")
    if not hashes:
        kinds = f", but {', '.join(sorted(others))}" if others else ""
        host = urlsplit(url).netloc.rpartition("@")[2]  # without a password
        raise UnusableWheelsError(
            f"the index gives no sha256 for the wheels of {label}{kinds}: let {host} give sha256,"
            " or name another index in spec.index.url"
        )
    try:
        return Pin(package.name, str(package.version), tuple(hashes), (platform,)), size
    except LockError as error:
        raise PylockError(str(error)) from None
