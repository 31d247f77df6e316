"""What a private index asks for: credentials, and an authority of one's own.

Such a value goes to the resolver's child and to nothing else: it is in no text of itself, digest,
argument, message or log.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Access:
    """``netrc``: the text of a netrc file. ``ca``: certificates of authorities in PEM form, trusted
    besides those that are trusted anyway. Empty: none.
    """

    netrc: str = field(repr=False, default="")
    ca: str = field(repr=False, default="")
