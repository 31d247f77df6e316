"""What a kind of work pool is, and what is put into the template of a pool.

The job variable, its marker and ``find`` are the same for all kinds (``choice``). What a run looks
like is not, so each kind puts the pieces of a method where its runs need them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowdeps.delivery.choice import Choice
from flowdeps.delivery.methods.install import Install
from flowdeps.delivery.methods.method import Method

Template = Mapping[str, Any]


class MergeRefusedError(Exception):
    """A template that cannot carry a fragment; ``message`` says why, and what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, kw_only=True)
class Fragment(Choice):
    """What one pool's template carries: a choice, and the method that delivers what is chosen."""

    method: Method = field(default_factory=Install)
    """How the chosen lock reaches the run."""
    default_image: str | None = None
    """What becomes the pool's default image where its template has none."""


@dataclass(frozen=True, kw_only=True)
class TemplateView:
    """What a template gives to runs that choose nothing; None where it cannot be known."""

    location: str | None
    """Where the runs are: on Kubernetes a namespace."""
    image: str | None
    """The image that they run in."""
    pull_policy: str | None
    """When that is pulled; None also where Kubernetes decides."""
    user: tuple[int | None, int | None]
    """Their user and group; None also where the image decides."""
    pull_secrets: tuple[str, ...] = ()
    """The names of their pull secrets, as far as the template tells them."""
    worker_chooses: bool = False
    """Whether the template leaves the image to the worker, where a run names none."""
    notes: tuple[str, ...] = ()
    """What people should know of all runs."""


def worker_image(*, prefect: str, python: str) -> str:
    """Return the image that a worker takes for a run without one: that of its own versions."""
    return f"prefecthq/prefect:{prefect.partition('+')[0]}-python{python}"


def default_image_note(image: str) -> str:
    """Say what such a pool's default image is, and why."""
    return f"runs that name no image get {image}, as their worker would choose"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of work pool, as pure functions."""

    type: str
    """The type that Prefect gives to such pools."""
    unlocated: str
    """Why a pool cannot offer sets while nobody knows where its runs are, and what to do."""
    view: Callable[[Template], TemplateView]
    """Returns what a template gives to runs."""
    merge: Callable[[Template, Fragment], dict[str, Any]]
    """Returns the template with the fragment in place of an older, or raises MergeRefusedError."""
    remove: Callable[[Template], dict[str, Any]]
    """Returns the template without a fragment; unchanged where there is none."""
    missing: Callable[[str, str, Sequence[str], Callable[[str, str], bool]], str]
    """Names what a pool's runs at these locations lack before they may choose a key; empty:
    nothing. The last argument says whether the set has its object of that name at a location."""
