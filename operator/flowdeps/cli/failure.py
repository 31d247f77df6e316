"""How a command says no."""


class CommandError(Exception):
    """Why a command can't do what it was asked, in lines for standard error."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
