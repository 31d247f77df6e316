"""Words that messages share."""

from collections.abc import Sequence
from itertools import accumulate

POOL_NOTE = "; work pool "
"""What follows the message of `Built` for each pool whose runs install, before the pool's name."""


def counted(number: int, what: str) -> str:
    """Return a number of things, as in "1 package" or "2 packages"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def listed(
    texts: Sequence[str], *, most: int, total: int | None = None, separator: str = ", "
) -> str:
    """Return the first texts and how many are left out, as in "a, b and 3 more".

    `total` is how many there are where `texts` has not all of them.
    """
    shown = texts[:most]
    more = (len(texts) if total is None else total) - len(shown)
    return separator.join(shown) + (f" and {more} more" if more > 0 else "")


def as_many_as_fit(texts: Sequence[str], limit: int) -> str:
    """Return texts as one of at most `limit` characters, and how many of them are left out."""
    lengths = accumulate(len(one) + 2 for one in texts)
    most = max(1, sum(length - 2 <= limit for length in lengths))
    while most > 1 and len(listed(texts, most=most, separator="; ")) > limit:
        most -= 1
    return shorten(listed(texts, most=most, separator="; "), limit)


def shorten(text: str, limit: int) -> str:
    """Return a text, cut with an ellipsis where it has more than `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
