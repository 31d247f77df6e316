"""Logs: one line each, as JSON for machines or as text for people.

What a line is about comes from where it is written: `about` names it for the task that runs, and
for all tasks that this one starts, so a line of a library inside a pass carries the pass too. A
line may say more by `extra`.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime

FIELDS = ("set", "pool", "pass", "pod", "image", "revision", "outcome", "seconds")
"""What a line may have beside its message, in this order."""

_about: ContextVar[Mapping[str, str]] = ContextVar("about", default={})  # noqa: B039 - never changed


def enter(**fields: str) -> None:
    """Say what the rest of the running task is about; what was said before no longer holds."""
    _about.set(fields)


@contextlib.contextmanager
def about(**fields: str) -> Iterator[None]:
    """The same for a block; what was said before holds again afterwards."""
    token = _about.set(fields)
    try:
        yield
    finally:
        _about.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and those of FIELDS that are known."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for a record."""
        entry: dict[str, str | float] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        known = _about.get()
        for name in FIELDS:
            value = getattr(record, name, None) or known.get(name)
            if value is not None:
                entry[name] = value if isinstance(value, float) else str(value)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def set_up_logs(*, form: str, level: str) -> None:
    """Send all logs to standard error, as `json` or `text`."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if form == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("httpx", "kopf", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))
