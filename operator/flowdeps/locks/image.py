"""What a flow image has installed: facts as a value, from a probe pod or from pip.

The probe (`flowdeps/templates/probe.py`) prints lines, each with JSON behind its mark: the
interpreter, then each distribution as its metadata have it, then how many there were::

    flowdeps-probe: {"python": "3.11.9", "platform": "linux/amd64", "markers": {…}, …}
    flowdeps-probe: {"name": "six", "version": "1.17.0", "requires": [], "extras": []}
    flowdeps-probe: {"distributions": 57}

Images are odd. Where a name is there twice, the first on the path is what an import finds; what has
no name is passed over, and of what has no version that can be compared the name alone is known.
Stored, facts are canonical JSON: equal facts are equal texts, so the digest names them.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from flowdeps.locks.target import GLIBCS, OLDEST_GLIBC, PLATFORMS, Target, TargetError

MARK = "flowdeps-probe:"
_GLIBC = re.compile(r"2\.([0-9]{1,3})(?![0-9])")
_INSPECT = "give the JSON of `pip inspect`, or the lines of `pip list --format=freeze`"


class ImageError(ValueError):
    """What should tell about an image doesn't; the text says why, and what to do."""


@dataclass(frozen=True, order=True)
class Distribution:
    """An installed package: normalized name and version, its Requires-Dist and Provides-Extra."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """``python``: the minor version; ``libc``: ``glibc``, or what else it is; ``libc_version``:
    empty where it isn't known, as from pip; ``tools``: which of ``uv`` and ``pip`` there are;
    ``python_path``: the image's own PYTHONPATH; ``markers``: the marker environment (PEP 508),
    empty where it isn't known what the distributions require; ``unreadable``: the names of further
    packages, with versions that can't be compared.
    """

    python: str
    full_version: str = ""
    platform: str
    libc: str = "glibc"
    libc_version: str = ""
    tools: tuple[str, ...] = ()
    python_path: tuple[str, ...] = ()
    markers: Mapping[str, str] = field(default_factory=dict, hash=False)
    distributions: tuple[Distribution, ...] = ()
    unreadable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        first: dict[str, Distribution] = {}
        for one in self.distributions:
            first.setdefault(one.name, one)
        object.__setattr__(self, "distributions", tuple(sorted(first.values())))
        object.__setattr__(self, "unreadable", tuple(sorted(set(self.unreadable) - first.keys())))

    @property
    def versions(self) -> dict[str, str]:
        """The version of each installed package by name."""
        return {one.name: one.version for one in self.distributions}

    @property
    def glibc(self) -> int:
        """The glibc that wheels may need: of those that uv knows the newest that is no newer than
        the image's."""
        return max((one for one in GLIBCS if one <= self._glibc), default=OLDEST_GLIBC)

    @property
    def _glibc(self) -> int:
        found = _GLIBC.match(self.libc_version)
        return int(found[1]) if found else OLDEST_GLIBC

    @property
    def problem(self) -> str | None:
        """Why no lock can be made for the image; None: one can."""
        try:
            Target(self.python, (self.platform,))
        except TargetError as error:
            return f"the image can't be used: {error}"
        if self.libc != "glibc":
            return (
                f"the image's C library is {self.libc or 'unknown'}, and wheels for Linux are made "
                "for glibc; use an image with glibc, such as one of Debian"
            )
        if self._glibc < OLDEST_GLIBC:
            return (
                f"the image's C library is glibc 2.{self._glibc}, and locks are made for"
                f" 2.{OLDEST_GLIBC} and newer; use a newer image, such as one of Debian 10"
            )
        return None

    @property
    def digest(self) -> str:
        """``sha256:<64 hex digits>`` over all facts."""
        return f"sha256:{hashlib.sha256(self.to_json().encode()).hexdigest()}"

    def to_json(self) -> str:
        """The stored form: always the same text for the same facts."""
        content = {
            "python": self.python,
            "fullVersion": self.full_version,
            "platform": self.platform,
            "libc": self.libc,
            "libcVersion": self.libc_version,
            "tools": self.tools,
            "pythonPath": self.python_path,
            "markers": dict(self.markers),
            "distributions": [
                [one.name, one.version, one.requires, one.extras] for one in self.distributions
            ],
            "unreadable": self.unreadable,
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The facts that `to_json` wrote. Raises `ImageError`."""
        try:
            content = json.loads(text)
            return cls(
                python=_text(content["python"]),
                full_version=_text(content["fullVersion"]),
                platform=_text(content["platform"]),
                libc=_text(content["libc"]),
                # Facts of earlier versions lack it, as they do `unreadable`.
                libc_version=_text(content.get("libcVersion", "")),
                tools=_texts(content["tools"]),
                python_path=_texts(content["pythonPath"]),
                markers={_text(name): _text(v) for name, v in content["markers"].items()},
                distributions=tuple(
                    Distribution(_text(name), _text(version), _texts(requires), _texts(extras))
                    for name, version, requires, extras in content["distributions"]
                ),
                unreadable=_texts(content.get("unreadable", [])),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ImageError("stored facts of an image can't be read; remove them") from None


def parse_probe(text: str) -> ImageFacts:
    """The facts that a probe printed; other lines are passed over. Raises `ImageError`."""
    records = list(_records(text))
    if not records or "python" not in records[0]:
        raise ImageError("the probe told nothing of the image's Python; look at the pod's log")
    head, *found = records
    end = found.pop() if found else {}
    if end.get("distributions") != len(found):
        raise ImageError("the probe's output ends early; it is made again")
    if (implementation := head.get("implementation", "cpython")) != "cpython":
        raise ImageError(f"the image's Python is {implementation!s:.40}; use one with CPython")
    listed = _listed(found, "name", "version", "requires", "extras")
    try:
        full = _text(head["python"])
        return ImageFacts(
            python=_minor(full),
            full_version=full,
            platform=_text(head["platform"]),
            libc=_text(head.get("libc", "glibc")),
            libc_version=_text(head.get("libcVersion", "")),
            tools=_texts(head.get("tools", [])),
            python_path=_texts(head.get("pythonPath", [])),
            markers={_text(name): _text(v) for name, v in head.get("markers", {}).items()},
            distributions=_distributions(listed),
            unreadable=_names(listed),
        )
    except (KeyError, TypeError, AttributeError):
        raise ImageError("the probe's output can't be read; look at the pod's log") from None


def parse_image_packages(text: str, *, python: str, platform: str) -> ImageFacts:
    """The facts in a file that a person made: `parse_inspect` or `parse_freeze`, by its content."""
    if text.lstrip().startswith("{"):
        return parse_inspect(text)
    return parse_freeze(text, python=python, platform=platform)


def parse_inspect(text: str) -> ImageFacts:
    """The facts in the JSON of `pip inspect`. Raises `ImageError`."""
    try:
        content = json.loads(text)
        markers = {_text(name): _text(v) for name, v in content["environment"].items()}
        full = markers["python_full_version"]
        system, machine = markers["sys_platform"], markers["platform_machine"]
        found = [one["metadata"] for one in content["installed"]]
        listed = _listed(found, "name", "version", "requires_dist", "provides_extra")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ImageError("not the JSON of `pip inspect`; make it again in the image") from None
    names = {one.machine: name for name, one in PLATFORMS.items() if system == "linux"}
    return ImageFacts(
        python=_minor(full),
        full_version=full,
        platform=names.get(machine, f"{system}/{machine}"),
        tools=("pip",),
        markers=markers,
        distributions=_distributions(listed),
        unreadable=_names(listed),
    )


def parse_freeze(text: str, *, python: str, platform: str) -> ImageFacts:
    """The facts in lines of `pip freeze`: ``name==version``, blank lines and comments.

    They don't tell what the packages require. Raises `ImageError` naming the line.
    """
    found: list[tuple[str, str, None, None]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.partition(" #")[0].strip()
        if not entry or entry.startswith("#"):
            continue
        name, separator, version = (part.strip() for part in entry.partition("=="))
        if (
            not separator
            or entry.startswith("-")
            or "@" in name
            or not _distributions([(name, version, None, None)])
        ):
            shown = re.split(r"\s*(?:@|://)", entry)[0][:60]  # a URL may hold a password
            raise ImageError(f"line {number}: {shown!r} is not name==version; {_INSPECT}")
        found.append((name, version, None, None))
    return ImageFacts(python=python, platform=platform, distributions=_distributions(found))


def _records(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        _, mark, rest = line.partition(MARK)
        if not mark:
            continue
        try:
            record = json.loads(rest)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def _listed(found: Iterable[Mapping[str, Any]], *keys: str) -> list[tuple[Any, ...]]:
    return [tuple(map(one.get, keys)) for one in found]


def _distributions(found: Iterable[tuple[Any, ...]]) -> tuple[Distribution, ...]:
    """What of ``found`` (name, version, requires, extras) can be compared, in its order."""
    usable: list[Distribution] = []
    for name, version, requires, extras in found:
        try:
            usable.append(
                Distribution(
                    canonicalize_name(name, validate=True),
                    str(Version(version)),
                    tuple(one for one in requires or () if isinstance(one, str)),
                    tuple(
                        sorted({canonicalize_name(e) for e in extras or () if isinstance(e, str)})
                    ),
                )
            )
        except (InvalidVersion, ValueError, TypeError, AttributeError):
            continue
    return tuple(usable)


def _names(found: Iterable[tuple[Any, ...]]) -> tuple[str, ...]:
    """All names in ``found``; `ImageFacts` takes away those whose version can be compared."""
    named = _distributions((name, "0", None, None) for name, *_ in found)
    return tuple(one.name for one in named)


def _minor(full: str) -> str:
    return ".".join(full.split(".")[:2])


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(map(_text, value))
