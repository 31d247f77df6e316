"""Lock requests: everything that decides what a resolver is asked, as one value."""

import hashlib
import json
from dataclasses import dataclass, field

from flowdeps.locks.index import Index
from flowdeps.locks.requirements import normalize, parse_requirement
from flowdeps.locks.target import Target


@dataclass(frozen=True, kw_only=True)
class LockRequest:
    """Requirements and constraints (lines as in `flowdeps.locks.requirements`) for a target.

    Lines are checked, sorted and without repetition, so neither the resolution nor the digest
    depends on the order in which they were written. Raises `RequirementError`.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    target: Target
    index: Index = field(default_factory=Index)

    def __post_init__(self) -> None:
        object.__setattr__(self, "requirements", _lines(self.requirements))
        object.__setattr__(self, "constraints", _lines(self.constraints))

    @property
    def digest(self) -> str:
        """The inputs digest, ``sha256:<64 hex digits>``: equal for equal requests."""
        inputs = {
            "requirements": self.requirements,
            "constraints": self.constraints,
            "python": self.target.python,
            "platforms": self.target.platforms,
            "indices": self.index.urls,
        }
        text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _lines(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({normalize(parse_requirement(text)) for text in texts}))
