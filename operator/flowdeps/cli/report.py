"""A diagnosis as text for a terminal, and as JSON."""

import dataclasses
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from flowdeps.api.status import json_name
from flowdeps.api.times import ago, format_time
from flowdeps.api.wording import counted, shorten
from flowdeps.cli.diagnosis import Diagnosis, Trouble

_HEADLINES = {
    "done": "is ready",
    "suspended": "is suspended: what is published stays, and nothing else happens",
    "waits": "is not ready, and waits for a person",
    "retries": "is not ready; flowdeps keeps trying",
    "works": "is not ready yet; flowdeps is working on it",
    "goes": "is being deleted",
    "unseen": "has no status",
}

_WAYS = {
    "Image": ", in a ready environment",
    "Install": ", and install it",
    "Volume": ", in a ready environment on a claim",
    "Cache": ", from the pool's cache",
}
"""What is said of how runs get a lock."""
_EVENT = 150
"""Characters of an event: two lines of a terminal. A long one repeats what a condition says."""


def to_text(found: Diagnosis, *, now: datetime, width: int) -> str:
    """Return a diagnosis as lines of at most `width` characters, names and addresses apart."""
    lines = []
    for line in _lines(found, now):
        text = line.lstrip()
        indent = line[: len(line) - len(text)]
        hanging = "| " if text.startswith("| ") else "  "
        lines += textwrap.wrap(
            text,
            width,
            initial_indent=indent,
            subsequent_indent=indent + hanging,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines)


def to_json(found: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis as JSON."""
    made: dict[str, Any] = _plain(dataclasses.asdict(found))
    return made


def _lines(found: Diagnosis, now: datetime) -> Iterator[str]:
    line = f"{found.set} {_HEADLINES[found.state]}"
    if found.state in {"waits", "retries", "works"}:
        line += f" ({found.reason})"
    if found.since and found.state != "goes":
        line += f", since {format_time(found.since)}, {ago(found.since, now)}"
    yield line
    yield from (f"! {note}" for note in found.notes)
    yield from _block("In service", list(_in_service(found, now)))
    for number, trouble in enumerate(found.troubles):
        yield from _block("" if number else "Why", list(_trouble(trouble)))
    yield from _block("Operator", [found.lease.message])
    yield from _block("Pods", found.pods)
    yield from _block("Recent events", [shorten(one, _EVENT) for one in found.events])
    yield from _block("Could not be read", found.not_looked_at)


def _block(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield from (title,) if title else ()
        yield from (f"  {line}" for line in lines)


def _in_service(found: Diagnosis, now: datetime) -> Iterator[str]:
    if found.revision:
        made = f", resolved {ago(found.resolved_at, now)}" if found.resolved_at else ""
        packages = counted(found.packages, "package")
        yield f"{found.revision}: {packages} for Python {found.python}{made}"
    else:
        yield "nothing: no lock was published yet"
    if ready := found.environment:
        yield (
            f"environment {ready.reference}: {ready.size / 1e6:.1f} MB to pull, {ready.files}"
            f" files, imports take {ready.import_seconds:g} s"
        )
    for image in found.images:
        yield f"image {image.reference}: {image.image} with it, {image.size / 1e6:.1f} MB in all"
    for one in found.serving:
        gets = f"get {one.revision} from ConfigMap {one.config_map}"
        gets = f"{gets}{_WAYS.get(one.delivery, '')}"
        gets = gets if one.revision else f"get nothing: {one.problem}"
        yield f'work pool "{one.pool}": runs that choose "{one.key}" {gets}'


def _trouble(trouble: Trouble) -> Iterator[str]:
    yield f"{trouble.condition}: {trouble.reason}: {trouble.meaning.partition(';')[0]}"
    if trouble.message and trouble.message != trouble.meaning.rstrip("."):
        yield from (f"  | {line}" for line in trouble.message.splitlines())
    if trouble.remedy:
        yield f"  What to do: {trouble.remedy.replace('`', '')}."


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, Mapping):
        return {json_name(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value
