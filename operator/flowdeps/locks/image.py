"""What a flow image has installed, as a value. `flowdeps.locks.inspection` makes it.

Stored, facts are canonical JSON: equal facts are equal texts, so the digest names them.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from packaging.utils import is_normalized_name
from packaging.version import Version

from flowdeps.locks.legible import printable
from flowdeps.locks.requirements import MOST_PARENTHESES
from flowdeps.locks.target import GLIBCS, OLDEST_GLIBC, Target, TargetError

_GLIBC = re.compile(r"2\.([0-9]{1,3})(?![0-9])")


MOST_CHARACTERS = 900_000
"""Of the facts as they are stored: what fits a ConfigMap (1 MiB) beside its other fields."""
MOST_PACKAGES = 5_000
MOST_REQUIREMENTS = 20_000
"""Of all packages together."""
LONGEST_REQUIREMENT = 4_096
MOST_COMPARISONS = 1_000_000
"""A requirement is evaluated for each extra that its marker names; these are the comparisons that
all of that takes."""


class ImageError(ValueError):
    """What should describe an image doesn't; the text says why, and what to do."""


@dataclass(frozen=True, order=True)
class Distribution:
    """An installed package: normalized name and version, its Requires-Dist and Provides-Extra."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What is known of an image. Where a name is there twice, the first distribution counts."""

    python: str
    """The minor version, such as 3.11."""
    full_version: str = ""
    platform: str
    libc: str = "glibc"
    """``glibc``, or what else it is."""
    libc_version: str = ""
    """Empty where it isn't known, as from pip."""
    tools: tuple[str, ...] = ()
    """Which of ``uv`` and ``pip`` there are."""
    python_path: tuple[str, ...] = ()
    """The image's own PYTHONPATH."""
    markers: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The marker environment (PEP 508); empty where requirements aren't known."""
    distributions: tuple[Distribution, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Names of further packages, with versions that can't be compared."""

    def __post_init__(self) -> None:
        first = {one.name: one for one in reversed(self.distributions)}
        object.__setattr__(self, "distributions", tuple(sorted(first.values())))
        object.__setattr__(self, "unreadable", tuple(sorted(set(self.unreadable) - first.keys())))
        _check_budget(self.distributions, len(self.unreadable))

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """The version of each installed package by name."""
        return {one.name: one.version for one in self.distributions}

    @property
    def glibc(self) -> int:
        """The glibc that wheels may need: the newest that uv knows and that is no newer than the
        image's."""
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

    @cached_property
    def digest(self) -> str:
        """``sha256:<64 hex digits>`` over all facts."""
        return f"sha256:{hashlib.sha256(self.to_json().encode()).hexdigest()}"

    def to_json(self) -> str:
        """Return the stored form: always the same text for the same facts."""
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
        """Return the facts that `to_json` wrote, which anybody may have edited. Raises
        `ImageError`."""
        try:
            content = json.loads(text[: MOST_CHARACTERS + 1])
            return cls(
                python=text_of(content["python"]),
                full_version=text_of(content["fullVersion"]),
                distributions=tuple(
                    Distribution(
                        _normal_name(name),
                        _normal_version(version),
                        texts_of(needs),
                        texts_of(extras),
                    )
                    for name, version, needs, extras in content["distributions"]
                ),
                unreadable=texts_of(content.get("unreadable", [])),
                **environment_of(content),
            )
        except ImageError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ImageError("stored facts of an image can't be read; remove them") from None


def environment_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that a probe prints as they are stored. Raises what wrong JSON does."""
    return {
        "platform": text_of(content["platform"]),
        "libc": text_of(content.get("libc", "glibc")),
        "libc_version": text_of(content.get("libcVersion", "")),  # earlier versions lack it
        "tools": texts_of(content.get("tools", [])),
        "python_path": texts_of(content.get("pythonPath", [])),
        "markers": {text_of(k): text_of(v) for k, v in content.get("markers", {}).items()},
    }


def text_of(value: object) -> str:
    """Return a text of JSON, without what can't be shown or written. Raises TypeError."""
    if not isinstance(value, str):
        raise TypeError
    return value if value.isprintable() else printable(value)


def texts_of(value: object) -> tuple[str, ...]:
    """Return a list of texts of JSON. Raises TypeError."""
    if not isinstance(value, list):
        raise TypeError
    return tuple(map(text_of, value))


def comparisons(requirement: str) -> int:
    """Return about how many comparisons it takes to evaluate a requirement for all extras that its
    marker may name, by the signs in its text."""
    quoted = (requirement.count('"') + requirement.count("'")) // 2
    return (quoted + 1) * (quoted + requirement.count(",") + 1)


def _check_budget(distributions: Sequence[Distribution], unreadable: int) -> None:
    """Raise `ImageError` where it would take long to work out what an image's packages require."""
    requirements = [(one.name, text) for one in distributions for text in one.requires]
    for count, most, what in (
        (len(distributions) + unreadable, MOST_PACKAGES, "packages"),
        (len(requirements), MOST_REQUIREMENTS, "requirements of its packages"),
        (sum(map(len, (text for _, text in requirements))), MOST_CHARACTERS, "characters of them"),
        (
            sum(comparisons(text) for _, text in requirements),
            MOST_COMPARISONS,
            "comparisons in them",
        ),
    ):
        if count > most:
            raise ImageError(
                f"the image reports {count:,} {what}, {most:,} are allowed; use an image with fewer"
                " packages, or set spec.python.version"
            )
    for name, text in requirements:
        if len(text) > LONGEST_REQUIREMENT or text.count("(") > MOST_PARENTHESES:
            raise ImageError(
                f"{name} in the image requires {text[:40]!r}…, which has {len(text):,} characters"
                f" and {text.count('(')} parentheses; {LONGEST_REQUIREMENT:,} and"
                f" {MOST_PARENTHESES} are allowed; use an image with another version of it"
            )


def _normal_name(value: object) -> str:
    text = text_of(value)
    if not is_normalized_name(text):
        raise ValueError(text)
    return text


def _normal_version(value: object) -> str:
    text = text_of(value)
    if str(Version(text)) != text:
        raise ValueError(text)
    return text
