"""Words that messages share."""


def counted(number: int, what: str) -> str:
    """A number of things, as in "1 package" or "2 packages"."""
    return f"{number} {what}{'' if number == 1 else 's'}"
