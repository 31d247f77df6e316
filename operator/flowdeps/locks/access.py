"""Holds what a private index asks for: credentials, and an authority of one's own.

Such a value goes to the resolver's child and to nothing else: it is in no text of itself, digest,
argument, message or log.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Access:
    """How to reach an index. Empty: nothing special."""

    netrc: str = field(repr=False, default="")
    """The text of a netrc file."""
    ca: str = field(repr=False, default="")
    """Certificates of authorities in PEM form, which are trusted besides the usual ones."""
    holder: str = field(repr=False, default="")
    """Whose tokens these are, where one follows the other: each opens what the last one did."""
