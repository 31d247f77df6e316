"""Change a copy of a template, and remember what was put over what.

Each place that is made, and each value that is replaced, is an ``Edit``. The edits travel in the
marker inside the template, and ``undo`` puts the old value back where ours is still there: what
somebody else wrote since then stays.

A path names an item of a list by its ``name``, so it holds when somebody inserts another container.
Replacing a value keeps its position and new keys go to the end, so undoing keeps the order of keys.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from flowdeps.delivery.kinds.kind import MergeRefusedError

Path = tuple[str, ...]
T = TypeVar("T", dict[str, Any], list[Any])

# "There was nothing": None would be a null that somebody wrote.
_NOTHING: Any = object()


@dataclass(frozen=True, kw_only=True)
class Edit:
    """``now`` was written over ``was`` at ``path``."""

    path: Path
    was: Any = _NOTHING
    now: Any

    def as_json(self) -> dict[str, Any]:
        was = {} if self.was is _NOTHING else {"was": self.was}
        return {"path": list(self.path), **was, "now": copy.deepcopy(self.now)}

    @classmethod
    def from_json(cls, value: object) -> "Edit | None":
        """Return the edit; None for anything else, since anybody can write to the marker."""
        if not isinstance(value, Mapping) or "now" not in value:
            return None
        path = value.get("path")
        if not isinstance(path, list) or not path or not all(isinstance(key, str) for key in path):
            return None
        return cls(path=tuple(path), was=value.get("was", _NOTHING), now=value["now"])


class Draft:
    """A copy of a template that is being changed."""

    def __init__(self, template: Mapping[str, Any]) -> None:
        self.content: dict[str, Any] = copy.deepcopy(dict(template))
        self.edits: list[Edit] = []

    def get(self, path: Sequence[str]) -> Any:
        """Return the value at the path; None where there is none."""
        node: Any = self.content
        for key in path:
            node = _step(node, key)
        return None if node is _NOTHING else node

    def replace(self, path: Path, value: Any) -> None:
        """Write the value and remember what it replaced."""
        parent = self.get(path[:-1])
        was = parent.get(path[-1], _NOTHING)
        self.edits.append(Edit(path=path, was=was, now=copy.deepcopy(value)))
        parent[path[-1]] = value

    def mapping(self, path: Path) -> dict[str, Any]:
        """Return the mapping at the path, made if there is none."""
        return self._place(path, dict[str, Any]())

    def items(self, path: Path) -> list[Any]:
        """Return the list at the path, made if there is none."""
        return self._place(path, list[Any]())

    def undo(self, edits: Iterable[Edit]) -> None:
        """Take the edits back, last first, where nothing else was written since."""
        for edit in reversed(list(edits)):
            parent = self.get(edit.path[:-1])
            if not isinstance(parent, dict) or _step(parent, edit.path[-1]) != edit.now:
                continue
            if edit.was is _NOTHING:
                del parent[edit.path[-1]]
            else:
                parent[edit.path[-1]] = edit.was

    def _place(self, path: Path, empty: T) -> T:
        found = self.get(path)
        if found is None:
            self.replace(path, empty)
            return empty
        if isinstance(found, type(empty)):
            return found
        kind, inside = "a mapping", "the values inside it"
        if empty == []:
            kind, inside = "a list", "its items or the values inside them (one is never a list)"
        if isinstance(found, str) and "{{" in found:
            raise MergeRefusedError(
                "ListIsPlaceholder",
                f"{written(path)} is {found!r}, to which nothing can be added: write {kind} there, "
                f"with placeholders for {inside}.",
            )
        raise MergeRefusedError(
            "Malformed", f"{written(path)} must be {kind}: write one there, or remove it."
        )


def written(path: Sequence[str]) -> str:
    """Return a path as text, as in ``job_configuration.job_manifest.spec``."""
    return ".".join(path)


def _step(node: Any, key: str) -> Any:
    if isinstance(node, dict):
        return node.get(key, _NOTHING)
    items = node if isinstance(node, list) else []
    named = (item for item in items if isinstance(item, dict) and item.get("name") == key)
    return next(named, _NOTHING)
