"""Reads what a flow image has installed: from a probe pod's output, or from pip's.

The probe (`flowdeps/delivery/in_image/probe.py`) prints lines, each with JSON behind its mark: the
interpreter, then each distribution as its metadata have it, then how many there were.

Images are odd. What has no name is passed over; of what has no version that can be compared, the
name alone is known.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from flowdeps.locks.image import (
    MOST_CHARACTERS,
    Distribution,
    ImageError,
    ImageFacts,
    environment_of,
    text_of,
)
from flowdeps.locks.target import PLATFORMS

MARK = "flowdeps-probe:"
_MOST_CHARACTERS = 2 * MOST_CHARACTERS
"""Of what a probe prints, which is longer than what is stored of it."""


def parse_probe(text: str) -> ImageFacts:
    """Return the facts that a probe printed; other lines are passed over. Raises `ImageError`."""
    records = list(_records(text))
    if not records or "python" not in records[0]:
        raise ImageError("the probe reported nothing about the image's Python; check the pod's log")
    head, *found = records
    end = found.pop() if found else {}
    if end.get("distributions") != len(found):
        raise ImageError("the probe's output ends early; it is made again")
    if (implementation := head.get("implementation", "cpython")) != "cpython":
        raise ImageError(f"the image's Python is {implementation!s:.40}; use one with CPython")
    try:
        full = text_of(head["python"])
        return ImageFacts(
            python=_minor(full),
            full_version=full,
            **environment_of(head),
            **_packages(found, "requires", "extras"),
        )
    except (KeyError, TypeError, AttributeError):
        raise ImageError("the probe's output can't be read; check the pod's log") from None


def parse_image_packages(text: str, *, python: str, platform: str) -> ImageFacts:
    """Return the facts in a file that a person made, by `parse_inspect` or `parse_freeze`."""
    if not text.strip():
        raise ImageError(
            "empty: the command that should have written it failed, or was cut off; run it again, "
            "and look at what it prints"
        )
    if text.lstrip().startswith("{"):
        return parse_inspect(text)
    return parse_freeze(text, python=python, platform=platform)


def parse_inspect(text: str) -> ImageFacts:
    """Return the facts in the JSON of `pip inspect`. Raises `ImageError`."""
    try:
        content = json.loads(text)
        markers = {text_of(name): text_of(v) for name, v in content["environment"].items()}
        full = markers["python_full_version"]
        system, machine = markers["sys_platform"], markers["platform_machine"]
        found = [one["metadata"] for one in content["installed"]]
        packages = _packages(found, "requires_dist", "provides_extra")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ImageError("not the JSON of `pip inspect`; make it again in the image") from None
    names = {one.machine: name for name, one in PLATFORMS.items() if system == "linux"}
    return ImageFacts(
        python=_minor(full),
        full_version=full,
        platform=names.get(machine, f"{system}/{machine}"),
        tools=("pip",),
        markers=markers,
        **packages,
    )


def parse_freeze(text: str, *, python: str, platform: str) -> ImageFacts:
    """Return the facts in lines of `pip freeze`: ``name==version``, blank lines and comments.

    They don't say what the packages require. Raises `ImageError` naming the line.
    """
    found: list[Distribution] = []
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.partition(" #")[0].strip()
        if not entry or entry.startswith("#"):
            continue
        name, _, version = (part.strip() for part in entry.partition("=="))
        one = None if entry.startswith("-") or "@" in name else _distribution(name, version)
        if one is None:
            shown = re.split(r"\s*(?:@|://)", entry)[0][:60]  # a URL may hold a password
            raise ImageError(
                f"line {number}: {shown!r} is not name==version; "
                "give the JSON of `pip inspect`, or the lines of `pip list --format=freeze`"
            )
        found.append(one)
    return ImageFacts(python=python, platform=platform, distributions=tuple(found))


def _records(text: str) -> Iterator[dict[str, Any]]:
    read = 0
    for line in text.splitlines():
        _, mark, rest = line.partition(MARK)
        read += len(rest)
        if read > _MOST_CHARACTERS:
            raise ImageError(
                f"the probe reports more than {_MOST_CHARACTERS:,} characters; use an image with"
                " fewer packages, or set spec.python.version"
            )
        try:
            record = json.loads(rest) if mark else None
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def _packages(found: Sequence[Mapping[str, Any]], requires: str, extras: str) -> dict[str, Any]:
    """Return the distributions with these keys, and the names of all; `ImageFacts` takes away
    those whose version can be compared."""
    read = [
        _distribution(one.get("name"), one.get("version"), one.get(requires), one.get(extras))
        for one in found
    ]
    named = [_distribution(one.get("name"), "0") for one in found]
    return {
        "distributions": tuple(one for one in read if one),
        "unreadable": tuple(one.name for one in named if one),
    }


def _distribution(
    name: Any, version: Any, requires: Any = None, extras: Any = None
) -> Distribution | None:
    """Return a distribution; None where name or version can't be compared."""
    try:
        return Distribution(
            canonicalize_name(name, validate=True),
            str(Version(version)),
            tuple(text_of(one) for one in requires or () if isinstance(one, str)),
            tuple(
                sorted({canonicalize_name(text_of(e)) for e in extras or () if isinstance(e, str)})
            ),
        )
    except (ValueError, TypeError, AttributeError):
        return None


def _minor(full: str) -> str:
    return ".".join(full.split(".")[:2])
