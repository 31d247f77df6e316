"""Make a place of a template that can be added to, where a variable gives all of it.

What a run gets must not change, whatever it gives for the variable. So a list is written item by
item (``spliced``), unless a run may give text for it, as ``{{ prefect.variables.x }}``: text has
items as well, its letters.

``env`` is a list that the worker also writes itself: its own variables first, among them those of
``job_configuration.env``, then what the container's list has besides. A mapping there is dropped.
So the placeholder may simply go where no run can give a list that reaches the container alone.
``job_configuration.env`` is what the template says, unless ``variables.properties.env`` has a
default, which takes its place or is added to a mapping. A run's mapping is added to a mapping, and
a list never: with one of each the worker fails, without us as well.

Labels of the pod need no list: the worker adds those of ``job_configuration.labels``.
"""

from collections.abc import Mapping
from typing import Any

from flowdeps.delivery.kinds.kind import MergeRefusedError
from flowdeps.delivery.kinds.kubernetes.draft import Draft, Path, written
from flowdeps.delivery.kinds.kubernetes.spliced import LIMIT, spliced
from flowdeps.delivery.placeholders import mapping, placeholder, properties

_CONFIGURED_ENV: Path = ("job_configuration", "env")
_CONFIGURED_LABELS: Path = ("job_configuration", "labels")


def open_list(draft: Draft, path: Path) -> list[Any]:
    """Return the list at the path, made of the variable's if it is one's."""
    name = placeholder(draft.get(path))
    schemas = properties(draft.content)
    if name is not None:
        schema, is_env = schemas.get(name, {}), path[-1] == "env"
        if is_env and _reaches_the_worker(draft, name):
            draft.replace(path, [])
        elif not _may_be_text(schema):
            _refuse_longer(draft, path, name)
            draft.replace(path, [])
            draft.items(path).extend(spliced(name))
        elif is_env and name == "env" and "object" in _types(schema) <= {"object", "null"}:
            draft.replace(path, [])
        elif name in schemas:
            raise _refused(draft, path, name)
    return draft.items(path)


def open_labels(draft: Draft, path: Path) -> dict[str, Any] | None:
    """Return the mapping to which a label of the pod at the path can be added; None: there is none.

    Two placeholders, the pod's and the configuration's, leave no place but where they are the same.
    """
    given, configured = draft.get(path), draft.get(_CONFIGURED_LABELS)
    name = placeholder(given)
    if name is not None and name == placeholder(configured):
        draft.replace(path, {})
    elif name is not None or isinstance(draft.get(path[:-1]), str):
        can_be_added = configured is None or isinstance(configured, dict)
        return draft.mapping(_CONFIGURED_LABELS) if can_be_added else None
    draft.mapping(path[:-1])
    return draft.mapping(path)


def _reaches_the_worker(draft: Draft, name: str) -> bool:
    """Return whether each list that a run may give for the container is also the worker's."""
    configured = draft.get(_CONFIGURED_ENV)
    schemas = properties(draft.content)
    default = schemas.get("env", {}).get("default")
    if name == "env" and (isinstance(configured, dict) or (default and isinstance(default, dict))):
        return True
    # An entry without a value, an empty one for Kubernetes, is left out by the worker's own list.
    has_lists = "array" in _types(schemas.get(name, {}))
    return name == placeholder(configured) and not default and not has_lists


def _refuse_longer(draft: Draft, path: Path, name: str) -> None:
    default: Path = ("variables", "properties", name, "default")
    items = draft.get(default)
    if isinstance(items, list) and len(items) > LIMIT:
        raise MergeRefusedError(
            "ListIsPlaceholder",
            f"{written(default)} has {len(items)} items, and of a list by variable a run gets "
            f"{LIMIT} at most: shorten it, or write the items to {written(path)}, in place of "
            f"{draft.get(path)!r}.",
        )


def _may_be_text(schema: Mapping[str, Any]) -> bool:
    types = _types(schema)
    return isinstance(schema.get("default"), str) or not types or "string" in types


def _types(schema: Mapping[str, Any]) -> set[str]:
    """Return the types of the values that the server accepts; empty if it accepts any."""
    given = schema.get("type")
    if given is not None:
        return {str(one) for one in (given if isinstance(given, list) else [given])}
    alternatives = schema.get("anyOf") or schema.get("oneOf") or []
    found = [_types(mapping(one)) for one in alternatives] if isinstance(alternatives, list) else []
    return set().union(*found) if all(found) else set()


def _refused(draft: Draft, path: Path, name: str) -> MergeRefusedError:
    schema: Path = ("variables", "properties", name)
    default = ""
    if isinstance(draft.get((*schema, "default")), str):
        default = f", and {written((*schema, 'default'))} as a list"
    return MergeRefusedError(
        "ListIsPlaceholder",
        f"{written(path)} is {draft.get(path)!r}, for which a run may give text, and nothing can "
        f'be added to text: write "type": "array" in {written(schema)}{default}.',
    )
