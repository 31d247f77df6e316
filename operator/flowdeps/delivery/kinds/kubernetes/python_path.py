"""Put our directories on a run's Python search path, before those that the template sets.

Three places can set ``PYTHONPATH`` for the flow, strongest first:

- the worker's variables: ``job_configuration.env`` and the default of ``variables.properties.env``.
  They drop any entry of the same name from the container's list, so ours go before their value.
- the container's own list. A last entry with a value gets ours before it, in place: a worker may
  move plain values to a Secret (``store_env_as_secret``), where ``$(PYTHONPATH)`` stays text. After
  a reference (``valueFrom``) comes an entry of ours that refers to it, ``<ours>:$(PYTHONPATH)``.
- the image. Kubernetes cannot refer to that one, so directories of a method stand for its entries,
  or a ConfigMap of ours that only runs with packages have gives the whole value.

What leads a value and is below ``/opt/flowdeps`` is ours, even if somebody has changed the value
since. An entry with nothing left is ours, and so is one with a ConfigMap that is ours by its name.
"""

import copy
from collections.abc import Container
from typing import Any, TypeGuard

from flowdeps.api.names import PATH_FILE, PIECE_PREFIX
from flowdeps.delivery.kinds.kind import MergeRefusedError
from flowdeps.delivery.methods.method import HOME, Pieces
from flowdeps.delivery.placeholders import mapping, placeholder

NAME = "PYTHONPATH"
_REFERENCE = f"$({NAME})"


def put_in_container(env: list[Any], pieces: Pieces, *, where: str, given: Container[str]) -> None:
    """Make the container's list lead to us. ``given``: the variables that no run lacks."""
    ours = ":".join(pieces.python_path)
    entries = _entries(env)
    last = entries[-1] if entries else None
    if last is None and pieces.path_source:
        env.append({"name": NAME, "valueFrom": copy.deepcopy(pieces.path_source)})
    elif last is None:
        env.append({"name": NAME, "value": ":".join((*pieces.python_path, *pieces.image_path))})
    elif "valueFrom" in last or last.get("value") == _REFERENCE:
        env.append({"name": NAME, "value": f"{ours}:{_REFERENCE}"})
    elif isinstance(last.get("value"), str) and last["value"]:
        last["value"] = _with_ours(ours, last["value"], where, given)
    else:  # set to nothing: the image's own path is not wanted
        env.append({"name": NAME, "value": ours})


def put_in_worker_env(env: Any, pieces: Pieces, *, where: str, given: Container[str]) -> None:
    """Put ours before the value that the worker gives to runs, if it gives one."""
    ours = ":".join(pieces.python_path)
    for holder, key in _values(env):
        if "valueFrom" in holder and isinstance(env, list):
            raise MergeRefusedError(
                "PythonPathIsReference",
                f"{where} takes {NAME} from a reference (valueFrom), and nothing can be put before "
                "it there: write the value itself, or, if env of the container prefect-job is a "
                "list and no placeholder, move the entry there.",
            )
        if isinstance(holder.get(key), str):
            holder[key] = _with_ours(ours, holder[key], where, given)


def take_from_container(env: Any) -> None:
    """Undo ``put_in_container``."""
    for entry in _entries(env):
        value = entry.get("value")
        if _is_ours_by_source(entry):
            env[:] = [other for other in env if other is not entry]
            continue
        if not _leads_to_us(value):
            continue
        left = _without_ours(value)
        if left in {"", _REFERENCE}:
            env[:] = [other for other in env if other is not entry]
        else:
            entry["value"] = left


def take_from_worker_env(env: Any) -> None:
    """Undo ``put_in_worker_env``."""
    for holder, key in _values(env):
        if _leads_to_us(holder.get(key)):
            holder[key] = _without_ours(holder[key])


def refuse_foreign(env: Any, *, where: str) -> None:
    """Refuse a path that begins with our directory: after a removal somebody else wrote it."""
    if any(_leads_to_us(holder.get(key)) for holder, key in _values(env)):
        raise MergeRefusedError(
            "NameClash",
            f"{where}: {NAME} already begins with {HOME} and no marker says who put it there: "
            "remove that from the template.",
        )
    if any(map(_is_ours_by_source, _entries(env))):
        raise MergeRefusedError(
            "NameClash",
            f"{where}: {NAME} comes from a ConfigMap of flowdeps and no marker says who put it "
            "there: remove that from the template.",
        )


def _values(env: Any) -> list[tuple[dict[str, Any], str]]:
    """Return where a mapping or a list of entries holds the path: the holder, and its key there."""
    return [(env, NAME)] if isinstance(env, dict) else [(one, "value") for one in _entries(env)]


def _entries(env: Any) -> list[dict[str, Any]]:
    entries = env if isinstance(env, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and entry.get("name") == NAME]


def _is_ours_by_source(entry: dict[str, Any]) -> bool:
    source = mapping(mapping(entry.get("valueFrom")).get("configMapKeyRef"))
    name = source.get("name")
    ours = isinstance(name, str) and name.startswith(PIECE_PREFIX)
    return ours and bool(source.get("key") == PATH_FILE)


def _is_ours(directory: str) -> bool:
    return directory == HOME or directory.startswith(f"{HOME}/")


def _leads_to_us(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _is_ours(value.partition(":")[0])


def _with_ours(ours: str, value: str, where: str, given: Container[str]) -> str:
    root = (placeholder(value) or "").partition(".")[0]
    if not (root in {"", "prefect"} or root.startswith("$") or root in given):
        # A path that ends in ":" would put the working directory on it.
        raise MergeRefusedError(
            "PythonPathMayBeEmpty",
            f"{where}: {NAME} is {value!r}, which a run may leave empty. After our directories "
            "that would be the working directory, in place of the image's own path: give "
            f"variables.properties.{root}.default.",
        )
    return f"{ours}:{value}" if value else ours


def _without_ours(value: str) -> str:
    directory, _, rest = value.partition(":")
    return _without_ours(rest) if _is_ours(directory) else value
