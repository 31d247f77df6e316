"""Reads files that a command line names."""

from pathlib import Path

from flowdeps.cli.failure import CommandError
from flowdeps.gather.texts import TextError, decode


def read_text(file: str) -> str:
    """Return the text of a file, without a byte order mark. Raises CommandError."""
    try:
        return decode(Path(file).read_bytes())
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    except TextError as error:
        raise CommandError(f"{file}: {error}") from None
