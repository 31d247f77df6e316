"""What a pool offers, and the job variable by which a run chooses from it, with our marker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NONE = "none"
MARKER = "flowdeps.dev"
EXTRAS = "extras"

RESTRICTED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True, kw_only=True)
class Fragment:
    """What one pool should offer.

    ``owner`` is ``namespace/name`` of the operator's release, ``cluster`` the identity of the
    cluster that it runs in (empty: not known). ``descriptions`` says for each key what it stands
    for, e.g. ``team-a/ml: pandas, pyarrow``. ``default_image`` becomes the pool's
    default where its template has none. ``resources`` of None: those of the flow's container.
    ``env`` holds entries for the install container, e.g. a proxy. ``extras``: whether a run may
    have packages beside the lock; ``index_urls``: where they come from for a run without a set, in
    order (none: the default of the image's installer).
    """

    owner: str
    cluster: str = ""
    version: str
    variable: str = "dependency_set"
    keys: tuple[str, ...]
    default: str = NONE
    descriptions: Mapping[str, str] = field(default_factory=dict)
    default_image: str | None = None
    resources: Mapping[str, Any] | None = None
    security_context: Mapping[str, Any] = field(default_factory=lambda: RESTRICTED)
    env: tuple[Mapping[str, Any], ...] = ()
    extras: bool = True
    extras_variable: str = "extra_py_deps"
    index_urls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if list(self.keys) != sorted(set(self.keys) - {NONE}):
            raise ValueError(f"keys must be sorted, different, and without {NONE!r}: {self.keys}")
        if self.default not in {NONE, *self.keys}:
            raise ValueError(f"the default {self.default!r} is not one of the keys")
        if self.extras and self.extras_variable == self.variable:
            raise ValueError(f"the variables of set and extras have one name: {self.variable!r}")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a template's marker and variable say."""

    owner: str
    cluster: str
    version: str
    variable: str
    keys: tuple[str, ...]
    default: str


def variable(fragment: Fragment, *, replaced: list[dict[str, Any]]) -> dict[str, Any]:
    lines = [f"{key}: {text}" for key, text in sorted(fragment.descriptions.items())]
    if more := len(fragment.keys) - len(lines):
        lines.append(f"…and {more} more")
    return {
        "title": "Dependency set",
        "description": "\n".join(
            [
                "The Python packages that the flow gets beyond those of its image, pinned and "
                "checked by flowdeps.",
                f"{NONE}: the image alone",
                *lines,
            ]
        ),
        "type": "string",
        "enum": [NONE, *fragment.keys],
        "default": fragment.default,
        MARKER: {
            "owner": fragment.owner,
            **({"cluster": fragment.cluster} if fragment.cluster else {}),
            "version": fragment.version,
            "replaced": replaced,
        },
    }


def extras_variable(fragment: Fragment) -> dict[str, Any]:
    return {
        "title": "Extra Python packages",
        "description": "Packages for one run beside those of its dependency set, separated by "
        "spaces or lines, such as httpx>=0.27 rich. They are not pinned: put into the set what "
        "is needed again.",
        "type": "string",
        "default": "",
        MARKER: {EXTRAS: fragment.owner},
    }


def placeholder_of(variable: str) -> str:
    return "{{ " + variable + " }}"
