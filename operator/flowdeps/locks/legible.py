"""How a text of somebody else may be shown to people."""


def printable(text: str) -> str:
    """Return a text as one line for people, whatever is in it."""
    return "".join(one if one.isprintable() else "�" for one in " ".join(text.split()))
