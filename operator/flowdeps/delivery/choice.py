"""The job variable by which a run chooses a set, with our marker: the same in every kind of pool.

The variable is one of the keys, or a text with a Prefect variable, which the worker resolves. Its
schema says so twice: Prefect's UI shows ``anyOf``, where the keys are a list to choose from, and by
``else`` the server names the keys to somebody who misspells one. It has no ``type`` beside these,
which the server would put in the place of ``anyOf``.

The schema carries the marker, an extra key ``flowdeps.dev``, which says who wrote the fragment and
holds what the kind of pool needs to take it out again. The variable for extras, packages for one
run beside the lock, carries a mark of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowdeps.api.names import MARKER
from flowdeps.delivery.placeholders import mapping, properties

NONE = "none"
_EXTRAS = "extras"
_BY_VARIABLE = "The set that a Prefect variable names, such as {{ prefect.variables.team_set }}"
_PREFECT_VARIABLE = {"type": "string", "pattern": r"\{\{\s*prefect\.variables\."}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a run of one pool can choose."""

    owner: str
    """``namespace/name`` of the operator's release."""
    cluster: str = ""
    """The identity of the cluster that the operator runs in; empty if it is not known."""
    version: str
    """The version of flowdeps."""
    pool: str
    """The name of the pool, which the names of what its runs mount say."""
    variable: str = "dependency_set"
    """The name of the job variable."""
    keys: tuple[str, ...]
    """What the variable may be, besides ``none``; sorted."""
    default: str = NONE
    """What the variable is in a run that does not set it."""
    descriptions: Mapping[str, str] = field(default_factory=dict)
    """What a key stands for, e.g. ``team-a/ml: pandas, pyarrow``; need not have every key."""
    extras: bool = True
    """Whether a run may have packages beside the lock."""
    extras_variable: str = "extra_py_deps"
    """The name of the job variable that lists them."""

    def __post_init__(self) -> None:
        if list(self.keys) != sorted(set(self.keys) - {NONE}):
            raise ValueError(f"keys must be sorted, different, and without {NONE!r}: {self.keys}")
        if self.default not in {NONE, *self.keys}:
            raise ValueError(f"the default {self.default!r} is not one of the keys")
        if self.extras and self.extras_variable == self.variable:
            raise ValueError(f"the variables of set and extras have one name: {self.variable!r}")

    @property
    def variables(self) -> list[str]:
        """The names of all job variables that the choice needs."""
        return [self.variable, *([self.extras_variable] if self.extras else [])]


@dataclass(frozen=True, kw_only=True)
class LiveFragment:
    """What a template's marker and variable say of the fragment in it."""

    owner: str
    cluster: str
    version: str
    pool: str
    """The pool whose copies runs mount; empty: older versions gave all pools the same names."""
    variable: str
    keys: tuple[str, ...]
    default: str
    record: Mapping[str, Any] = field(compare=False, repr=False)
    """The marker as it was read. Anybody who may edit the pool can have written it."""


def find(template: Mapping[str, Any]) -> LiveFragment | None:
    """Return the fragment in the template, of any owner; None if there is none."""
    return next(iter(find_all(template)), None)


def find_all(template: Mapping[str, Any]) -> list[LiveFragment]:
    """Return what every marker in the template says; somebody may have copied one."""
    found = []
    for name, schema in properties(template).items():
        marker = mapping(schema.get(MARKER))
        if not isinstance(marker.get("owner"), str):
            continue
        # An older version wrote the keys into the schema itself.
        enum = schema.get("enum", mapping(schema.get("else")).get("enum"))
        keys = [key for key in enum if isinstance(key, str)] if isinstance(enum, list) else []
        found.append(
            LiveFragment(
                owner=marker["owner"],
                cluster=str(marker.get("cluster", "")),
                version=str(marker.get("version", "")),
                pool=str(marker.get("pool", "")),
                variable=name,
                keys=tuple(key for key in keys if key != NONE),
                default=str(schema.get("default", NONE)),
                record=marker,
            )
        )
    return found


def find_extras(template: Mapping[str, Any]) -> list[str]:
    """Return the names of the variables for extras that carry our mark."""
    schemas = properties(template).items()
    return [name for name, schema in schemas if _EXTRAS in mapping(schema.get(MARKER))]


def schemas_of(choice: Choice, *, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas of our job variables by name; ``record`` goes into the marker."""
    lines = [f"{key}: {text}" for key, text in sorted(choice.descriptions.items())]
    if more := len(choice.keys) - len(lines):
        lines.append(f"…and {more} more")
    keys = [NONE, *choice.keys]
    schemas: dict[str, Any] = {
        choice.variable: {
            "title": "Dependency set",
            "description": "\n".join(
                [
                    "The Python packages that the flow gets beyond those of its image, pinned and "
                    "checked by flowdeps.",
                    f"{NONE}: the image alone",
                    *lines,
                ]
            ),
            "if": _PREFECT_VARIABLE,
            "else": {"enum": keys},
            "anyOf": [
                {"title": "Set", "type": "string", "enum": keys},
                {"title": "Prefect variable", **_PREFECT_VARIABLE, "description": _BY_VARIABLE},
            ],
            "default": choice.default,
            MARKER: {
                "owner": choice.owner,
                **({"cluster": choice.cluster} if choice.cluster else {}),
                "version": choice.version,
                "pool": choice.pool,
                **record,
            },
        }
    }
    if choice.extras:
        schemas[choice.extras_variable] = {
            "title": "Extra Python packages",
            "description": "Packages for one run beside those of its dependency set: a list, or "
            "a text with spaces or lines between them, such as httpx>=0.27 rich. They are not "
            "pinned: put into the set what is needed again.",
            "anyOf": [
                {"title": "Text", "type": "string"},
                {"title": "List", "type": "array", "items": {"type": "string"}},
            ],
            "default": "",
            MARKER: {_EXTRAS: choice.owner},
        }
    return schemas
