"""Times as Kubernetes writes them: RFC 3339, UTC, whole seconds (`2026-01-31T08:00:00Z`)."""

from datetime import UTC, datetime


def format_time(time: datetime) -> str:
    """`time` (with a zone) as Kubernetes writes it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: object) -> datetime | None:
    """The time that `text` writes; None for everything else."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
