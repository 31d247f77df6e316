"""Logs: one line each, as JSON for machines or as text for people.

`enter` and `about` name what the running task is about, for all lines that it and the tasks which
it starts write: a library's line inside a reconcile names the set too. `extra` adds to one line.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from flowdeps.locks.legible import legible, printable

FIELDS = ("set", "pool", "runs", "pass", "pod", "image", "revision", "outcome", "seconds")
"""The fields that a line may have beside its message, in this order."""

_about: ContextVar[Mapping[str, str]] = ContextVar("about", default={})  # noqa: B039 - never changed


def enter(**fields: str) -> None:
    """Name what the rest of the running task is about, in place of what was named before."""
    _about.set(fields)


@contextlib.contextmanager
def about(**fields: str) -> Iterator[None]:
    """Name what a block is about."""
    token = _about.set(fields)
    try:
        yield
    finally:
        _about.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and those of FIELDS that are known."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for a record."""
        entry: dict[str, str | float] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": legible(record.getMessage()),
        }
        known = _about.get()
        for name in FIELDS:
            value = getattr(record, name, None) or known.get(name)
            if value is not None:
                entry[name] = value if isinstance(value, float) else legible(str(value))
        if record.exc_info:
            entry["exception"] = legible(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """A line for people; only a traceback has more."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Return the line for a record."""
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return the traceback."""
        return legible(super().formatException(ei))


def set_up_logs(*, form: str, level: str) -> None:
    """Send all logs to standard error, as `json` or `text`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("httpx", "kopf", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))
