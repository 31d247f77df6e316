"""Times as Kubernetes writes them: RFC 3339, UTC, whole seconds (`2026-01-31T08:00:00Z`)."""

from datetime import UTC, datetime


def format_time(time: datetime) -> str:
    """Return a time (with a zone) as Kubernetes writes it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: object) -> datetime | None:
    """Return the time that a text writes; None for everything else."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def ago(time: datetime, now: datetime) -> str:
    """Return how long ago a time was, in its two largest units, as in "1 d 2 h ago"."""
    seconds = max(0, round((now - time).total_seconds()))
    for unit, size, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size} {unit}" + (f" {rest} {below}" if rest else "") + " ago"
    return f"{seconds // 60} min ago" if seconds >= 60 else f"{seconds} s ago"
