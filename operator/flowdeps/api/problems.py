"""What is wrong with a document: a path, and what is wrong and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass

from flowdeps.locks.legible import printable


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    `path` names the field as kubectl does (`spec.requirements[2]`; empty for the whole
    document); `message` is "what is wrong; what to do".
    """

    path: str
    message: str

    def __post_init__(self) -> None:
        # Also the names of unknown fields are somebody's texts.
        object.__setattr__(self, "path", printable(self.path))
        object.__setattr__(self, "message", printable(self.message))

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidError(ValueError):
    """A document cannot be used; `problems` lists all that is wrong with it, in its order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
