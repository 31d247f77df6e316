"""How a command says no."""

from flowdeps.api.problems import InvalidError


class CommandError(Exception):
    """Why a command can't do what it was asked, in lines for standard error."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines

    @classmethod
    def invalid(cls, file: str, error: InvalidError) -> "CommandError":
        """The problems of a file, a line each."""
        return cls(*(f"{file}: {problem}" for problem in error.problems))
